from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading

import anyio
import pytest

from evakit import _threads
from evakit.errors import ModelIntegrityError, ModelUnavailableError, StorageError
from evakit.models import ModelFile, ModelStore

from .conftest import (
    hold,
    hub_path,
    hub_source,
    left_over,
    model,
    model_file,
    sha256,
    stall,
)

DATA = bytes(range(256)) * 1200
MODEL = model(model_file("model.bin", DATA), model_file("sub/config.json", b"{}"))
PATH = hub_path("model.bin")
PARTIAL = f"partial/whisper--base/{sha256(DATA)[:32]}.partial"
FOLDER = "models/whisper--base"

CHILD = f"""
import logging, sys
from evakit.models import HubSource, Model, ModelFile, ModelStore
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
source = HubSource("org/repo", {hub_source("x").revision!r}, "model.bin")
file = ModelFile("model.bin", {len(DATA)}, {sha256(DATA)!r}, (source,))
model = Model(name="whisper:base", kind="stt", files=(file,))
def progress(name, here, total):
    print("here", here, flush=True)
"""
FETCH = CHILD + "print(ModelStore(sys.argv[1]).ensure(model, progress=progress), flush=True)"
ONE_FILE = model(model_file("model.bin", DATA))


@pytest.fixture
def child(home):
    """Start a process that fetches; give it and a function that reads until a line appears."""
    started = []

    def start(code=FETCH):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)

        def until(text):
            seen = []
            for line in process.stdout:
                seen.append(line)
                if text in line:
                    return line
            raise AssertionError("".join(seen))

        return process, until

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def full_server(server):
    server.files[PATH] = DATA
    server.files[hub_path("sub/config.json")] = b"{}"
    return server


def test_two_processes_at_once_fetch_once(full_server, child, home):
    full_server.faults[PATH] = [hold]
    first, _ = child()
    assert full_server.asked.wait(20)
    second, until = child()
    until("another process is fetching whisper:base; waiting for it")
    full_server.gate.set()
    for process in (first, second):
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert str(home / FOLDER) in output
    assert full_server.paths() == [PATH]


def test_two_threads_at_once_fetch_once(full_server, store, home):
    full_server.faults[PATH] = [hold]
    waiting = threading.Event()
    folders = []

    def second():
        folders.append(ModelStore(home).ensure(MODEL, progress=lambda *what: waiting.set()))

    first = threading.Thread(target=lambda: folders.append(ModelStore(home).ensure(MODEL)))
    first.start()
    assert full_server.asked.wait(20)
    later = threading.Thread(target=second)
    later.start()
    assert waiting.wait(20)
    full_server.gate.set()
    first.join()
    later.join()
    assert folders == [home / FOLDER] * 2
    assert full_server.paths().count(PATH) == 1


