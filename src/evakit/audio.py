"""Audio: mono samples and their rate, read from and written to files of every common kind.

Values only; arrays are float32 in [-1, 1] and read-only. Files go through libsndfile
(soundfile) or FFmpeg (PyAV), rates through soxr. What may not live here: microphones, speakers,
sockets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import soxr
from attrs import cmp_using, field, frozen

from ._audio_input import AudioSource
from ._audio_pcm import PCM_ENCODINGS, decode_pcm, encode_pcm
from ._audio_rates import RateStream
from ._audio_reading import read_audio
from ._audio_samples import check_rate, check_samples, frozen_view
from ._audio_writing import AudioFile, encode_audio
from .errors import AudioFormatError, ConfigurationError

__all__ = ["Audio", "AudioFormat", "AudioSource", "AudioWriter", "PCMEncoder"]

_MAX_CHANNELS: Final = 1024  # what libsndfile takes


def _freeze(samples: npt.ArrayLike) -> npt.NDArray[np.float32]:
    try:
        array = np.asarray(samples)
    except ValueError as error:  # a list of lists of different lengths
        raise AudioFormatError(
            f"Audio is mono, of shape (n_samples,), not {type(samples).__name__} of "
            "uneven parts; pass one array."
        ) from error
    if array.ndim != 1:
        raise AudioFormatError(
            f"Audio is mono, of shape (n_samples,), not {array.shape}; "
            "mix the channels first, for instance with samples.mean(axis=1)."
        )
    if array.size and not np.issubdtype(array.dtype, np.floating):
        raise AudioFormatError(
            f"Audio takes floating point samples in [-1, 1], not {array.dtype}; "
            "use Audio.from_pcm for integers."
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is refused as such
        array = np.array(array, dtype=np.float32, subok=False)  # a copy: nobody else writes to it
    try:
        check_samples(array)
    except AudioFormatError as error:
        raise AudioFormatError(f"This audio cannot be used: {error}") from None
    return frozen_view(array)


@frozen
class AudioFormat:
    """How raw PCM is laid out, where no header says it."""

    sample_rate: int = field(converter=check_rate)
    """Hertz."""
    channels: int = field(default=1)
    encoding: str = field(default="int16")
    """`int16`, `int32`, `float32` (all little-endian), `mulaw` or `alaw`."""

    @channels.validator
    def _counts(self, _attribute: object, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_CHANNELS:
            raise AudioFormatError(
                f"Audio cannot have {value!r} channels; give a whole number from 1 to "
                f"{_MAX_CHANNELS}."
            )

    @encoding.validator
    def _known(self, _attribute: object, value: object) -> None:
        if not isinstance(value, str) or value not in PCM_ENCODINGS:
            raise AudioFormatError(
                f"{value!r} is not an encoding of raw PCM; use {', '.join(PCM_ENCODINGS)}."
            )

    def decode(self, data: bytes | bytearray | memoryview) -> Audio:
        """Return the audio in `data`, its channels mixed to one.

        Raises:
            AudioFormatError: `data` does not hold whole frames, or samples that are not numbers.

        """
        samples = decode_pcm(bytes(data), self.sample_rate, self.channels, self.encoding)
        return Audio(samples, self.sample_rate)

    def encode(self, audio: Audio) -> bytes:
        """Return `audio` in this format, resampled and copied to every channel as needed."""
        return self._encode(audio.resample(self.sample_rate).samples)

    def encoder(self) -> PCMEncoder:
        """Return what encodes audio that comes piece by piece, as a reply does."""
        return PCMEncoder(self)

    def _encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        return encode_pcm(samples, self.sample_rate, self.channels, self.encoding)


class PCMEncoder:
    """Encodes audio piece by piece, resampled as one stream; made by `AudioFormat.encoder`.

    Pieces that are resampled one by one click at their seams.
    """

    def __init__(self, layout: AudioFormat) -> None:
        self._layout = layout
        self._stream = RateStream(layout.sample_rate)

    def encode(self, audio: Audio) -> bytes:
        """Return what `audio` adds; the last milliseconds may come with the next piece."""
        parts = self._stream.convert(audio.samples, audio.sample_rate)
        return b"".join(self._layout._encode(part) for part in parts)

    def finish(self) -> bytes:
        """Return what was held back; a piece that comes afterwards begins another stream."""
        return b"".join(self._layout._encode(part) for part in self._stream.flush())


@frozen(repr=False)
class Audio:
    """Mono audio. Immutable; compares by value."""

    samples: npt.NDArray[np.float32] = field(converter=_freeze, eq=cmp_using(eq=np.array_equal))
    """Shape (n_samples,), float32, in [-1, 1], read-only."""
    sample_rate: int = field(converter=check_rate)
    """Hertz."""

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def _of(cls, samples: npt.NDArray[np.float32], sample_rate: int) -> Self:
        """Make audio of samples that are checked and that nobody else holds, without a copy."""
        audio = cls.__new__(cls)
        object.__setattr__(audio, "samples", frozen_view(samples))
        object.__setattr__(audio, "sample_rate", sample_rate)
        return audio

    def __reduce__(self) -> Any:
        # The default way would set an array that can be written to.
        return type(self), (self.samples, self.sample_rate)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"<Audio {self.duration:.2f} s at {self.sample_rate} Hz>"

    def __getitem__(self, part: slice) -> Audio:
        """Return the samples from `part.start` to `part.stop` as audio.

        Raises:
            TypeError: `part` is no slice; single samples are in `audio.samples`.

        """
        if not isinstance(part, slice):
            raise TypeError(
                f"Audio is cut by a slice such as audio[:16000], not by {part!r}; "
                "single samples are in audio.samples."
            )
        # A copy, so that a short piece does not keep a long recording in memory.
        return self._of(self.samples[part].copy(), self.sample_rate)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def peak(self) -> float:
        """The largest absolute sample; 0 when there is none."""
        return float(max(self.samples.max(initial=0.0), -self.samples.min(initial=0.0)))

    @classmethod
    def join(cls, pieces: Iterable[Audio], *, sample_rate: int | None = None) -> Audio:
        """Return the pieces one after the other; with none of them, silence of no length.

        Raises:
            AudioFormatError: the pieces differ in sample rate, or there is none to tell it.

        """
        pieces = list(pieces)
        rates = {piece.sample_rate for piece in pieces}
        if sample_rate is not None:
            rates.add(check_rate(sample_rate))
        if not rates:
            raise AudioFormatError(
                "No audio was given to join, so its sample rate is not known; pass sample_rate=."
            )
        if len(rates) > 1:
            listed = ", ".join(str(rate) for rate in sorted(rates))
            raise AudioFormatError(
                f"Audio of different sample rates ({listed} Hz) cannot be joined; "
                "resample it first."
            )
        arrays = [piece.samples for piece in pieces] or [np.zeros(0, np.float32)]
        return cls._of(np.concatenate(arrays), rates.pop())

    @classmethod
    def from_pcm(
        cls,
        data: bytes | bytearray | memoryview,
        sample_rate: int,
        channels: int = 1,
        encoding: str = "int16",
    ) -> Audio:
        """Make audio from raw samples; `encoding` as in `AudioFormat`.

        Raises:
            AudioFormatError: unknown encoding, or `data` does not hold whole frames.

        """
        return AudioFormat(sample_rate, channels, encoding).decode(data)

    @classmethod
    def load(
        cls,
        source: AudioSource | str,
        *,
        sample_rate: int | None = None,
        max_duration: float = 4 * 3600.0,
    ) -> Audio:
        """Read audio or the sound of a video, from any common kind of file, mixed to mono.

        WAV, FLAC, OGG, MP3, AIFF and their like; with PyAV, which the extra `media` adds, also
        WebM, MP4, M4A, 3GP, AMR and AAC, as browsers and phones record them.
        `source` is a path (a str too: nothing here could be meant as text), the bytes of a file,
        or an open binary file.
        An open file is read from its start where it can seek, else from where it is.
        `sample_rate` in hertz resamples while reading, so that a long file is never held at
        its own rate; None keeps the file's. `max_duration` in seconds bounds what a hostile
        file can make of the memory. It blocks for about a hundredth of the sound's duration at
        most: a program with an event loop passes the file itself to a turn, which reads it in a
        thread.

        Raises:
            AudioError: the file cannot be read.
            AudioFormatError: it is not audio, is cut off, lasts longer than `max_duration`, takes
                far too long to read, or needs PyAV, which is not installed.
            EmptyAudioError: it holds no samples.

        """
        if sample_rate is not None:
            sample_rate = check_rate(sample_rate)
        if isinstance(source, str):
            source = Path(source)
        return cls._of(*read_audio(source, max_duration=max_duration, sample_rate=sample_rate))

    def resample(self, hz: int) -> Audio:
        """Return the same sound at another sample rate (soxr, high quality).

        Raises:
            AudioFormatError: `hz` is not a sample rate.

        """
        hz = check_rate(hz)
        if hz == self.sample_rate:
            return self
        samples = soxr.resample(self.samples, self.sample_rate, hz, quality="HQ")
        np.clip(samples, -1.0, 1.0, out=samples)  # a filter overshoots at the edges of full scale
        return self._of(samples, hz)

    def require_sample_rate(self, hz: int) -> None:
        """Check the sample rate.

        Raises:
            AudioFormatError: the audio has another.

        """
        if self.sample_rate != hz:
            raise AudioFormatError(
                f"Audio at {hz} Hz is needed here, not at {self.sample_rate} Hz; "
                f"use audio.resample({hz})."
            )

    def frames(self, size: int) -> Iterator[npt.NDArray[np.float32]]:
        """Iterate over whole frames of `size` samples; the last is filled up with silence.

        Each has shape (size,), float32, in [-1, 1], read-only.

        Raises:
            ConfigurationError: `size` is less than 1.

        """
        if size < 1:
            raise ConfigurationError(f"A frame has at least one sample, not {size}; pass more.")
        return (self._frame(start, size) for start in range(0, len(self), size))

    def _frame(self, start: int, size: int) -> npt.NDArray[np.float32]:
        frame = self.samples[start : start + size]
        return frame if len(frame) == size else frozen_view(np.pad(frame, (0, size - len(frame))))

    def encode(self, format: str = "wav") -> bytes:  # noqa: A002 (the word users look for)
        """Return the bytes of a file: `wav` (16 bit), `flac`, `ogg` or `mp3` (with an ID3v2 tag).

        OGG and MP3, which lose a little anyway, are resampled where they cannot hold the rate.

        Raises:
            AudioFormatError: unknown format, or FLAC at a sample rate that it cannot hold.
            EmptyAudioError: there are no samples.

        """
        return encode_audio(self.samples, self.sample_rate, format)

    def save(self, path: os.PathLike[str] | str) -> None:
        """Write a file of the kind that its ending names; all of it or, on failure, nothing.

        Raises:
            AudioFormatError: the ending names no known format, or see `encode`.
            EmptyAudioError: there are no samples.
            StorageError: the disk is full, or the folder is missing or read-only.

        """
        with AudioWriter(path) as writer:
            writer.write(self)


class AudioWriter:
    """Writes long audio piece by piece to a file of the kind that the path's ending names.

    Use as a context manager. The file appears, whole, when the block is left; when the block
    fails, nothing is left. Its sample rate is that of the first piece; later pieces of another
    rate are resampled as one stream.

    Args:
        path: The file, which is replaced where it exists; `.wav`, `.mp3`, `.flac` or `.ogg`.

    Raises:
        AudioFormatError: the ending names no known format.

    """

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self._file = AudioFile(path)

    @property
    def duration(self) -> float:
        """Seconds written so far."""
        return self._file.duration

    def write(self, audio: Audio) -> None:
        """Append a piece.

        Raises:
            AudioFormatError: the kind of file cannot hold its sample rate.
            StorageError: the disk is full.

        """
        self._file.write(audio.samples, audio.sample_rate)

    def __enter__(self) -> Self:
        self._file.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the file in place, or leave nothing.

        Raises:
            EmptyAudioError: nothing was written.
            StorageError: the disk is full, or was.

        """
        if exc_type is None:
            self._file.finish()
        else:
            self._file.discard()
