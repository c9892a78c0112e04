"""The rules for samples and sample rates, kept in one place for everything that makes audio.

What may not live here: files and formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from .errors import AudioFormatError

__all__ = ["MAX_RATE", "MIN_RATE", "Sound", "check_rate", "check_samples", "frozen_view", "mix"]

MIN_RATE: Final = 1_000
MAX_RATE: Final = 768_000  # hertz; the widest that sound cards and libsndfile agree on
_MAX_PEAK: Final = 8.0  # beyond this the samples are integers that were not scaled


@frozen
class Sound:
    """What a decoder gives: mono blocks, each with its sample rate, checked by nobody yet."""

    rate: int
    """Hertz, as the header says it; the first block may know better."""
    promised: int | None
    """How many samples the header promises; None when it does not."""
    blocks: Iterator[tuple[npt.NDArray[np.float32], int]]
    """Each of shape (n_samples,), float32, and never empty."""


def check_rate(sample_rate: Any) -> int:
    """Return a sample rate in hertz as an int.

    Raises:
        AudioFormatError: it is not a whole number from `MIN_RATE` to `MAX_RATE`.

    """
    try:
        whole = int(sample_rate)
        is_whole = bool(whole == sample_rate) and not isinstance(sample_rate, bool)
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise AudioFormatError(
            f"A sample rate is a whole number of hertz, not {sample_rate!r}; pass one such as "
            "16000."
        )
    if not MIN_RATE <= whole <= MAX_RATE:
        raise AudioFormatError(
            f"A sample rate of {whole} Hz cannot be right; "
            f"give one from {MIN_RATE} to {MAX_RATE} Hz."
        )
    return whole


def check_samples(array: npt.NDArray[np.float32], *, first: int = 0) -> None:
    """Check that samples are numbers at full scale 1, and clip *in place* what lies just beyond.

    `first` is the position of the first one, for messages.

    Raises:
        AudioFormatError: a sample is NaN or infinite, or the scale is not 1.

    """
    if not array.size:
        return
    low, high = float(array.min()), float(array.max())  # NaN, if there is one, reaches both
    if not np.isfinite(low) or not np.isfinite(high):
        where = int(np.flatnonzero(~np.isfinite(array))[0])
        raise AudioFormatError(
            f"sample {first + where} is {array[where]}, not a number in [-1, 1]; "
            "record or export the audio again."
        )
    peak = max(-low, high)
    if peak > _MAX_PEAK:
        raise AudioFormatError(
            f"samples reach {peak:g} where 1 is full scale; "
            "divide by the full scale, or use Audio.from_pcm for integers."
        )
    if peak > 1.0:  # what every sound card does with it
        np.clip(array, -1.0, 1.0, out=array)


def mix(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the mean of the channels of `frames`, shape (n_samples, n_channels)."""
    channels = frames.shape[1]
    if channels == 1:
        return frames[:, 0]
    with np.errstate(all="ignore"):  # what is infinite here is refused by `check_samples`
        return frames @ np.full(channels, 1 / channels, np.float32)


def frozen_view(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return `array` so that it cannot be written to; its owner gives it up."""
    if array.base is not None:
        array = array.copy()  # what it is a view of might be written to
    array.flags.writeable = False
    # A view of a read-only array cannot be made writeable again; the array itself could.
    return array[:]
