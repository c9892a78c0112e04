"""What llama.cpp writes is kept, and nobody else's standard error is touched by that."""

from __future__ import annotations

import errno
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

import psutil
import pytest

from evakit.errors import StorageError
from evakit_llamacpp import _captured_log, _engine
from evakit_llamacpp._captured_log import captured_log
from evakit_llamacpp._engine import Engine, EngineOptions, LoadFailedError
from evakit_llamacpp._listener import LoopbackListener
from evakit_llamacpp._wire import EngineError

MESSAGE = b"0.00.225.278 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB\n"


@pytest.fixture
def stderr(capfdbinary):
    """A function that returns what came out of descriptor 2 since it was last asked."""
    return lambda: capfdbinary.readouterr().err


@pytest.fixture
def engine(tiny):
    """A function that loads a tiny model and keeps its log."""
    engines = []

    def load(path=tiny) -> Engine:
        options = EngineOptions(
            path=path, context=256, parallel=1, threads=1, cache_mib=0, keeps_log=True
        )
        engines.append(Engine(options))
        return engines[-1]

    yield load
    for loaded in engines:
        loaded.close()


def in_a_process(program, *arguments, **options):
    """Run a program whose first line tells where its log is."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        check=True,
        timeout=30,
        **({"capture_output": True} | options),
    )


# The real engine


def test_the_engine_says_where_its_buffers_are_and_nothing_reaches_the_terminal(engine, stderr):
    texts = [line.text for line in engine().log]
    assert any("CPU_Mapped model buffer size =" in text for text in texts)
    assert any("CPU KV buffer size =" in text for text in texts)
    assert any("CPU compute buffer size =" in text for text in texts)
    assert any("model loaded" in text for text in texts)
    assert not any("failed to load" in text for text in texts)
    assert stderr() == b""


def test_without_unix_sockets_and_without_the_c_librarys_stderr_it_is_the_same(
    engine, stderr, monkeypatch
):
    monkeypatch.setattr(_engine, "private_listener", LoopbackListener)
    monkeypatch.setattr(_captured_log, "_stdio", lambda: None)
    assert sum("buffer size =" in line.text for line in engine().log) == 4
    assert stderr() == b""


def test_after_loading_the_engine_writes_nothing_any_more(engine, stderr):
    loaded = engine()
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "stream": True}
    loaded.stream(body, lambda _chunk: False)
    body["messages"] = [{"role": "user", "content": "word " * 400}]
    with pytest.raises(EngineError):
        loaded.stream(body, lambda _chunk: False)
    loaded.close()
    assert stderr() == b""


def test_the_log_is_kept_for_developers_only(engine, stderr, caplog):
    with caplog.at_level(logging.DEBUG, logger="evakit.llamacpp"):
        engine()
    kept = [r for r in caplog.records if "model buffer size" in r.getMessage()]
    assert [record.levelno for record in kept] == [logging.DEBUG]


def test_a_file_that_is_damaged_is_told_from_the_log(engine, tiny, stderr, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.read_bytes()[:9000])
    with pytest.raises(LoadFailedError) as caught:
        engine(damaged)
    assert any(line.level == "E" and "damaged.gguf" in line.text for line in caught.value.lines)
    assert stderr() == b""


def test_loading_leaves_no_file_no_thread_and_no_descriptor(engine, stderr, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    process = psutil.Process()
    counts = []
    for _ in range(3):
        engine().close()
        counts.append((process.num_fds(), process.num_threads()))
    assert counts[0] == counts[1] == counts[2]
    assert list(tmp_path.iterdir()) == []


def test_two_loads_at_once_each_get_their_own_log(engine, stderr):
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(engine())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = [[x.text for x in each.log if "model buffer size" in x.text] for each in loaded]
    assert [len(each) for each in sizes] == [1, 1, 1]
    assert stderr() == b""


WRITER = """
import os, sys
name = sys.argv[1].encode()
for number in range(3000):
    os.write(2, b"<%s %d>" % (name, number))
    if number % 3 == 0:
        os.write(2, b"\\n")
"""
HOSTILE = """
import os, subprocess, sys, threading
from pathlib import Path
from evakit_llamacpp._captured_log import captured_log
from evakit_llamacpp._engine import Engine, EngineOptions
import evakit_llamacpp._engine as engine_module

# Processes write to the same descriptor while the engine does: they need nobody's lock.
load, writers = engine_module._fail_to_load, []

def load_with_company(vendor, name, verbosity):
    load(vendor, name, verbosity)
    if verbosity == -1:
        for writer in writers:
            writer.wait()

engine_module._fail_to_load = load_with_company
real = captured_log

from contextlib import contextmanager

@contextmanager
def with_company():
    with real() as log:
        writers.extend(
            subprocess.Popen([sys.executable, "-c", sys.argv[2], name]) for name in "ab"
        )
        while os.stat(2).st_size == 0:
            pass
        yield log

