"""Speaker: a TTS session that keeps account of what it was given and what came out.

Text with letters that comes back as silence is an error here, never a reply. What may not
live here: where the clauses come from, and where the audio goes.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Final, Self

from ._failures import errors_of
from ._playout import Playout
from .abc import TTS, Speech, TTSOptions
from .audio import Audio
from .clauses import Clause
from .errors import SynthesisError

__all__ = ["Speaker"]

# Below these, what came back is not speech: the shortest word that Piper speaks, "a", lasts
# 0.15 s, and an engine that fails quietly gives nothing, a click, or zeros.
_SHORTEST_SPEECH: Final = 0.05  # seconds
_QUIETEST_PEAK: Final = 1e-3  # -60 dBFS


class Speaker:
    """One reply on its way to speech: clauses are written by one task, another iterates.

    Use as an async context manager: leaving the block stops the synthesis.
    """

    def __init__(self, tts: TTS, options: TTSOptions) -> None:
        self._name = tts.name
        self.playout = Playout()
        """What was written and what came out."""
        self._unspoken: deque[str] = deque()
        self._duration = self._peak = 0.0  # of what came out for the first of the unspoken
        self._sample_rate: int | None = None  # of what came out
        with errors_of(SynthesisError, self._name, "starting to speak"):
            self._session = tts.open(options)

    async def __aenter__(self) -> Self:
        with errors_of(SynthesisError, self._name, "starting to speak"):
            await self._session.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with errors_of(SynthesisError, self._name, "stopping to speak"):
            await self._session.__aexit__(exc_type, exc, traceback)

    async def write(self, clause: Clause) -> None:
        """Hand over the next clause; one with nothing to say is only noted."""
        self.playout.wrote(clause)
        if clause.text:
            self._unspoken.append(clause.text)
            with errors_of(SynthesisError, self._name, "taking text"):
                await self._session.write(clause.text)

    async def end(self) -> None:
        """Say that no more clauses will come."""
        with errors_of(SynthesisError, self._name, "taking text"):
            await self._session.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Speech:
        """Return the next chunk that has sound in it.

        Raises:
            SynthesisError: the engine failed, gave silence for text with letters, or changed
                the sample rate.

        """
        while True:
            try:
                with errors_of(SynthesisError, self._name, "speaking"):
                    speech = await self._session.__anext__()
            except StopAsyncIteration:
                self._check(list(self._unspoken))
                raise
            self._check_sample_rate(speech.audio)
            self._duration += speech.audio.duration
            self._peak = max(self._peak, speech.audio.peak)
            if speech.clauses:
                count = min(speech.clauses, len(self._unspoken))
                self._check([self._unspoken.popleft() for _ in range(count)])
            self.playout.spoke(speech)  # what came back as silence was not
            if len(speech.audio):
                return speech

    def _check_sample_rate(self, audio: Audio) -> None:
        if not len(audio):
            return
        if self._sample_rate is None:
            self._sample_rate = audio.sample_rate
        elif audio.sample_rate != self._sample_rate:
            raise SynthesisError(
                f"{self._name} gave audio at {audio.sample_rate} Hz after {self._sample_rate} Hz; "
                "a reply has one sample rate: choose another voice, or tell the backend's author.",
                backend=self._name,
            )

    def _check(self, texts: list[str]) -> None:
        text = " ".join(texts)
        duration, peak = self._duration, self._peak
        self._duration = self._peak = 0.0
        if not any(character.isalnum() for character in text):
            return
        if duration < _SHORTEST_SPEECH or peak < _QUIETEST_PEAK:
            heard = f"{duration * 1000:.0f} ms of {'silence' if peak < _QUIETEST_PEAK else 'sound'}"
            raise SynthesisError(
                f"{self._name} gave {heard} for {text[:60]!r}; "
                "raise the volume or choose a voice that speaks the language of the text.",
                backend=self._name,
            )