def test_waiting_for_another_process_can_be_interrupted(full_server, store, child, caplog):
    caplog.set_level(logging.INFO)
    full_server.faults[PATH] = [hold]
    child()
    assert full_server.asked.wait(20)

    def stop(*what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure(MODEL, progress=stop)
    with pytest.raises(StorageError, match="is being fetched by another process"):
        store.remove(MODEL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to a child")
def test_ctrl_c_leaves_a_partial_that_the_next_call_continues(full_server, child, store, home):
    full_server.faults[PATH] = [stall(100_000)]
    process, until = child()
    until("here 100000")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert left_over(home) == [PARTIAL]
    store.ensure(ONE_FILE)
    assert full_server.ranges(PATH) == [None, "bytes=100000-"]


@pytest.mark.parametrize("exception", [ValueError("no more"), OSError(32, "Broken pipe")])
def test_an_exception_of_progress_stops_and_comes_out_as_it_was(
    full_server, store, home, exception
):
    def stop(name, here, total):
        if here >= 100_000:
            raise exception

    with pytest.raises(type(exception)) as caught:
        store.ensure(MODEL, progress=stop)
    assert caught.value is exception
    assert left_over(home) == [PARTIAL]
    store.ensure(MODEL)
    assert [r is None for r in full_server.ranges(PATH)] in ([True, False], [True])


async def test_a_cancelled_task_stops_a_download_that_stands_still(
    anyio_backend, full_server, store, home
):
    full_server.faults[PATH] = [stall(100_000)]
    store._network.stall_s = 50.0
    async with anyio.create_task_group() as group:
        group.start_soon(_threads.run, store.ensure, MODEL)
        assert await anyio.to_thread.run_sync(full_server.asked.wait, 20)
        group.cancel_scope.cancel()
    assert store.path(MODEL) is None
    assert set(left_over(home)) <= {PARTIAL}


def test_a_model_without_one_file_is_missing_and_only_that_file_is_fetched(
    full_server, store, home
):
    folder = store.ensure(MODEL)
    (folder / "sub" / "config.json").unlink()
    assert store.path(MODEL) is None
    assert store.ensure(MODEL) == folder
    assert full_server.paths().count(PATH) == 1
    assert (folder / "model.bin").read_bytes() == DATA


def test_a_file_of_another_size_makes_the_model_missing(full_server, store):
    folder = store.ensure(MODEL)
    (folder / "model.bin").write_bytes(b"short")
    assert store.path(MODEL) is None
    store.ensure(MODEL)
    assert (folder / "model.bin").read_bytes() == DATA


def test_a_model_whose_declared_hash_changed_is_fetched_anew(full_server, store):
    store.ensure(MODEL)
    other = DATA[::-1]
    full_server.files[hub_path("new")] = other
    changed = model(ModelFile("model.bin", len(other), sha256(other), (hub_source("new"),)))
    assert store.path(changed) is None
    folder = store.ensure(changed)
    assert (folder / "model.bin").read_bytes() == other
    assert not (folder / "sub").exists()


def test_a_folder_that_was_copied_by_hand_counts(store, home):
    folder = home / FOLDER
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").write_bytes(DATA)
    (folder / "sub" / "config.json").write_bytes(b"{}")
    assert store.ensure(MODEL) == folder
    store.verify(MODEL)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"files": [{"name": "../x"}]}'])
def test_a_damaged_manifest_is_as_good_as_none(full_server, store, content):
    folder = store.ensure(MODEL)
    (folder / ".evakit-model.json").write_bytes(content)
    assert store.path(MODEL) == folder


def test_a_half_model_is_never_visible(full_server, store, home):
    seen = []
    store.ensure(MODEL, progress=lambda *what: seen.append((home / FOLDER).exists()))
    assert set(seen) == {False}
    assert (home / FOLDER).exists()


def test_verify_names_the_file_and_what_to_do(full_server, store):
    folder = store.ensure(MODEL)
    store.verify(MODEL)
    (folder / "model.bin").write_bytes(DATA[:-1] + b"x")
    assert store.path(MODEL) == folder  # the size is right
    with pytest.raises(ModelIntegrityError) as caught:
        store.verify(MODEL)
    assert "model.bin of whisper:base" in str(caught.value)
    assert "'evakit models remove whisper:base'" in str(caught.value)
    assert "'evakit models fetch whisper:base'" in str(caught.value)


def test_verify_of_a_missing_model_says_how_to_fetch_it(store):
    with pytest.raises(ModelUnavailableError, match="'evakit models fetch whisper:base'"):
        store.verify(MODEL)


def test_offline_a_missing_model_is_named_with_the_command_that_fetches_it(server, home):
    with pytest.raises(ModelUnavailableError, match=r"offline.*'evakit models fetch whisper:base'"):
        ModelStore(home, offline=True).ensure(MODEL)
    assert server.requests == []
    assert not home.exists()


def test_a_model_without_files_is_said(store, home):
    with pytest.raises(ModelUnavailableError, match="declares no files"):
        store.ensure(model())
    assert store.path(model()) is None


def test_remove_deletes_the_model_and_what_was_fetched_of_it(full_server, impatient, home):
    assert impatient.remove(MODEL) is False
    assert not home.exists()
    impatient.ensure(MODEL)
    assert impatient.remove(MODEL) is True
    assert left_over(home) == []
    full_server.faults[PATH] = [stall(10), stall(10)]
    with pytest.raises(ModelUnavailableError):
        impatient.ensure(MODEL)
    assert left_over(home) == [PARTIAL]
    assert impatient.remove(MODEL) is True
    assert left_over(home) == []
    assert impatient.remove(MODEL) is False


def test_a_home_that_is_a_file_is_a_storage_error(full_server, tmp_path):
    (tmp_path / "file").write_text("I am a file")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        store = ModelStore(home)
        assert store.path(MODEL) is None
        with pytest.raises(StorageError, match="EVAKIT_HOME"):
            store.ensure(MODEL)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert full_server.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is what even root cannot write to")
def test_a_home_that_cannot_be_written_is_a_storage_error(full_server):
    with pytest.raises(StorageError, match="EVAKIT_HOME"):
        ModelStore("/proc/evakit").ensure(MODEL)
    assert full_server.requests == []


def test_a_model_larger_than_the_disk_is_refused_before_it_is_begun(server, store, home):
    huge = model(ModelFile("model.bin", 10**15, "0" * 64, (hub_source("model.bin"),)))
    with pytest.raises(StorageError, match=r"whisper:base needs 1,000,000,000\.0 MB more"):
        store.ensure(huge)
    assert server.requests == []
    assert left_over(home) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(full_server, child, home):
    pytest.importorskip("resource", reason="the limit on file sizes stands in for a full disk")
    code = CHILD + (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    ModelStore(sys.argv[1]).ensure(model)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    process, _ = child(code)
    output, _ = process.communicate(timeout=20)
    assert output.startswith("StorageError ")
    assert "free some space" in output
    assert output.count("\n") == 1
    assert left_over(home) == []
    assert not (home / "partial" / "whisper--base").exists()


def test_nothing_stays_open_after_a_failure(full_server, impatient):
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()
    full_server.faults[PATH] = [stall(1000), stall(1000)]
    before = len(process.open_files())
    with pytest.raises(ModelUnavailableError):
        impatient.ensure(MODEL)
    assert len(process.open_files()) == before
    assert not [t for t in threading.enumerate() if t.name == "evakit-within"]
