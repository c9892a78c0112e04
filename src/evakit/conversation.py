"""AsyncConversation: turns that share a history.

What may not live here: what happens within a turn, and loading.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import anyio
from attrs import define

from . import _threads
from ._choices import BackendLike
from ._observers import Observers
from ._pipeline import Emit, TurnProgress, TurnRun
from ._turn import AsyncTurn
from .abc import LLMRequest
from .audio import Audio, AudioSource
from .chat import History, Message, Role
from .errors import (
    AudioError,
    ConfigurationError,
    ConversationBusyError,
    ConversationClosedError,
)
from .events import Reply
from .models import ModelStore, Progress
from .stack import DEFAULT_LLM, DEFAULT_STT, DEFAULT_TTS, LoadedBackend, Stack
from .timings import TurnTimings

__all__ = ["DEFAULT_SYSTEM", "AsyncConversation", "TurnInput"]

TurnInput = Audio | AudioSource | str
"""What a user's turn can be given as: audio of any form is heard, a str is read as text."""

DEFAULT_SYSTEM: Final = (
    "You are a friendly voice assistant. Your words are spoken aloud: answer in one or two "
    "short, complete sentences of plain text, without lists or markup."
)
"""The system prompt of a conversation that is given none."""

_LONGEST_INPUT: Final = 600.0  # seconds; longer recordings are transcribed, not answered

_log = logging.getLogger(__name__)


