"""Audio: mono samples and their rate, read from and written to files of every common kind.

One value class; arrays are float32 in [-1, 1] and read-only. Files go through libsndfile
(soundfile), rates through soxr. What may not live here: microphones, speakers, sockets.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from attrs import cmp_using, field, frozen

from .errors import AudioError, AudioFormatError, EmptyAudioError, StorageError

__all__ = ["Audio", "AudioFormat", "AudioSource"]

AudioSource = os.PathLike[str] | bytes | IO[bytes]
"""Where audio can be loaded from. A str is text everywhere in evakit, never a path."""

_MIN_RATE: Final = 1_000
_MAX_RATE: Final = 768_000  # hertz; the widest that sound cards and libsndfile agree on
_MAX_PEAK: Final = 8.0  # beyond this the samples are integers that were not scaled
_BLOCK: Final = 1 << 18  # frames read at a time, so that a long file is never held twice
_ENCODINGS: Final = {
    "int16": ("PCM_16", 2),
    "int32": ("PCM_32", 4),
    "float32": ("FLOAT", 4),
    "mulaw": ("ULAW", 1),
    "alaw": ("ALAW", 1),
}
_FORMATS: Final = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
# An ID3v2.4 tag that holds nothing but ten bytes of padding. libsndfile writes bare MPEG
# frames, which some players and content sniffers do not take for MP3.
_ID3: Final = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)


def _check_rate(sample_rate: int) -> int:
    if isinstance(sample_rate, bool) or int(sample_rate) != sample_rate:
        raise AudioFormatError(f"A sample rate is a whole number of hertz, not {sample_rate!r}.")
    if not _MIN_RATE <= sample_rate <= _MAX_RATE:
        raise AudioFormatError(
            f"A sample rate of {sample_rate} Hz cannot be right; "
            f"give one from {_MIN_RATE} to {_MAX_RATE} Hz."
        )
    return int(sample_rate)


def _freeze(samples: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = np.asarray(samples)
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
    array = np.array(array, dtype=np.float32)  # a copy: nobody else can write to it
    if array.size:
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low + high):
            where = int(np.flatnonzero(~np.isfinite(array))[0])
            raise AudioFormatError(
                f"Sample {where} is {array[where]}, not a number in [-1, 1]; "
                "record or export the audio again."
            )
        peak = max(-low, high)
        if peak > _MAX_PEAK:
            raise AudioFormatError(
                f"Samples reach {peak:g} where 1 is full scale; "
                "divide by the full scale, or use Audio.from_pcm for integers."
            )
        if peak > 1.0:  # what every sound card does with it
            np.clip(array, -1.0, 1.0, out=array)
    array.flags.writeable = False
    return array


@frozen
class AudioFormat:
    """How raw PCM is laid out, where no header says it."""

    sample_rate: int = field(converter=_check_rate)
    """Hertz."""
    channels: int = 1
    encoding: str = "int16"
    """`int16`, `int32`, `float32` (all little-endian), `mulaw` or `alaw`."""

    def __attrs_post_init__(self) -> None:
        if self.encoding not in _ENCODINGS:
            raise AudioFormatError(
                f"{self.encoding!r} is not an encoding of raw PCM; use {', '.join(_ENCODINGS)}."
            )
        if self.channels < 1:
            raise AudioFormatError(f"Audio has at least one channel, not {self.channels}.")

    def decode(self, data: bytes) -> Audio:
        """Return the audio in `data`, its channels mixed to one.

        Raises:
            AudioFormatError: `data` does not hold whole frames, or samples that are not numbers.

        """
        subtype, width = _ENCODINGS[self.encoding]
        if len(data) % (width * self.channels):
            raise AudioFormatError(
                f"{len(data)} bytes are not whole {self.encoding} frames of {self.channels} "
                "channel(s); check the encoding and pass complete frames."
            )
        if not data:
            return Audio(np.zeros(0, np.float32), self.sample_rate)
        samples, _ = soundfile.read(
            io.BytesIO(data),
            dtype="float32",
            always_2d=True,
            format="RAW",
            subtype=subtype,
            channels=self.channels,
            samplerate=self.sample_rate,
            endian="FILE" if width == 1 else "LITTLE",
        )
        return Audio(samples.mean(axis=1), self.sample_rate)

    def encode(self, audio: Audio) -> bytes:
        """Return `audio` in this format, resampled and copied to every channel as needed."""
        samples = audio.resample(self.sample_rate).samples
        frames = np.repeat(samples[:, None], self.channels, axis=1)
        buffer = io.BytesIO()
        subtype, width = _ENCODINGS[self.encoding]
        soundfile.write(
            buffer,
            frames,
            self.sample_rate,
            format="RAW",
            subtype=subtype,
            endian="FILE" if width == 1 else "LITTLE",
        )
        return buffer.getvalue()


@frozen(repr=False)
class Audio:
    """Mono audio. Immutable; compares by value."""

    samples: npt.NDArray[np.float32] = field(
        converter=_freeze, eq=cmp_using(eq=np.array_equal)
    )
    """Shape (n_samples,), float32, in [-1, 1], read-only."""
    sample_rate: int = field(converter=_check_rate)
    """Hertz."""

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"<Audio {self.duration:.2f} s at {self.sample_rate} Hz>"

    def __getitem__(self, part: slice) -> Audio:
        """Return the samples from `part.start` to `part.stop` as audio."""
        return Audio(self.samples[part], self.sample_rate)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def peak(self) -> float:
        """The largest absolute sample; 0 when there is none."""
        return float(np.abs(self.samples).max(initial=0.0))

    @classmethod
    def join(cls, pieces: Iterable[Audio], *, sample_rate: int | None = None) -> Audio:
        """Return the pieces one after the other; with none of them, silence of no length.

        Raises:
            AudioFormatError: the pieces differ in sample rate, or there is none to tell it.

        """
        pieces = list(pieces)
        rates = {piece.sample_rate for piece in pieces} | ({sample_rate} if sample_rate else set())
        if len(rates) != 1:
            raise AudioFormatError(
                f"Audio of different sample rates ({sorted(rates)}) cannot be joined; "
                "resample it first."
            )
        arrays = [piece.samples for piece in pieces] or [np.zeros(0, np.float32)]
        return cls(np.concatenate(arrays), rates.pop())

    @classmethod
    def from_pcm(
        cls,
        data: bytes,
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
    def load(cls, source: AudioSource, *, max_duration: float = 4 * 3600.0) -> Audio:
        """Read an audio file: WAV, FLAC, OGG, MP3 and what else libsndfile reads, mixed to mono.

        `max_duration` in seconds bounds what a hostile file can make of the memory.

        Raises:
            AudioError: the file cannot be read, or is a str, which is always text.
            AudioFormatError: it is not audio, is cut off, or lasts longer than `max_duration`.
            EmptyAudioError: it holds no samples.

        """
        name = _name(source)
        try:
            with _open(source, name) as file:
                samples, rate = _read(file, name, max_duration), file.samplerate
        except OSError as error:
            raise AudioError(
                f"{name} cannot be read ({error.strerror or error}); check the path and its "
                "permissions."
            ) from error
        if not len(samples):
            raise EmptyAudioError(f"{name} holds no sound at all; record it again.")
        try:
            return cls(samples, rate)
        except AudioFormatError as error:
            raise AudioFormatError(f"{name}: {error}") from error

    def resample(self, hz: int) -> Audio:
        """Return the same sound at another sample rate (soxr, high quality).

        Raises:
            AudioFormatError: `hz` is not a sample rate.

        """
        if _check_rate(hz) == self.sample_rate:
            return self
        return Audio(soxr.resample(self.samples, self.sample_rate, hz, quality="HQ"), hz)

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
        """
        for start in range(0, len(self), size):
            frame = self.samples[start : start + size]
            if len(frame) < size:
                frame = np.pad(frame, (0, size - len(frame)))
                frame.flags.writeable = False
            yield frame

    def encode(self, format: str = "wav") -> bytes:  # noqa: A002 (the word users look for)
        """Return the bytes of a file: `wav` (16 bit), `flac`, `ogg` or `mp3` (with an ID3v2 tag).

        Raises:
            AudioFormatError: unknown format, or one that cannot hold this sample rate.

        """
        container, subtype = _container(format)
        audio = self
        if container == "MP3" and self.sample_rate not in _MP3_RATES:
            audio = self.resample(min(r for r in _MP3_RATES if r >= min(self.sample_rate, 48_000)))
        buffer = io.BytesIO()
        try:
            soundfile.write(
                buffer, audio.samples, audio.sample_rate, format=container, subtype=subtype
            )
        except soundfile.LibsndfileError as error:
            raise AudioFormatError(
                f"{format} cannot hold audio at {audio.sample_rate} Hz ({error}); resample it."
            ) from error
        return (_ID3 if container == "MP3" else b"") + buffer.getvalue()

    def save(self, path: os.PathLike[str] | str) -> None:
        """Write a file of the kind that its ending names; all of it or, on failure, nothing.

        Raises:
            AudioFormatError: the ending names no known format.
            StorageError: the disk is full, or the folder is missing or read-only.

        """
        path = Path(path)
        data = self.encode(path.suffix.removeprefix("."))
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            try:
                partial.write_bytes(data)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written ({error.strerror or error}); "
                "free some space or choose another folder."
            ) from error


