"""Turn detection: TurnDetector judges whether the speaker is done, by sound and by meaning.

What may not live here: waiting, thresholds and the silence ladder, which weigh the answer.
"""

from __future__ import annotations

from abc import abstractmethod

from attrs import frozen

from .. import _threads
from ..audio import Audio
from .backend import Backend, BlockingBackend

__all__ = ["BlockingTurnDetector", "TurnDetector", "TurnQuestion"]


@frozen(kw_only=True)
class TurnQuestion:
    """What is known at a pause in speech."""

    audio: Audio
    """The utterance so far, the silence included, at the detector's `sample_rate`."""
    transcript: str | None = None
    """What was said so far; None when it is not known yet."""
    language: str | None = None
    silence_s: float
    """How long the speaker has been silent."""
    last_reply: str | None = None
    """What was last said to the speaker; an answer to a question may be one word."""


class TurnDetector(Backend):
    """Judges whether the speaker is done."""

    sample_rate: int = 16_000
    """Hertz, of the audio that it wants."""

    @abstractmethod
    async def judge(self, question: TurnQuestion) -> float:
        """Return how likely the speaker is done, in [0, 1]. Several may be asked at once.

        Raises:
            AudioFormatError: the audio has another sample rate.
            DetectionError: the engine failed. (A detector that fails has no opinion.)

        """


class BlockingTurnDetector(BlockingBackend, TurnDetector):
    """A turn detector whose engine blocks: write `probability`."""

    @abstractmethod
    def probability(self, question: TurnQuestion) -> float:
        """Return how likely the speaker is done; in a worker thread. See `judge`."""

    async def judge(self, question: TurnQuestion) -> float:
        """Run `probability` in a worker thread."""
        question.audio.require_sample_rate(self.sample_rate)
        return await _threads.run(self.probability, question, lane=self._lane, backend=self.name)
