"""Decoding with libsndfile (soundfile): WAV, FLAC, OGG, MP3, AIFF, CAF and their like.

What may not live here: resampling, and what libsndfile cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from ._audio_input import Input
from ._audio_samples import Sound, check_rate, mix
from .errors import AudioFormatError

__all__ = ["ForwardFile", "damaged", "not_audio", "soundfile_reason", "soundfile_sound"]

_BLOCK: Final = 1 << 18  # samples read at a time, all channels together: 1 MiB
_UNKNOWN_LENGTH: Final = 1 << 62  # frames; libsndfile says more than this for a stream


class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read or written from start to end, without seeking between blocks.

    soundfile seeks after each block, which fails where a FLAC stream does not say how long it is.
    """

    def seekable(self) -> bool:
        """Say no, whatever the file could do."""
        return False


def soundfile_reason(error: soundfile.LibsndfileError) -> str:
    """Return what libsndfile says, as part of a sentence."""
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


def not_audio(name: str, reason: str) -> AudioFormatError:
    """Return the error for a file that no decoder takes."""
    return AudioFormatError(
        f"{name} is not audio that can be read ({reason}); convert it to WAV, FLAC, OGG or MP3."
    )


def damaged(name: str, reason: str) -> AudioFormatError:
    """Return the error for a file that a decoder takes and cannot finish."""
    return AudioFormatError(f"{name} is cut off or damaged ({reason}); get a complete copy of it.")


def soundfile_sound(decoder: ForwardFile, data: Input, name: str) -> Sound:
    """Return what an opened file holds.

    Raises:
        AudioFormatError: its sample rate cannot be right.

    """
    promised = decoder.frames if decoder.frames < _UNKNOWN_LENGTH else None
    return Sound(check_rate(decoder.samplerate), promised, _blocks(decoder, promised, data, name))


def _blocks(
    decoder: ForwardFile, promised: int | None, data: Input, name: str
) -> Iterator[tuple[npt.NDArray[np.float32], int]]:
    rate, count = decoder.samplerate, 0
    size = max(1, _BLOCK // decoder.channels)
    while True:
        try:
            block = decoder.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            data.check(name)
            raise damaged(name, soundfile_reason(error)) from error
        data.check(name)
        if not len(block):
            break
        count += len(block)
        yield mix(block), rate
    # Without a header of its own, the length of MPEG sound is libsndfile's estimate.
    if promised is not None and count < promised and not decoder.subtype.startswith("MPEG"):
        raise damaged(name, f"it holds {count / rate:.2f} s and promises {promised / rate:.2f} s")
