"""Reading audio files: which decoder takes one, and its blocks as one array at one sample rate.

libsndfile decodes what it can, PyAV the rest. What may not live here: decoding, writing, and
the Audio value.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from ._audio_containers import check_complete, container_of
from ._audio_input import AudioSource, Input, opened, source_name, unreadable
from ._audio_media import has_pyav, media_sound
from ._audio_rates import RateStream
from ._audio_samples import Sound, check_samples
from ._audio_soundfile import ForwardFile, not_audio, soundfile_reason, soundfile_sound
from ._threads import check_cancelled
from .errors import AudioError, AudioFormatError, EmptyAudioError

__all__ = ["read_audio"]

# What libsndfile knows nothing of; what it reads, but tells the terminal of each fault, and plays
# over most of them; and what it reads with some codecs and not with others. (Not WAV: FFmpeg
# fills as much memory as a damaged chunk of it claims to be long.)
_NOT_FOR_SOUNDFILE: Final = frozenset({"matroska", "mov", "amr", "aac"})
_RATHER_NOT_FOR_SOUNDFILE: Final = frozenset({"mp3", "caf"})
_IN_PART_FOR_SOUNDFILE: Final = frozenset({"caf", "ogg", "mp3"})
_FIRST: Final = 1 << 18  # samples that an array of unknown length begins with


def read_audio(
    source: AudioSource, *, max_duration: float, sample_rate: int | None
) -> tuple[npt.NDArray[np.float32], int]:
    """Return the samples of `source`, mixed to mono, and their rate; see `Audio.load`."""
    name = source_name(source)
    with ExitStack() as stack:
        try:
            file, size = stack.enter_context(opened(source, name))
            kind = container_of(file)
            data = Input(file, size, check_complete(file, size, name))
        except AudioError:
            raise
        except Exception as error:  # a file object can be of anybody's making
            raise unreadable(name, error) from error
        try:
            sound = _sound(kind, data, name, stack)
            samples, rate = _collect(sound, data, name, max_duration, sample_rate)
        except MemoryError as error:
            raise AudioFormatError(
                f"{name} holds more sound than fits into memory; load it at a lower sample rate "
                "with sample_rate=16000, or cut it into shorter pieces."
            ) from error
    if not len(samples):
        raise EmptyAudioError(f"{name} holds no sound at all; record it again.")
    return samples, rate


def _sound(kind: str | None, data: Input, name: str, stack: ExitStack) -> Sound:
    """Return what the first decoder that takes the file gives; the stack closes that decoder."""
    if kind in _NOT_FOR_SOUNDFILE or (kind in _RATHER_NOT_FOR_SOUNDFILE and has_pyav()):
        return media_sound(kind, data, name, stack)
    try:
        decoder = stack.enter_context(ForwardFile(data))
    except soundfile.LibsndfileError as error:
        data.check(name)
        refusal = not_audio(name, soundfile_reason(error))
        if kind not in _IN_PART_FOR_SOUNDFILE:
            raise refusal from error
        return media_sound(kind, data, name, stack, otherwise=refusal)
    return soundfile_sound(decoder, data, name)


def _collect(
    sound: Sound, data: Input, name: str, max_duration: float, sample_rate: int | None
) -> tuple[npt.NDArray[np.float32], int]:
    """Return all blocks as one array, and its sample rate: the one wanted, else the first's."""
    rate = sample_rate or sound.rate
    expected = _FIRST
    if sound.promised is not None:
        if sound.promised / sound.rate > max_duration:
            raise _too_long(name, max_duration)
        expected = sound.promised * rate // sound.rate + 1
    result = _Growing(expected)
    before, count, current = 0.0, 0, sound.rate  # seconds at other rates; samples at this one
    stream = RateStream(rate)
    try:
        for mono, block_rate in sound.blocks:
            check_cancelled()
            if current != block_rate:
                before, count, current = before + count / current, 0, block_rate
                if not before and not sample_rate:  # the first block knows better than the header
                    stream = RateStream(rate := block_rate)
            count += len(mono)
            data.found(len(mono) / current)
            if before + count / current > max_duration:
                raise _too_long(name, max_duration)
            try:
                check_samples(mono, first=round(before * current) + count - len(mono))
            except AudioFormatError as error:
                raise AudioFormatError(f"{name} cannot be used: {error}") from error
            for part in stream.convert(mono, current):
                result.append(part)
        for part in stream.flush():
            result.append(part)
    finally:
        stream.abandon()
    return result.samples(), rate


def _too_long(name: str, max_duration: float) -> AudioFormatError:
    return AudioFormatError(
        f"{name} lasts longer than {max_duration:g} s; cut it into shorter pieces "
        "(Audio.load takes max_duration, and transcribing takes hours)."
    )


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
