"""TurnDetectorConformance: what every turn detector must do.

What may not live here: other kinds.
"""

from __future__ import annotations

from typing import Final

import pytest
from attrs import evolve

from ...abc import TurnDetector, TurnQuestion
from ...audio import Audio
from ...errors import AudioFormatError
from . import backend as _backend
from ._promises import noise, promised, silence

__all__ = ["TurnDetectorConformance"]

_LONG: Final = 40.0  # seconds; more than the window of any detector


class TurnDetectorConformance(_backend.BackendConformance):
    """What every turn detector must do. Override the fixture `utterance` with real speech."""

    @pytest.fixture
    def utterance(self) -> Audio:
        """What was said, without the silence after it, at any sample rate."""
        return noise(1.5, 16_000)

    @pytest.fixture(autouse=True)
    def _use_utterance(self, utterance: Audio) -> None:
        self._utterance = utterance

    def question(self, detector: TurnDetector, silence_s: float = 0.4) -> TurnQuestion:
        """Return what is asked at a pause after the utterance."""
        rate = detector.sample_rate
        audio = Audio.join([self._utterance.resample(rate), silence(rate, silence_s)])
        return TurnQuestion(
            audio=audio,
            transcript="I would like a coffee.",
            language="en",
            silence_s=silence_s,
            last_reply="What can I get you?",
        )

    async def use(self, backend: TurnDetector) -> object:
        return await backend.judge(self.question(backend))

    @promised
    async def test_an_answer_lies_between_0_and_1(self, loaded: TurnDetector) -> None:
        """How likely the speaker is done is a number in [0, 1], after any silence."""
        for silence_s in (0.0, 0.2, 1.0, 5.0):
            answer = await loaded.judge(self.question(loaded, silence_s))
            assert isinstance(answer, float), f"it is {answer!r}"
            assert 0 <= answer <= 1, f"it is {answer}"

    @promised
    async def test_what_is_not_known_is_left_out(self, loaded: TurnDetector) -> None:
        """A question is answered where transcript, language and last reply are not known."""
        question = self.question(loaded)
        for less in (
            evolve(question, transcript=None),
            evolve(question, language=None),
            evolve(question, last_reply=None),
            TurnQuestion(audio=question.audio, silence_s=question.silence_s),
        ):
            assert 0 <= await loaded.judge(less) <= 1

    @promised
    async def test_an_utterance_may_be_of_any_length(self, loaded: TurnDetector) -> None:
        """An utterance may be longer than what a model looks at, and may be all silence."""
        rate = loaded.sample_rate
        for audio in (noise(_LONG, rate), silence(rate, 0.2), silence(rate, 0.0)):
            assert 0 <= await loaded.judge(TurnQuestion(audio=audio, silence_s=0.2)) <= 1

    @promised
    async def test_another_sample_rate_is_refused(self, loaded: TurnDetector) -> None:
        """Audio at another sample rate than the detector's is an AudioFormatError."""
        question = TurnQuestion(audio=silence(loaded.sample_rate // 2), silence_s=0.2)
        with pytest.raises(AudioFormatError):
            await loaded.judge(question)

    @promised
    async def test_a_question_is_answered_for_itself(self, loaded: TurnDetector) -> None:
        """An answer depends on the question alone, and not on those before it."""
        first = await self.use(loaded)
        await loaded.judge(self.question(loaded, 3.0))
        assert await self.use(loaded) == first