engine_module.captured_log = with_company
options = EngineOptions(
    path=Path(sys.argv[1]), context=256, parallel=1, threads=1, cache_mib=0, keeps_log=True
)
engine = Engine(options)
print(len(engine.log), sum("buffer size =" in line.text for line in engine.log))
engine.close()
"""


def test_others_that_write_meanwhile_lose_nothing(tiny):
    done = in_a_process(HOSTILE, tiny, WRITER)
    for name in (b"a", b"b"):
        numbers = [int(number) for number in re.findall(rb"<%s (\d+)>" % name, done.stderr)]
        assert numbers == list(range(3000))
    assert re.sub(rb"<[ab] \d+>", b"", done.stderr) == b"\n" * 2000
    messages, buffers = map(int, done.stdout.split())
    assert messages > 100
    assert buffers == 4


# The descriptor


def test_what_another_thread_writes_comes_out_in_order_and_complete(stderr):
    pieces = [b"%d " % number for number in range(2000)]

    def write():
        for piece in pieces:
            os.write(2, piece)

    with captured_log() as log:
        thread = threading.Thread(target=write)
        thread.start()
        for _ in range(200):
            os.write(2, MESSAGE)
        thread.join()
    assert stderr() == b"".join(pieces)
    assert len(log.lines) == 200


def test_writing_on_beyond_the_end_loses_nothing(stderr):
    stop = threading.Event()
    written = []

    def write():
        while not stop.is_set():
            written.append(b"%d\n" % len(written))
            os.write(2, written[-1])

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(5):
        with captured_log():
            os.write(2, MESSAGE)
    stop.set()
    thread.join()
    assert sorted(stderr().splitlines(keepends=True)) == sorted(written)


def test_what_python_and_c_print_is_passed_on(stderr):
    import ctypes

    libc = ctypes.CDLL(None)
    with captured_log():
        print("from Python", file=open(2, "w", closefd=False), flush=True)  # noqa: SIM115
        libc.perror(b"from C")
    assert stderr().startswith(b"from Python\nfrom C: ")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_descriptor_is_put_back_whatever_happens(stderr, error):
    with pytest.raises(error), captured_log():
        os.write(2, b"before\n")
        raise error
    os.write(2, b"after\n")
    assert stderr() == b"before\nafter\n"


CLOSED = """
import os, sys
from evakit_llamacpp._captured_log import captured_log
os.close(2)
with captured_log() as log:
    os.write(2, b"0.00.225.278 I load: done\\n")
    os.write(2, b"nobody hears this\\n")
try:
    os.fstat(2)
except OSError:
    print([line.text for line in log.lines])
"""


def test_a_closed_descriptor_is_closed_again():
    assert in_a_process(CLOSED).stdout == b"['load: done']\n"


WITHOUT = """
import os, sys
for number in range(int(sys.argv[2]), 3):
    os.close(number)
from evakit_llamacpp._captured_log import captured_log
with captured_log() as log:
    os.write(2, b"0.00.225.278 I load: done\\n")
with open(sys.argv[1], "w") as file:
    file.write(log.lines[0].text)
"""


@pytest.mark.parametrize("standard", [0, 1, 2])
def test_a_program_that_lacks_standard_streams_can_load(tmp_path, standard):
    in_a_process(WITHOUT, tmp_path / "told", standard)
    assert (tmp_path / "told").read_text() == "load: done"


def test_a_pipe_that_nobody_reads_holds_nothing_up(monkeypatch):
    monkeypatch.setattr(_captured_log, "_WAIT_FOR_READER", 0.05)
    reading, writing = os.pipe()
    original = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        much = b"x" * 2**20  # more than any pipe holds
        with captured_log() as log:
            os.write(2, MESSAGE + much)
    finally:
        os.dup2(original, 2)
        os.close(original)
    assert len(log.lines) == 1
    arrived = b""
    while len(arrived) < len(much):  # it waits for whoever reads, and comes complete
        arrived += os.read(reading, 2**16)
    assert arrived == much
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_pipe_whose_reader_has_gone_is_nobodys_failure(monkeypatch):
    reading, writing = os.pipe()
    original = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    os.close(reading)
    try:
        with captured_log() as log:
            os.write(2, MESSAGE + b"to nobody\n")
    finally:
        os.dup2(original, 2)
        os.close(original)
    assert len(log.lines) == 1


def test_without_room_for_a_file_the_error_says_what_to_do(stderr, monkeypatch):
    def full(**_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.raises(StorageError, match=r"No space left.*; free the temporary folder"):
        with captured_log():
            pytest.fail("nothing was captured")
    os.write(2, b"still there\n")
    assert stderr() == b"still there\n"


@pytest.mark.parametrize("call", ["dup", "dup2", "open"])
def test_a_capture_that_cannot_begin_leaves_everything_as_it_was(stderr, monkeypatch, call):
    def fails(*_arguments, **_options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = psutil.Process().num_fds()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fails)
        with pytest.raises(StorageError, match="Too many open files"), captured_log():
            pytest.fail("nothing was captured")
    os.write(2, b"still there\n")
    assert stderr() == b"still there\n"
    assert psutil.Process().num_fds() == before


# Waiting


def test_waiting_ends_with_the_line_that_was_waited_for(stderr):
    def write():
        os.write(2, b"0.00.000.001 E gguf: no file 'mark'\n")
        os.write(2, b"0.00.000.002 E srv: exiting\n")

    with captured_log() as log:
        thread = threading.Thread(target=write)
        thread.start()
        assert log.wait_for("mark", "exiting")
        thread.join()
    assert [line.text for line in log.lines] == ["gguf: no file 'mark'", "srv: exiting"]


def test_waiting_for_what_never_comes_ends_too(stderr, monkeypatch):
    monkeypatch.setattr(_captured_log, "_WAIT_FOR_LINES", 0.05)
    monkeypatch.setattr(_captured_log, "_WAIT_FOR_REST", 0.05)
    with captured_log() as log:
        os.write(2, MESSAGE)
        assert not log.wait_for("mark", "exiting")
        os.write(2, b"0.00.000.001 E gguf: no file 'mark'\n")
        assert log.wait_for("mark", "exiting")  # a release that calls the last line otherwise
    assert len(log.lines) == 2
    assert stderr() == b""


def test_a_second_capture_waits_for_the_first(stderr):
    order = []

    def second():
        with captured_log():
            order.append("second")

    with captured_log():
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 0.1
        while time.monotonic() < deadline:
            assert order == []
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
