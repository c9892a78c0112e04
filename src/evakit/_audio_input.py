"""What audio is read from: a path, bytes or an open file, as one input that every decoder takes.

Decoders call back into Python for their bytes, and an exception cannot pass through them, so
`Input` keeps what went wrong until the call returns. It also counts the time that decoding
takes, because a small hostile file can keep a decoder busy for hours. What may not live here:
anything that knows a format.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

from .errors import AudioError, AudioFormatError, EmptyAudioError

__all__ = ["DECODING_PATIENCE", "AudioSource", "Input", "opened", "source_name", "unreadable"]

AudioSource = os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
"""Where audio can come from. A turn given as a str is text and never opens a file."""

DECODING_PATIENCE: Final = 10.0
"""Seconds of computing that reading a file may take beyond the length of the sound found in it.

Every format is decoded more than a hundred times faster than it is listened to
(`benchmarks/audio_formats.py`), so only what is made to be slow comes near. Computing time, not
time that passes: a slow disk or a busy machine is nobody's fault.
"""

_BLOCK: Final = 1 << 18  # bytes taken at a time, of a pipe and by a decoder
_IN_MEMORY: Final = 1 << 24  # bytes of a pipe kept in memory; the rest goes to a temporary file
_MAX_PIPE: Final = 1 << 32  # bytes taken from a pipe: what the header of a WAV can count


def source_name(source: AudioSource) -> str:
    """Return what messages call the source.

    Raises:
        AudioError: it is nothing that audio is loaded from.

    """
    if isinstance(source, os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"The audio given as {memoryview(source).nbytes} bytes"
    if not hasattr(source, "read"):
        raise AudioError(
            "Audio is loaded from a path, from bytes or from an open binary file, not from "
            f"{type(source).__name__}; for samples in an array, use Audio(samples, sample_rate)."
        )
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else "The open file given"


def unreadable(name: str, error: BaseException) -> AudioError:
    """Return the error for a file that fails while it is read."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return AudioError(f"{name} cannot be read ({reason}); check the path and its permissions.")


@contextmanager
def opened(source: AudioSource, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open what was given as a seekable file; give it and its size in bytes.

    Raises:
        AudioError: it is a folder, a device, or open as text.
        AudioFormatError: a pipe gives more than 4 GiB.
        EmptyAudioError: there is not a single byte.

    """
    with ExitStack() as stack:
        file: IO[bytes]
        if isinstance(source, os.PathLike):
            file = stack.enter_context(_open_path(name))
        elif isinstance(source, bytes | bytearray | memoryview):
            file = io.BytesIO(source if isinstance(source, bytes) else bytes(source))
        elif _can_seek(source):
            file = source
        else:
            file = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))
            _copy(source, file, name)
        size = file.seek(0, os.SEEK_END) or file.tell()
        file.seek(0)
        probe: object = file.read(1)
        if isinstance(probe, str):
            raise AudioError(f"{name} is open as text; open it with mode 'rb'.")
        if not size:
            raise EmptyAudioError(f"{name} is empty, without a single byte; record it again.")
        yield file, size


def _open_path(name: str) -> IO[bytes]:
    mode = Path(name).stat().st_mode
    # Opening a FIFO waits for whoever writes to it, and a device may never end.
    if stat.S_ISDIR(mode):
        raise AudioError(f"{name} is a folder; name a file in it.")
    if not stat.S_ISREG(mode):
        raise AudioError(f"{name} is not a regular file; save the audio to one first.")
    return Path(name).open("rb")


def _can_seek(file: Any) -> bool:
    if hasattr(file, "seekable"):
        try:
            return bool(file.seekable())
        except ValueError:  # a closed file says so when it is read
            return False
    return hasattr(file, "seek") and hasattr(file, "tell")


def _copy(source: IO[bytes], target: IO[bytes], name: str) -> None:
    size = 0
    while True:
        data = source.read(_BLOCK)
        if not data:
            return
        if isinstance(data, str):
            raise AudioError(f"{name} is open as text; open it with mode 'rb'.")
        size += len(data)
        if size > _MAX_PIPE:
            raise AudioFormatError(
                f"{name} is longer than {_MAX_PIPE >> 30} GiB; cut it into shorter pieces."
            )
        target.write(data)


class Input:
    """What a decoder reads from: the file, with some bytes replaced, keeping what it raises."""

    def __init__(self, file: IO[bytes], size: int, patch: tuple[int, bytes] | None) -> None:
        self._file = file
        self._size = size
        self._patch = patch
        self._position = 0
        self._at = -1  # where the file itself is
        self._error: BaseException | None = None
        self._started_at = time.thread_time()
        self._found = 0.0

    def check(self, name: str) -> None:
        """Raise what went wrong while the decoder was reading.

        Raises:
            AudioError: the file failed.
            AudioFormatError: decoding takes far too long.

        """
        if self._error is None and self._is_late():
            self._error = _TooSlow()
        if self._error is None:
            return
        if isinstance(self._error, _TooSlow):
            raise AudioFormatError(
                f"{name} takes far longer to read than the sound in it lasts, so it is damaged or "
                "made to be slow; convert it to WAV, FLAC, OGG or MP3."
            )
        if isinstance(self._error, Exception):
            raise unreadable(name, self._error) from self._error
        raise self._error

    def found(self, seconds: float) -> None:
        """Note that so much more sound was decoded."""
        self._found += seconds

    def _is_late(self) -> bool:
        return time.thread_time() - self._started_at > DECODING_PATIENCE + self._found

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end, and none from when something failed."""
        data = bytearray(min(size, _BLOCK))  # a damaged file can ask for much more than there is
        return bytes(memoryview(data)[: self.readinto(data)])

    def readinto(self, buffer: Any) -> int:
        if self._error is not None or self._position < 0:
            return 0
        if self._is_late():
            self._error = _TooSlow()
            return 0
        view = memoryview(buffer)
        count = 0
        try:
            if self._at != self._position:
                self._file.seek(self._position)
            while count < len(view):  # a raw file may give less than is asked for
                data = self._file.read(len(view) - count)
                if not data:
                    break
                view[count : count + len(data)] = data
                count += len(data)
        except BaseException as error:  # noqa: BLE001 (kept; raised by `check`)
            self._error = error
            return 0
        if self._patch is not None:
            where, patch = self._patch
            for offset, byte in enumerate(patch, where - self._position):
                if 0 <= offset < count:
                    view[offset : offset + 1] = bytes([byte])
        self._position += count
        self._at = self._position
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # A damaged file can send a decoder anywhere; it is told of it by a negative position.
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, -1)
        return self._position

    def tell(self) -> int:
        return self._position


class _TooSlow(Exception):  # noqa: N818 (never raised: kept where errors are kept)
    """The computing time is used up."""
