"""One turn: transcribe -> think -> speak, as tasks over bounded streams.

Each stage hands on to the next and knows nothing of it but the contract; events go out at
the side. What may not live here: history, loading, devices, and reading files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from attrs import define, field, frozen

from ._failures import errors_of
from ._playout import Playout
from ._speaker import Speaker
from .abc import LLM, STT, TTS, LLMRequest, STTOptions, STTSession, TTSOptions, Usage
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
from .transcript import Transcript
from .voices import Voice

__all__ = ["TurnProgress", "Stages", "run_turn", "transcribe"]

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
    """How far a turn has come: what it has made, and the instants on the event loop's clock."""

    input_complete_at: float
    transcript: Transcript | None = None
    text: str = ""
    audio: list[Audio] = field(factory=list)
    playout: Playout = field(factory=Playout)
    usage: Usage | None = None
    transcribed_at: float | None = None
    llm_requested_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    first_clause_at: float | None = None
    first_audio_at: float | None = None


async def run_turn(
    stages: Stages,
    heard: Audio | str,
    ask: Callable[[str, str | None], LLMRequest],
    emit: Emit,
    progress: TurnProgress,
) -> None:
    """Run one turn and note in `progress` how far it came.

    `ask` makes the LLM's request from what the user said and the language of it.

    Raises:
        EvakitError: a stage failed; what the other stages were doing has been stopped.

    """
    language = stages.languages[0] if len(stages.languages) == 1 else None
    if isinstance(heard, Audio):
        if stages.stt is None:
            raise TranscriptionError(
                "Audio was given, but no stt was chosen; give the turn as text.", backend="stt"
            )
        transcript = await transcribe(
            stages.stt,
            heard,
            STTOptions(languages=stages.languages),
            lambda interim: emit(TranscriptUpdated(interim)),
        )
        progress.transcript = transcript
        progress.transcribed_at = anyio.current_time()
        await emit(TranscriptReady(transcript))
        text, language = transcript.text, transcript.language or language
    else:
        text = heard
    if not text.strip() or stages.llm is None:
        return
    request = ask(text, language)
    if stages.tts is None:
        await _think(stages.llm, request, None, language, emit, progress)
        return
    voice = stages.choose_voice(language)
    speaker = Speaker(stages.tts, TTSOptions(voice=voice, language=language))
    progress.playout = speaker.playout
    async with speaker, anyio.create_task_group() as tasks:
        tasks.start_soon(_speak, speaker, emit, progress)
        await _think(stages.llm, request, speaker, language, emit, progress)


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


async def _think(
    llm: LLM,
    request: LLMRequest,
    speaker: Speaker | None,
    language: str | None,
    emit: Emit,
    progress: TurnProgress,
) -> None:
    """Generate the reply and hand it on, clause by clause."""
    splitter = ClauseSplitter(language)

    async def hand_on(clauses: list[Clause]) -> None:
        for clause in clauses:
            if clause.text:
                if progress.first_clause_at is None:
                    progress.first_clause_at = anyio.current_time()
                await emit(ClauseReady(clause.text))
            if speaker is not None:
                await speaker.write(clause)

    progress.llm_requested_at = anyio.current_time()
    with errors_of(GenerationError, llm.name, "generating a reply"):
        async with llm.reply(request) as stream:
            async for chunk in stream:
                if isinstance(chunk, Usage):
                    progress.usage = chunk
                if not isinstance(chunk, str) or not chunk:
                    continue
                if progress.first_token_at is None:
                    progress.first_token_at = anyio.current_time()
                progress.text += chunk
                await emit(TokenGenerated(chunk))
                await hand_on(splitter.feed(chunk))
    progress.last_token_at = anyio.current_time()
    if not progress.text.strip():
        raise GenerationError(
            f"{llm.name} gave an empty reply; ask again, or choose another model.",
            backend=llm.name,
            retryable=True,
        )
    await hand_on(splitter.finish())
    if speaker is not None:
        await speaker.end()


async def _speak(speaker: Speaker, emit: Emit, progress: TurnProgress) -> None:
    """Pass speech on as it comes."""
    async for speech in speaker:
        if progress.first_audio_at is None:
            progress.first_audio_at = anyio.current_time()
        progress.audio.append(speech.audio)
        await emit(AudioReady(speech.audio, speech.words))
