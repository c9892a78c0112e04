"""What llama.cpp writes while a model loads: the only place where it says what went where.

It writes to the process's descriptor 2 and nowhere else, so that descriptor leads to a file while
a model loads. Not to a pipe: that would have to be emptied meanwhile, and xllamacpp holds the
interpreter's lock until the model is loaded. What others wrote is passed on afterwards, unchanged
and in order. What may not live here: the engine, and what the lines mean.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from evakit.abc import check_cancelled, logger
from evakit.errors import StorageError

from ._log_lines import LogLine, separate

__all__ = ["CapturedLog", "captured_log"]

_STDERR: Final = 2
_POLL: Final = 0.002  # seconds between two looks at what has arrived
_WAIT_FOR_LOCK: Final = (
    0.05  # seconds between two looks at whether the waiting caller was cancelled
)
_WAIT_FOR_LINES: Final = 10.0  # seconds; they take microseconds on a machine with a free CPU
_WAIT_FOR_REST: Final = 0.5  # seconds for the last line, should a release call it something else
_WAIT_FOR_READER: Final = 1.0  # seconds; whoever does not read by then gets the rest when they do
_ROUNDS: Final = 8  # of passing on before the descriptor is put back, if others go on writing
_LOCK: Final = threading.Lock()  # a process has one descriptor 2

_log = logger("evakit.llamacpp")


class CapturedLog:
    """What is written to the descriptor 2 of this process. Made by `captured_log`."""

    def __init__(self, file: int, reader: _Reader) -> None:
        self.lines: list[LogLine] = []
        """What llama.cpp has written: all of it after the block."""
        self._file = file
        self._reader = reader
        self._unread = b""

    def wait_for(self, text: str, last: str) -> bool:
        """Wait until llama.cpp has written `text`, and behind that a line with `last`.

        Returns whether it has written `text`.
        """
        seen = False
        deadline = time.monotonic() + _WAIT_FOR_LINES
        while time.monotonic() < deadline:
            self._unread += _read(self._file)
            _, found, behind = self._unread.partition(text.encode())
            if found and last.encode() in behind and behind.endswith(b"\n"):
                return True
            if found and not seen:
                seen, deadline = True, time.monotonic() + _WAIT_FOR_REST
            time.sleep(_POLL)
        return seen

    def take(self) -> bool:
        """Take what has been written apart; False when nothing has."""
        data, self._unread = self._unread + _read(self._file), b""
        lines, others = separate(data)
        self.lines += lines
        for line in lines:
            _log.debug("llama.cpp: %s", line.text)
        if others:
            self._reader.write(others)
        return bool(data)


class _Reader:
    """Whoever reads what others write to descriptor 2: in a thread, as they may not read it."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        """None where descriptor 2 is closed."""
        self._queue: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_late = False

    def write(self, data: bytes) -> None:
        if self.descriptor is None:  # it would have been an error for whoever wrote it
            return
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, args=(self.descriptor,), name="evakit-llm-log", daemon=True
            )
            self._thread.start()
        self._queue.put(data)

    def wait(self) -> None:
        """Wait until all of it is written, or until they have kept us waiting too long."""
        if self._thread is not None and not self._is_late:
            done = threading.Event()
            self._queue.put(done)
            self._is_late = not done.wait(_WAIT_FOR_READER)

    def close(self) -> None:
        """Wait, and let the descriptor go; where they are late, when they have read it all."""
        self.wait()
        if self._thread is not None:
            self._queue.put(None)
            if not self._is_late:
                self._thread.join()
        elif self.descriptor is not None:
            os.close(self.descriptor)

    def _work(self, descriptor: int) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, threading.Event):
                    item.set()
                else:
                    _write(descriptor, item)
        finally:
            os.close(descriptor)


@contextmanager
def captured_log() -> Generator[CapturedLog]:
    """Take what llama.cpp writes while the block runs; one block at a time in a process.

    What other threads write to the descriptor meanwhile reaches it when the block ends; what they
    write in the very moment of its end may come before that. A process that another thread starts
    within the block keeps the file as its standard error.

    Raises:
        StorageError: there is no room for a file to write to.

    """
    while not _LOCK.acquire(timeout=_WAIT_FOR_LOCK):
        check_cancelled()
    with ExitStack() as stack:
        stack.callback(_LOCK.release)
        try:
            log = _begin(stack)
        except OSError as error:
            raise StorageError(
                f"What llama.cpp writes while it loads cannot be kept ({error.strerror or error}), "
                "and nothing else says where the model is; free the temporary folder, or set "
                "TMPDIR."
            ) from error
        yield log


def _begin(stack: ExitStack) -> CapturedLog:
    """Lead the descriptor to a file, and have `stack` undo that."""
    written, name = tempfile.mkstemp(prefix="evakit-llm-", suffix=".log")
    with os.fdopen(_above_standard(written), "wb", buffering=0) as file:
        stack.callback(_remove, Path(name))
        read = _above_standard(os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        stack.callback(os.close, read)
        reader = _Reader(_copy_of_stderr())
        stack.callback(reader.close)
        log = CapturedLog(read, reader)
        os.dup2(file.fileno(), _STDERR)
        stack.callback(_end, log, reader)
    _buffer_stdio()
    return log


def _end(log: CapturedLog, reader: _Reader) -> None:
    """Put the descriptor back, and pass on what others have written to it."""
    try:
        _unbuffer_stdio()
        for _ in range(_ROUNDS):
            if not log.take():
                break
            reader.wait()
    finally:
        if reader.descriptor is None:
            os.close(_STDERR)
        else:
            os.dup2(reader.descriptor, _STDERR)
    log.take()
    time.sleep(_POLL)  # for who was in the middle of writing
    log.take()


def _copy_of_stderr() -> int | None:
    try:
        return os.dup(_STDERR)
    except OSError as error:
        if error.errno == errno.EBADF:  # closed; it will be again
            return None
        raise


def _above_standard(descriptor: int) -> int:
    """Return the descriptor, or instead of one of the three standard ones a copy above those.

    Where a program has closed its standard error, the next file that is opened has its number.
    """
    if descriptor > _STDERR:
        return descriptor
    try:
        return _above_standard(os.dup(descriptor))
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    """Return what has been written and was not read."""
    data = b""
    while more := os.read(descriptor, 2**20):
        data += more
    return data


def _write(descriptor: int, data: bytes) -> None:
    with suppress(OSError):  # nobody reads it any more: the same error for whoever wrote it
        while data:
            data = data[os.write(descriptor, data) :]


def _remove(path: Path) -> None:
    with suppress(OSError):  # Windows keeps what a child process has inherited
        path.unlink()


# llama.cpp writes a message in three pieces, and others could write in between. With a buffer, the
# C library writes it at once, at the flush that ends each message.
_FULL, _NONE = 0, 2  # _IOFBF and _IONBF in the C libraries of Linux and macOS
_BUFFER: Final = ctypes.create_string_buffer(2**16)


def _buffer_stdio() -> None:
    if (found := _stdio()) is not None:
        library, stderr = found
        library.setvbuf(stderr, _BUFFER, _FULL, ctypes.c_size_t(len(_BUFFER)))


def _unbuffer_stdio() -> None:
    if (found := _stdio()) is not None:
        library, stderr = found
        library.fflush(stderr)
        library.setvbuf(stderr, None, _NONE, ctypes.c_size_t(0))


def _stdio() -> tuple[ctypes.CDLL, ctypes.c_void_p] | None:
    """Return the C library and its stderr; None where that has no name (Windows)."""
    if os.name != "posix":
        return None
    library = ctypes.CDLL(None)
    for name in ("stderr", "__stderrp"):  # Linux; macOS
        with suppress(ValueError):
            return library, ctypes.c_void_p.in_dll(library, name)
    return None
