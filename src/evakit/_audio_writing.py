"""Writing audio files, to WAV, FLAC, OGG and MP3, so that they appear whole or not at all.

libsndfile (soundfile) encodes. It calls back into Python with its bytes, and an exception cannot
pass through it, so `_Output` keeps what went wrong until the call returns. What may not live
here: reading, and the Audio value.
"""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from ._audio_rates import RateStream
from ._audio_soundfile import ForwardFile
from .errors import AudioFormatError, ConfigurationError, EmptyAudioError, StorageError

__all__ = ["AudioFile", "check_format", "encode_audio"]

_FORMATS: Final = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
_MP3_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_ODD_FLAC_RATE: Final = 65_535  # hertz; FLAC counts higher ones in tens (RFC 9639, section 9.1.2)
_MAX_FLAC_RATE: Final = 655_350
_MAX_OGG_RATE: Final = 192_000  # hertz; above 200 kHz libsndfile's Vorbis encoder crashes
_BLOCK: Final = 1 << 14  # samples at a time: the Vorbis encoder takes a long array onto its stack


def _id3(software: bytes) -> bytes:
    """Return an ID3v2.4 tag with one frame, the name of the software (TSSE, in UTF-8)."""
    frame = b"TSSE" + bytes([0, 0, 0, len(software) + 1, 0, 0, 3]) + software
    return b"ID3\x04\x00\x00" + bytes([0, 0, 0, len(frame)]) + frame


# libsndfile writes bare MPEG frames, which some players and content sniffers do not take for MP3.
_ID3: Final = _id3(b"evakit")


def check_format(name: str) -> str:
    """Return a file format as evakit names it: `MP3` is `mp3`.

    Raises:
        AudioFormatError: it is none that can be written.

    """
    if isinstance(name, str) and name.lower() in _FORMATS:
        return name.lower()
    raise AudioFormatError(
        f"{name or 'No ending'!r} is not a kind of file that evakit writes; "
        f"use one of {', '.join(_FORMATS)}."
    )


def _storable_rate(kind: str, rate: int) -> int:
    """Return the sample rate to write at; the lossy formats know only some."""
    if kind == "mp3":
        return min((r for r in _MP3_RATES if r >= rate), default=_MP3_RATES[-1])
    if kind == "flac" and (rate > _MAX_FLAC_RATE or (rate > _ODD_FLAC_RATE and rate % 10)):
        raise AudioFormatError(
            f"A flac file cannot hold audio at {rate} Hz; resample it first, for instance with "
            "audio.resample(48000)."
        )
    return min(rate, _MAX_OGG_RATE) if kind == "ogg" else rate


class _Output:
    """What libsndfile writes to: the file after its first `start` bytes, keeping what it raises."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start
        self._place = start
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong while libsndfile was writing."""
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> int:
        if self._error is None:
            try:
                self._file.write(data)
                self._place = self._file.tell()
            except BaseException as error:  # noqa: BLE001 (kept; raised by `check`)
                self._error = error
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._error is None:
            try:
                self._file.seek(offset + (self._start if whence == os.SEEK_SET else 0), whence)
                self._place = self._file.tell()
            except BaseException as error:  # noqa: BLE001 (kept; raised by `check`)
                self._error = error
        return self.tell()

    def tell(self) -> int:
        # Remembered: libsndfile asks once more when the file has failed and is closed already.
        return self._place - self._start


