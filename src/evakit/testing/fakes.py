"""Scripted backends of each kind: deterministic, without threads, models or mocks.

They do what real ones do at the contract, so a conversation's flow can be tested in
milliseconds. Their delays are seconds on the clock of the event loop, which in a test may be a
virtual one (`clock`). What may not live here: assertions, and anything of pytest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType

import anyio
import numpy as np
import numpy.typing as npt

from ..abc import (
    LLM,
    STT,
    TTS,
    VAD,
    Finish,
    LLMChunk,
    LLMRequest,
    LLMStream,
    LoadContext,
    Speech,
    STTOptions,
    STTSession,
    TTSOptions,
    TTSSession,
    TurnDetector,
    TurnQuestion,
    VADSession,
)
from ..audio import Audio
from ..errors import AudioFormatError, DetectionError, TranscriptionError
from ..transcript import Transcript, Word
from ..voices import Voice

__all__ = [
    "EnergyVAD",
    "ScriptedLLM",
    "ScriptedSTT",
    "ScriptedTurnDetector",
    "ToneTTS",
    "speech",
]


def speech(seconds: float = 1.0, *, sample_rate: int = 16_000) -> Audio:
    """Return audio that the fakes take for speech: a tone. What is said in it, a script says."""
    return _tone(round(seconds * sample_rate), sample_rate, peak=0.8)


def _tone(n_samples: int, sample_rate: int, *, peak: float) -> Audio:
    wave = np.sin(2 * np.pi * 220 * np.arange(n_samples) / sample_rate)
    return Audio(peak * wave, sample_rate)


class ScriptedSTT(STT):
    """Hears what the script says, whatever the audio; silence is heard as nothing."""

    def __init__(self, *transcripts: str | Transcript | Exception, delay: float = 0.0) -> None:
        self.script = deque(transcripts)
        """What is still to be heard; an exception is raised in its turn."""
        self.delay = delay
        """Seconds from `finish` to the transcript."""
        self.heard: list[Audio] = []
        """The utterances, whole."""
        self.options: list[STTOptions] = []
        self.loaded: LoadContext | None = None

    async def load(self, context: LoadContext) -> None:
        self.loaded = context

    async def unload(self) -> None:
        self.loaded = None

    def open(self, options: STTOptions) -> STTSession:
        self.options.append(options)
        return _ScriptedSTTSession(self)


class _ScriptedSTTSession(STTSession):
    def __init__(self, backend: ScriptedSTT) -> None:
        self._backend = backend
        self._pieces: list[Audio] = []

    async def feed(self, audio: Audio) -> None:
        audio.require_sample_rate(self._backend.sample_rate)
        self._pieces.append(audio)

    async def finish(self) -> Transcript:
        audio = Audio.join(self._pieces, sample_rate=self._backend.sample_rate)
        self._backend.heard.append(audio)
        await anyio.sleep(self._backend.delay)
        if audio.peak == 0.0:
            return Transcript("")
        if not self._backend.script:
            raise TranscriptionError(
                "The script of ScriptedSTT is at its end; give it more transcripts.",
                backend=self._backend.name,
            )
        item = self._backend.script.popleft()
        if isinstance(item, Exception):
            raise item
        return item if isinstance(item, Transcript) else Transcript(item)


class ScriptedLLM(LLM):
    """Replies what the script says, token by token; without a script, it repeats the user."""

    def __init__(
        self,
        *replies: str | Sequence[LLMChunk] | Exception,
        delay: float = 0.0,
        first_delay: float = 0.0,
    ) -> None:
        self.script = deque(replies)
        """What is still to be replied: a text (cut into words, each of them a token, and cut off
        after `max_tokens`), chunks as they are, or an exception."""
        self.delay = delay
        """Seconds before each token."""
        self.first_delay = first_delay
        """Seconds before the first token, in addition: what reading the prompt takes."""
        self.requests: list[LLMRequest] = []
        self.tokens_given = 0
        self.stopped = 0
        """How many replies were left before their end."""

    def reply(self, request: LLMRequest) -> LLMStream:
        self.requests.append(request)
        item = self.script.popleft() if self.script else f"You said: {request.text}"
        if isinstance(item, Exception):
            return _ScriptedStream(self, (), item)
        chunks: Sequence[LLMChunk] = item
        if isinstance(item, str):
            words = _words(item)
            limit = request.max_tokens or len(words)
            chunks = (*words[:limit], Finish("stop" if limit >= len(words) else "length"))
        return _ScriptedStream(self, chunks, None)


def _words(text: str) -> list[str]:
    """Cut a text into words that keep the white space before them, as LLM tokens do."""
    first, *rest = text.split(" ")
    return [first, *(" " + word for word in rest)]


class _ScriptedStream(LLMStream):
    def __init__(
        self, backend: ScriptedLLM, chunks: Iterable[LLMChunk], error: Exception | None
    ) -> None:
        self._backend = backend
        self._chunks = deque(chunks)
        self._error = error
        self._delay = backend.first_delay + backend.delay

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._backend.stopped += bool(self._chunks)

    async def __anext__(self) -> LLMChunk:
        await anyio.sleep(self._delay)
        self._delay = self._backend.delay
        if self._chunks:
            self._backend.tokens_given += 1
            return self._chunks.popleft()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration


class ToneTTS(TTS):
    """Speaks a tone: the same time for each character, one chunk a word, with word positions."""

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        seconds_per_character: float = 0.05,
        delay: float = 0.0,
        gives_words: bool = False,
    ) -> None:
        self.sample_rate = sample_rate
        self.seconds_per_character = seconds_per_character
        self.delay = delay
        """Seconds before each chunk."""
        self.gives_words = gives_words
        self.spoken: list[str] = []
        """The clauses, in order."""
        self.options: list[TTSOptions] = []
        self.chunks_given = 0

    @property
    def voices(self) -> tuple[Voice, ...]:
        return (Voice(name="tone", language="en"), Voice(name="ton", language="fr"))

    def open(self, options: TTSOptions) -> TTSSession:
        self.options.append(options)
        return _ToneSession(self)


class _ToneSession(TTSSession):
    def __init__(self, backend: ToneTTS) -> None:
        self._backend = backend
        self._write, self._read = anyio.create_memory_object_stream[str](8)
        self._words: deque[str] = deque()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write.close()
        self._read.close()

    async def write(self, text: str) -> None:
        try:
            await self._write.send(text)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        self._backend.spoken.append(text)

    async def end(self) -> None:
        self._write.close()

    async def __anext__(self) -> Speech:
        if not self._words:
            try:
                self._words.extend((await self._read.receive()).split())
            except anyio.EndOfStream:
                raise StopAsyncIteration from None
        await anyio.sleep(self._backend.delay)
        word = self._words.popleft()
        backend = self._backend
        count = int((len(word) + 1) * backend.seconds_per_character * backend.sample_rate)
        words = (Word(word, 0, count),) if backend.gives_words else None
        backend.chunks_given += 1
        audio = _tone(count, backend.sample_rate, peak=0.1)
        return Speech(audio, words, clauses=int(not self._words))


class EnergyVAD(VAD):
    """Takes loud frames for speech: the probability is the frame's peak."""

    def __init__(self, *, delay: float = 0.0) -> None:
        self.delay = delay
        """Seconds that a frame takes."""

    def open(self) -> VADSession:
        return _EnergySession(self)


