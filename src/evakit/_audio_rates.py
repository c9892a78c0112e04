"""Pieces of sound at any sample rates as one stream at one rate: without seams, where all meet.

What may not live here: files and formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

__all__ = ["RateStream"]

_BLOCK: Final = 1 << 16  # samples at a time: soxr takes a copy of each


class RateStream:
    """Resamples piece by piece to `rate` hertz; what comes at that rate passes through."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._from = rate
        self._resampler: soxr.ResampleStream | None = None

    def convert(
        self, samples: npt.NDArray[np.float32], rate: int
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Give what `samples` add to the stream; the last milliseconds are held back."""
        if rate != self._from:
            yield from self.flush()
            self._from = rate
        if rate == self.rate:
            yield samples
            return
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(rate, self.rate, 1, dtype="float32", quality="HQ")
        for start in range(0, len(samples), _BLOCK):
            # soxr takes plain writeable arrays only.
            block = np.array(samples[start : start + _BLOCK])
            yield _clipped(self._resampler.resample_chunk(block))

    def flush(self) -> Iterator[npt.NDArray[np.float32]]:
        """Give what was held back: the stream ends, or goes on at another rate."""
        resampler, self._resampler = self._resampler, None
        if resampler is not None:
            yield _clipped(resampler.resample_chunk(np.zeros(0, np.float32), last=True))

    def abandon(self) -> None:
        """Free the resampler, of which nothing more is wanted.

        soxr complains on the terminal when the program ends with a traceback that holds one.
        """
        self._resampler = None


def _clipped(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.clip(samples, -1.0, 1.0)  # a filter overshoots at the edges of full scale