class _Encoder:
    """Encodes pieces of audio into an open file, at the rate of the first."""

    def __init__(self, file: IO[bytes], kind: str, rate: int) -> None:
        container, subtype = _FORMATS[kind]
        self.rate = _storable_rate(kind, rate)
        self.count = 0
        """Samples written."""
        start = file.write(_ID3) if kind == "mp3" else 0
        self._stream = RateStream(self.rate)
        self._output = _Output(file, start)
        self._encoder = ForwardFile(self._output, "w", self.rate, 1, subtype, format=container)
        self._output.check()

    def write(self, samples: npt.NDArray[np.float32], rate: int) -> None:
        """Encode samples; a rate other than the file's is resampled as one stream."""
        for part in self._stream.convert(samples, rate):
            self._encode(part)

    def close(self) -> None:
        """Encode what is held back and complete the header."""
        try:
            for part in self._stream.flush():
                self._encode(part)
        finally:
            self.abandon()
        self._output.check()

    def abandon(self) -> None:
        """Free the encoder; what it still writes is of no interest."""
        self._stream.abandon()
        self._encoder.close()

    def _encode(self, samples: npt.NDArray[np.float32]) -> None:
        for start in range(0, len(samples), _BLOCK):
            block = np.ascontiguousarray(samples[start : start + _BLOCK])
            self._encoder.write(block)
            self._output.check()
            self.count += len(block)


def encode_audio(samples: npt.NDArray[np.float32], rate: int, kind: str) -> bytes:
    """Return the bytes of a file of that kind.

    Raises:
        AudioFormatError: unknown kind, or one that cannot hold this sample rate.
        EmptyAudioError: there are no samples.

    """
    kind = check_format(kind)
    buffer = io.BytesIO()
    if not len(samples):
        raise EmptyAudioError(f"There is no sound to make a {kind} file of; pass some audio.")
    encoder = _Encoder(buffer, kind, rate)
    encoder.write(samples, rate)
    encoder.close()
    return buffer.getvalue()


class AudioFile:
    """A file that is written piece by piece under another name, then put in place."""

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self.path = Path(path)
        self._kind = check_format(self.path.suffix.removeprefix("."))
        self._target = self._partial = self.path
        self._encoder: _Encoder | None = None
        self._file: IO[bytes] | None = None
        self._failure: StorageError | None = None

    @property
    def duration(self) -> float:
        """Seconds written so far."""
        return self._encoder.count / self._encoder.rate if self._encoder else 0.0

    def open(self) -> None:
        """Create the partial file.

        Raises:
            StorageError: the folder is missing or read-only.

        """
        try:
            self._target = Path(os.path.realpath(self.path))  # what a link points to, not the link
            self._partial = self._target.with_name(f".{secrets.token_hex(8)}.part")
            if self._target.is_dir():
                raise IsADirectoryError(0, "a folder has this name")
            self._file = self._partial.open("xb")
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def write(self, samples: npt.NDArray[np.float32], rate: int) -> None:
        """Append samples.

        Raises:
            AudioFormatError: the kind of file cannot hold this sample rate.
            StorageError: the disk is full.

        """
        if self._file is None:
            raise ConfigurationError(
                f"{self.path} is not open for writing; write inside the block of a "
                "'with AudioWriter(path) as writer:'."
            )
        if not len(samples):
            return
        try:
            if self._encoder is None:
                self._encoder = _Encoder(self._file, self._kind, rate)
            self._encoder.write(samples, rate)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Complete the file and put it in place, or leave nothing.

        Raises:
            EmptyAudioError: nothing was written to it.
            StorageError: the disk is full, or was.

        """
        file, encoder = self._file, self._encoder
        if file is None:
            return
        try:
            if self._failure is not None:
                raise self._failure
            if encoder is None:
                raise EmptyAudioError(
                    f"There is no sound to write to {self.path}; pass some audio."
                )
            try:
                encoder.close()
                file.close()
                self._partial.replace(self._target)
            except OSError as error:
                raise self._failed(error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind; calling it twice, or after `finish`, is fine."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._encoder is not None:
                self._encoder.abandon()
            file.close()
        except OSError as error:
            self._failed(error)  # the file is thrown away: nothing of it is missed
        finally:
            self._partial.unlink(missing_ok=True)

    def _failed(self, error: Any) -> StorageError:
        if isinstance(error, FileNotFoundError):
            advice = "create the folder first"
        else:
            advice = "free some space or choose another folder"
        self._failure = StorageError(
            f"{self.path} cannot be written ({getattr(error, 'strerror', None) or error}); "
            f"{advice}."
        )
        return self._failure
