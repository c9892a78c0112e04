"""Where in a recording there is speech, and where a long one is cut: at its quietest places.

Whisper was trained on windows of 30 s and invents words for silence ("Thank you."). So a
recording without speech never reaches it, and one longer than a window is cut in pauses, the
silence at both ends of a piece left out. What fits a window is left alone.
What may not live here: Whisper itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from evakit.abc import check_cancelled

from ._silero import FRAME, Silero, SileroStream

__all__ = ["speech_parts"]

_WINDOW: Final = 30 * 16_000  # samples: the length of Whisper's encoder window
_SHORTEST: Final = 15 * 16_000  # samples: a long recording is not cut earlier than that
# Measured on 577 recorded words and prompts and 225 noises, hums and chords of 0.5 to 30 s. A clip
# that begins in the middle of a sound confuses the network: with half a second of silence before
# it, a soft start and one loudness, no word stays below the default threshold of 0.4 and no noise
# reaches it. (As they are, nine words do, and noise comes to 0.38. How the clip lies in the frames
# matters: in the six other ways that were tried, none to two words stay below.)
_LEAD: Final = 16 * FRAME + 192  # samples of silence
_FADE: Final = 512  # samples
_PEAK: Final = 0.1
_MOST_GAIN: Final = 20.0  # what is quieter than -46 dB stays quiet: it is the noise of a converter
# Leaving out the silence around a piece was measured on 4.5 minutes of French prompts with pauses:
# WER 0.121 against 0.135, in 85 % of the time. With a margin of 0.2 s it was 0.133.
_FAINTEST: Final = 0.15  # a probability below which a frame at the edge is silence
_MARGIN: Final = 8000  # samples kept before the first and after the last such frame


def speech_parts(
    samples: npt.NDArray[np.float32], silero: Silero, threshold: float
) -> Iterator[tuple[int, int]]:
    """Iterate over the parts of at most 30 s that hold speech: first sample, sample after the last.

    `samples` has shape (n_samples,), float32, in [-1, 1], at 16 kHz. What is not longer than 30 s
    is one part. There is speech where a frame's probability reaches `threshold`; 0 lets all pass.

    Raises:
        DetectionError: the VAD failed.

    """
    start = 0
    while start < len(samples):
        check_cancelled()  # hours of silence yield nothing to the caller
        window = samples[start : start + _WINDOW]
        probabilities = _probabilities(window, silero)
        end = start + len(window)
        if end < len(samples):
            cut = _quietest(probabilities, threshold)
            probabilities = probabilities[:cut]
            end = start + cut * FRAME
        if probabilities.max() >= threshold:
            yield _trimmed(start, end, probabilities) if len(samples) > _WINDOW else (start, end)
        start = end


def _probabilities(window: npt.NDArray[np.float32], silero: Silero) -> npt.NDArray[np.float32]:
    peak = float(np.abs(window).max())
    gain = min(_PEAK / peak, _MOST_GAIN) if peak else 1.0
    padded = np.zeros(-(-(_LEAD + len(window)) // FRAME) * FRAME, np.float32)
    np.multiply(window, gain, out=padded[_LEAD : _LEAD + len(window)])
    padded[_LEAD : _LEAD + _FADE] *= np.linspace(0, 1, len(padded[_LEAD : _LEAD + _FADE]))
    # Each probability is about a frame that begins 12 ms early, less than its length matters.
    return SileroStream(silero).probabilities(padded)[_LEAD // FRAME :]


def _trimmed(start: int, end: int, probabilities: npt.NDArray[np.float32]) -> tuple[int, int]:
    voiced = np.flatnonzero(probabilities >= _FAINTEST)
    if not len(voiced):
        return start, end
    first, last = int(voiced[0]), int(voiced[-1])
    return max(start, start + first * FRAME - _MARGIN), min(
        end, start + (last + 1) * FRAME + _MARGIN
    )


def _quietest(probabilities: npt.NDArray[np.float32], threshold: float) -> int:
    """Return the frame to cut before: in the middle of the longest pause, or the least speech."""
    first = _SHORTEST // FRAME
    late = probabilities[first : _WINDOW // FRAME]
    is_pause = np.concatenate(([False], late < threshold, [False]))
    edges = np.flatnonzero(is_pause[1:] != is_pause[:-1]).reshape(-1, 2)  # begin and end of each
    if not len(edges):
        return first + int(late.argmin())
    begin, end = edges[int((edges[:, 1] - edges[:, 0]).argmax())]
    return first + int(begin + end) // 2