class AsyncConversation:
    """A conversation: it hears, thinks, speaks and remembers.

    Give it a `Stack` to share loaded backends with other conversations, or name backends as
    for a `Stack` and it has its own. Constructing is cheap; entering the block, or first use,
    loads.
    """

    def __init__(
        self,
        stack: Stack | None = None,
        *,
        stt: BackendLike = DEFAULT_STT,
        llm: BackendLike = DEFAULT_LLM,
        tts: BackendLike = DEFAULT_TTS,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
        device: str | None = None,
        system: str | None = None,
        history: History | Iterable[Message | Mapping[str, Any]] | None = None,
        observers: Iterable[object] = (),
        plugins: Iterable[object] = (),
        store: ModelStore | None = None,
        progress: Progress | None = None,
    ) -> None:
        if stack is not None:
            _refuse_beside_a_stack(
                stt=stt != DEFAULT_STT,
                llm=llm != DEFAULT_LLM,
                tts=tts != DEFAULT_TTS,
                device=device is not None,
                plugins=bool(tuple(plugins)),
                store=store is not None,
                progress=progress is not None,
            )
        self._stack = stack or Stack(
            stt=stt,
            llm=llm,
            tts=tts,
            voice=voice,
            language=language,
            device=device,
            plugins=plugins,
            store=store,
            progress=progress,
        )
        self._id = uuid.uuid4().hex[:12]
        self._voice = voice
        self._language = language
        self._system = DEFAULT_SYSTEM if system is None else system
        self._history = history if isinstance(history, History) else History(history or ())
        self._observers = Observers(observers)
        self._interrupted: str | None = None
        self._running: AsyncTurn | None = None
        self._closed = False

    @property
    def id(self) -> str:
        """Names the conversation in logs and to backends."""
        return self._id

    @property
    def history(self) -> History:
        """What was said so far; changes only between turns."""
        return self._history

    @property
    def backends(self) -> Mapping[str, LoadedBackend]:
        """The loaded backends by stage, and where each was found to be."""
        return self._stack.backends

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def load(self) -> None:
        """Load the backends, and prepare the voice; see `Stack.load` for what may be raised."""
        self.require_open()
        await self._hold()
        async with self._stack.in_use():
            await self._stack.stages(voice=self._voice, language=self._language)

    async def aclose(self) -> None:
        """End the conversation; backends that nobody else holds are unloaded.

        A turn that is running is stopped; whoever reads it gets a `ConversationClosedError`.
        """
        self._closed = True
        if self._running is not None:
            await self._running._stop(ConversationClosedError("The conversation was closed."))
        await self._stack.let_go(self)

    def turn(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> AsyncTurn:
        """Return the turn that begins with what the user `said`; see `AsyncTurn`.

        `voice` and `language` hold for this turn only.
        """
        record = _Record(said, voice or self._voice, language or self._language)
        return AsyncTurn(
            work=partial(self._work, record),
            begin=self._begin,
            finish=partial(self._finish, record),
            observe=lambda event: self._observers.notify(event, self.id),
        )

    async def respond(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> Reply:
        """Run a turn to its end and return the reply.

        `voice` and `language` hold for this turn only.

        Raises:
            AudioError: the audio cannot be used.
            BackendError: a stage failed; the conversation can go on.
            ConversationBusyError: another turn of this conversation is running.
            ConversationClosedError: the conversation was closed.

        """
        async with self.turn(said, voice=voice, language=language) as turn:
            async for _ in turn:
                pass
        return turn.reply

    def require_open(self) -> None:
        """Check that the conversation can be used.

        Raises:
            ConversationClosedError: it was closed, or this is a forked child.

        """
        if self._closed:
            raise ConversationClosedError("The conversation was closed; make a new one.")
        self._stack.require_open()

    async def _hold(self) -> None:
        await self._stack.hold(self)
        if self._closed:  # while it was loading
            await self._stack.let_go(self)
            self.require_open()

    def _begin(self, turn: AsyncTurn) -> None:
        self.require_open()
        if self._running is not None:
            raise ConversationBusyError(
                "A conversation has one turn at a time; end the one that is running, or make "
                "another conversation on the same Stack."
            )
        self._running = turn

    async def _work(self, record: _Record, emit: Emit, progress: TurnProgress) -> None:
        await self._hold()
        async with self._stack.in_use():
            stages = await self._stack.stages(voice=record.voice, language=record.language)
            # What was loaded first is not waited for: the turn's time begins here.
            progress.timings = TurnTimings(input_complete_at=anyio.current_time())
            said = await _hear(record.said)
            await TurnRun(stages, emit, progress).run(said, partial(self._ask, record))

    def _ask(self, record: _Record, text: str, language: str | None) -> LLMRequest:
        record.message = Message(Role.USER, text)
        system = (Message(Role.SYSTEM, self._system),) if self._system else ()
        return LLMRequest(
            messages=(*system, *self._history, record.message),
            language=language,
            conversation_id=self.id,
            interrupted=self._interrupted,
        )

    def _finish(self, record: _Record, reply: Reply | None, failure: BaseException | None) -> None:
        """Remember the turn: what was said, and of the reply what was played."""
        self._running = None
        if reply is None:
            return
        end = "failed" if failure else "interrupted" if reply.interrupted else "finished"
        _log.info("Conversation %s: turn %s (%s)", self.id, end, reply.timings)
        if record.message is None or (failure is not None and not reply.played):
            return  # nothing was said, or the user can just ask again
        interrupted = reply.interrupted and failure is None
        self._interrupted = reply.played if interrupted else None
        answer = Message(Role.ASSISTANT, reply.played, interrupted=interrupted)
        self._history = self._history.append(record.message, *([answer] if reply.played else []))


@define
class _Record:
    """What a turn was given, and what it leaves for the history."""

    said: TurnInput
    voice: str | None
    language: str | Sequence[str] | None
    message: Message | None = None


def _refuse_beside_a_stack(**given: bool) -> None:
    names = [f"{name}=" for name, is_given in given.items() if is_given]
    if names:
        raise ConfigurationError(
            f"{', '.join(names)} would be ignored beside a stack, which has its own backends; "
            "give them to the Stack."
        )


async def _hear(said: TurnInput) -> Audio | str:
    """Return what was said as audio or text.

    Raises:
        AudioError: it cannot be read, or is too long to be a question.

    """
    if not isinstance(said, Audio | str):
        if not isinstance(said, os.PathLike | bytes) and not hasattr(said, "read"):
            raise ConfigurationError(
                "A turn is an Audio, a path, bytes or a file (heard), or a str (read), "
                f"not {type(said).__name__}."
            )
        said = await _threads.run(partial(Audio.load, max_duration=_LONGEST_INPUT), said)
    if isinstance(said, Audio) and said.duration > _LONGEST_INPUT:
        raise AudioError(
            f"{said.duration:.0f} s of speech is too much for one turn (the most is "
            f"{_LONGEST_INPUT:.0f} s); transcribe recordings with Stack.transcribe instead."
        )
    return said