_MP3_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def _container(format: str) -> tuple[str, str]:  # noqa: A002
    try:
        return _FORMATS[format.lower()]
    except KeyError:
        raise AudioFormatError(
            f"{format or 'no ending'!r} is not a kind of file that evakit writes; "
            f"use one of {', '.join(_FORMATS)}."
        ) from None


def _name(source: AudioSource) -> str:
    if isinstance(source, str):
        raise AudioError(
            f"A str is always text in evakit and never opens a file; write Path({source[:80]!r})."
        )
    if isinstance(source, os.PathLike):
        return os.fspath(source)
    return f"The {len(source)} bytes given" if isinstance(source, bytes) else "The file given"


def _open(source: AudioSource, name: str) -> soundfile.SoundFile:
    file: Any = source
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    elif isinstance(source, os.PathLike):
        file = os.fspath(source)
        if os.stat(file).st_size == 0:
            raise EmptyAudioError(f"{name} is an empty file; record it again.")
    try:
        return soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        raise AudioFormatError(
            f"{name} is not audio that can be read ({error.error_string}); "
            "convert it to WAV, FLAC, OGG or MP3."
        ) from error


def _read(
    file: soundfile.SoundFile, name: str, max_duration: float
) -> npt.NDArray[np.float32]:
    limit = int(max_duration * file.samplerate)
    blocks: list[npt.NDArray[np.float32]] = []
    count = 0
    while True:
        block = file.read(_BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            break
        count += len(block)
        if count > limit:
            raise AudioFormatError(
                f"{name} lasts longer than {max_duration:g} s; cut it into shorter pieces."
            )
        blocks.append(block.mean(axis=1))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
