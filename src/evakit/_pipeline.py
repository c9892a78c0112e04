"""One turn: transcribe -> think -> speak, as tasks over bounded streams.

Each stage hands on to the next and knows nothing of it but the contract; events go out at
the side. What may not live here: history, loading, devices, and reading files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from attrs import define, evolve, field, frozen

from ._failures import errors_of
from ._playout import Playout
from ._speaker import Speaker
from .abc import LLM, STT, TTS, LLMRequest, STTOptions, STTSession, TTSOptions
from .audio import Audio
from .clauses import Clause, ClauseSplitter
from .errors import GenerationError, TranscriptionError
from .events import (
    AudioReady,
    ClauseReady,
    Event,
    TokenGenerated,
    TranscriptReady,
    TranscriptUpdated,
)
from .timings import TurnTimings
from .transcript import Transcript
from .voices import Voice

__all__ = ["Emit", "Stages", "TurnProgress", "TurnRun", "transcribe"]

# Characters; two hours of speech. What never ends is to fail rather than to fill the memory.
_LONGEST_REPLY: Final = 100_000

Emit = Callable[[Event], Awaitable[None]]


@frozen(kw_only=True)
class Stages:
    """The backends of a turn; one that is None is left out."""

    stt: STT | None
    llm: LLM | None
    tts: TTS | None
    languages: tuple[str, ...]
    """What the user may speak; empty when any."""
    choose_voice: Callable[[str | None], Voice | None]
    """Which voice speaks a language; None for a backend without voices."""


@define
class TurnProgress:
    """How far a turn has come: what it has made, and when."""

    timings: TurnTimings
    transcript: Transcript | None = None
    text: str = ""
    audio: list[Audio] = field(factory=list)
    playout: Playout = field(factory=Playout)
    degraded: tuple[str, ...] = ()
    speaks: bool = False
    """Whether the reply is spoken; without that, text that was shown counts as played."""

    def reached(self, instant: str) -> None:
        """Note the first time that an instant of `TurnTimings` is reached."""
        if getattr(self.timings, instant) is None:
            self.timings = evolve(self.timings, **{instant: anyio.current_time()})


class TurnRun:
    """One run through the stages; `progress` tells how far it has come."""

    def __init__(self, stages: Stages, emit: Emit, progress: TurnProgress) -> None:
        self._stages = stages
        self._emit = emit
        self._progress = progress
        self._speaker: Speaker | None = None
        self._language = stages.languages[0] if len(stages.languages) == 1 else None
        self._doing = "generating a reply"

    async def run(self, said: Audio | str, ask: Callable[[str, str | None], LLMRequest]) -> None:
        """Hear or read what was said, generate the reply and speak it.

        `ask` makes the LLM's request from what the user said and the language of it.

        Raises:
            EvakitError: a stage failed; what the other stages were doing has been stopped.

        """
        text = await self._listen(said) if isinstance(said, Audio) else said
        if not text.strip():
            return
        request = ask(text, self._language)
        if self._stages.llm is not None:
            await self._reply(self._stages.llm, request)

    async def say(self, text: LLM) -> None:
        """Speak what `text` gives, which stands where the LLM does in a turn with a question.

        Raises:
            EvakitError: a stage failed; what the other stages were doing has been stopped.

        """
        self._doing = "giving its text"
        await self._reply(text, LLMRequest(messages=(), language=self._language))

    async def _reply(self, llm: LLM, request: LLMRequest) -> None:
        """Generate the reply and speak it, where there is a TTS."""
        tts = self._stages.tts
        if tts is None:
            await self._think(llm, request)
            return
        voice = self._stages.choose_voice(self._language)
        self._speaker = Speaker(tts, TTSOptions(voice=voice, language=self._language))
        self._progress.playout = self._speaker.playout
        self._progress.speaks = True
        async with self._speaker, anyio.create_task_group() as tasks:
            tasks.start_soon(self._speak, self._speaker)
            await self._think(llm, request)

    async def _listen(self, audio: Audio) -> str:
        if self._stages.stt is None:
            raise TranscriptionError(
                "Audio was given, but no stt was chosen; give the turn as text.", backend="stt"
            )
        transcript = await transcribe(
            self._stages.stt,
            audio,
            STTOptions(languages=self._stages.languages),
            lambda interim: self._emit(TranscriptUpdated(interim)),
        )
        self._progress.transcript = transcript
        self._progress.reached("transcribed_at")
        self._language = transcript.language or self._language
        await self._emit(TranscriptReady(transcript))
        return transcript.text

    async def _think(self, llm: LLM, request: LLMRequest) -> None:
        """Generate the reply and hand it on, clause by clause."""
        splitter = ClauseSplitter(self._language)
        progress = self._progress
        progress.reached("llm_requested_at")
        with errors_of(GenerationError, llm.name, self._doing):
            async with llm.reply(request) as stream:
                async for chunk in stream:
                    if isinstance(chunk, str) and chunk:
                        await self._token(chunk)
                        await self._hand_on(splitter.feed(chunk))
        progress.reached("last_token_at")
        if not progress.text.strip():
            raise GenerationError(
                f"{llm.name} gave an empty reply: nothing that could be said; ask again, or choose "
                "another.",
                backend=llm.name,
                retryable=True,
            )
        await self._hand_on(splitter.finish())
        if self._speaker is not None:
            await self._speaker.end()

    async def _token(self, text: str) -> None:
        self._progress.reached("first_token_at")
        self._progress.text += text
        await self._emit(TokenGenerated(text))
        if len(self._progress.text) > _LONGEST_REPLY:
            raise GenerationError(
                f"A reply has more than {_LONGEST_REPLY:,} characters, which takes hours to speak, "
                "and no end; see to it that what generates it stops.",
                backend="llm",
            )

    async def _hand_on(self, clauses: list[Clause]) -> None:
        for clause in clauses:
            if clause.text:
                self._progress.reached("first_clause_at")
                await self._emit(ClauseReady(clause.text))
            if self._speaker is not None:
                await self._speaker.write(clause)

    async def _speak(self, speaker: Speaker) -> None:
        """Pass speech on as it comes."""
        async for speech in speaker:
            self._progress.reached("first_audio_at")
            self._progress.audio.append(speech.audio)
            await self._emit(AudioReady(speech.audio, speech.words))


async def transcribe(
    stt: STT,
    audio: Audio,
    options: STTOptions,
    interim: Callable[[Transcript], Awaitable[None]],
) -> Transcript:
    """Return the transcript of a whole utterance, telling `interim` of those on the way.

    Raises:
        TranscriptionError: the backend failed.
        UnknownLanguageError: the model does not know the language.

    """

    async def listen(session: STTSession) -> None:
        async for update in session.updates():
            await interim(update.transcript)

    with errors_of(TranscriptionError, stt.name, "transcribing"):
        async with stt.open(options) as session, anyio.create_task_group() as tasks:
            tasks.start_soon(listen, session)
            await session.feed(audio.resample(stt.sample_rate))
            transcript = await session.finish()
            tasks.cancel_scope.cancel()
    return transcript