class _EnergySession(VADSession):
    def __init__(self, backend: EnergyVAD) -> None:
        self._backend = backend

    async def probability(self, frame: npt.NDArray[np.float32]) -> float:
        if frame.shape != (self._backend.frame_size,):
            raise AudioFormatError(
                f"{self._backend.name} judges frames of {self._backend.frame_size} samples, not "
                f"an array of shape {frame.shape}; cut the audio with Audio.frames()."
            )
        await anyio.sleep(self._backend.delay)
        return float(np.abs(frame).max(initial=0.0))


class ScriptedTurnDetector(TurnDetector):
    """Judges as the script says; without a script, the speaker is done after a full second."""

    def __init__(self, *answers: float | Exception, delay: float = 0.0) -> None:
        self.script = deque(answers)
        """What is still to be answered: probabilities; an exception is raised in its turn."""
        self.delay = delay
        """Seconds that an answer takes."""
        self.questions: list[TurnQuestion] = []
        self._has_script = bool(answers)

    async def judge(self, question: TurnQuestion) -> float:
        question.audio.require_sample_rate(self.sample_rate)
        self.questions.append(question)
        await anyio.sleep(self.delay)
        if not self._has_script:
            return min(max(question.silence_s, 0.0), 1.0)
        if not self.script:
            raise DetectionError(
                "The script of ScriptedTurnDetector is at its end; give it more answers.",
                backend=self.name,
            )
        answer = self.script.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer
