"""Reading audio files block by block: from paths, bytes and open files to mono samples.

libsndfile (soundfile) decodes. It calls back into Python for its bytes, and an exception cannot
pass through it, so `_Input` keeps what went wrong until the call returns. What may not live
here: writing, and the Audio value.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ._audio_containers import check_complete
from ._audio_samples import check_rate, check_samples, mix
from .errors import AudioError, AudioFormatError, EmptyAudioError

__all__ = ["AudioSource", "ForwardFile", "read_audio"]

AudioSource = os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
"""Where audio can come from. A turn given as a str is text and never opens a file."""

_BLOCK: Final = 1 << 18  # samples read at a time, all channels together: 1 MiB
_IN_MEMORY: Final = 1 << 24  # bytes of a pipe kept in memory; the rest goes to a temporary file
_MAX_PIPE: Final = 1 << 32  # bytes taken from a pipe: what the header of a WAV can count
_UNKNOWN_LENGTH: Final = 1 << 62  # frames; libsndfile says more than this for a stream


class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read or written from start to end, without seeking between blocks.

    soundfile seeks after each block, which fails where a FLAC stream does not say how long it is.
    """

    def seekable(self) -> bool:
        """Say no, whatever the file could do."""
        return False


def read_audio(
    source: AudioSource, *, max_duration: float, sample_rate: int | None
) -> tuple[npt.NDArray[np.float32], int]:
    """Return the samples of `source`, mixed to mono, and their rate; see `Audio.load`."""
    name = _name(source)
    with ExitStack() as stack:
        try:
            file, size = stack.enter_context(_opened(source, name))
            patch = check_complete(file, size, name)
            data = _Input(file, size, patch)
        except AudioError:
            raise
        except Exception as error:  # a file object can be of anybody's making
            raise _unreadable(name, error) from error
        try:
            decoder = stack.enter_context(ForwardFile(data))
        except soundfile.LibsndfileError as error:
            data.check(name)
            raise AudioFormatError(
                f"{name} is not audio that can be read ({_reason(error)}); "
                "convert it to WAV, FLAC, OGG or MP3."
            ) from error
        try:
            rate = check_rate(decoder.samplerate)
            samples = _decode(decoder, data, name, max_duration, sample_rate or rate)
        except MemoryError as error:
            raise AudioFormatError(
                f"{name} holds more sound than fits into memory; load it at a lower sample rate "
                "with sample_rate=16000, or cut it into shorter pieces."
            ) from error
    if not len(samples):
        raise EmptyAudioError(f"{name} holds no sound at all; record it again.")
    return samples, sample_rate or rate


def _name(source: AudioSource) -> str:
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


def _unreadable(name: str, error: BaseException) -> AudioError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return AudioError(f"{name} cannot be read ({reason}); check the path and its permissions.")


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


@contextmanager
def _opened(source: AudioSource, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open what was given as a seekable file; give it and its size in bytes."""
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


class _Input:
    """What libsndfile reads from: the file, with some bytes replaced, keeping what it raises."""

    def __init__(self, file: IO[bytes], size: int, patch: tuple[int, bytes] | None) -> None:
        self._file = file
        self._size = size
        self._patch = patch
        self._position = 0
        self._at = -1  # where the file itself is
        self._error: BaseException | None = None

    def check(self, name: str) -> None:
        """Raise what went wrong while libsndfile was reading."""
        if self._error is None:
            return
        if isinstance(self._error, Exception):
            raise _unreadable(name, self._error) from self._error
        raise self._error

    def readinto(self, buffer: Any) -> int:
        if self._error is not None or self._position < 0:
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
        # A damaged file can send libsndfile anywhere; it is told of it by a negative position.
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, -1)
        return self._position

    def tell(self) -> int:
        return self._position


def _decode(
    decoder: ForwardFile, data: _Input, name: str, max_duration: float, sample_rate: int
) -> npt.NDArray[np.float32]:
    rate, promised = decoder.samplerate, decoder.frames
    limit = max_duration * rate
    known = promised < _UNKNOWN_LENGTH
    if known and promised > limit:
        raise _too_long(name, max_duration)
    result = _Growing(promised * sample_rate // rate + 1 if known else _BLOCK)
    count = 0
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    try:
        for mono in _blocks(decoder, data, name):
            if count + len(mono) > limit:
                raise _too_long(name, max_duration)
            try:
                check_samples(mono, first=count)
            except AudioFormatError as error:
                raise AudioFormatError(f"{name} cannot be used: {error}") from error
            count += len(mono)
            if sample_rate == rate:
                result.append(mono)
                continue
            resampled = resampler.resample_chunk(mono, last=not len(mono))
            # A filter overshoots at the edges of full scale.
            result.append(np.clip(resampled, -1.0, 1.0))
    finally:
        # soxr complains on the terminal when the program ends with a traceback that holds one.
        del resampler
    # Without a header of its own, the length of an MP3 is libsndfile's estimate.
    if known and count < promised and decoder.format != "MP3":
        raise _cut_off(name, f"it holds {count / rate:.2f} s and promises {promised / rate:.2f} s")
    return result.samples()


def _blocks(decoder: ForwardFile, data: _Input, name: str) -> Iterator[npt.NDArray[np.float32]]:
    """Iterate over a file, mixed to mono; the last block is empty."""
    length = 1
    while length:
        try:
            block = decoder.read(
                max(1, _BLOCK // decoder.channels), dtype="float32", always_2d=True
            )
        except soundfile.LibsndfileError as error:
            data.check(name)
            raise _cut_off(name, _reason(error)) from error
        data.check(name)
        length = len(block)
        yield mix(block)


def _too_long(name: str, max_duration: float) -> AudioFormatError:
    return AudioFormatError(
        f"{name} lasts longer than {max_duration:g} s; cut it into shorter pieces "
        "(Audio.load takes max_duration, and transcribing takes hours)."
    )


def _cut_off(name: str, reason: str) -> AudioFormatError:
    return AudioFormatError(f"{name} is cut off or damaged ({reason}); get a complete copy of it.")


class _Growing:
    """An array that grows at its end, made as long as it is expected to be."""

    def __init__(self, expected: int) -> None:
        self._array = np.empty(expected, np.float32)
        self._count = 0

    def append(self, samples: npt.NDArray[np.float32]) -> None:
        end = self._count + len(samples)
        if end > len(self._array):
            self._array.resize(max(end, len(self._array) * 3 // 2), refcheck=False)
        self._array[self._count : end] = samples
        self._count = end

    def samples(self) -> npt.NDArray[np.float32]:
        self._array.resize(self._count, refcheck=False)  # in place: no second copy
        return self._array
