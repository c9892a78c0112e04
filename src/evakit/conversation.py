"""AsyncConversation: turns that share a history.

What may not live here: what happens within a turn, and loading.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio
from attrs import define

from ._choices import BackendLike
from ._conversation_arguments import history_of, require_stack_alone
from ._functions import FunctionLLM, Texts
from ._loaded import LoadedBackend
from ._logging import about, logger
from ._observers import Observers
from ._pipeline import Emit, TurnProgress, TurnRun
from ._turn import AsyncTurn
from ._turn_input import TurnInput, hear, saying
from .abc import LLMRequest
from .chat import History, Message, Role
from .errors import BackendError, ConversationBusyError, ConversationClosedError
from .events import Reply
from .models import ModelStore, Progress
from .settings import SETTINGS, UNSET, Unset
from .stack import Stack
from .timings import TurnTimings

__all__ = ["AsyncConversation"]

_log = logger(__name__)


class AsyncConversation:
    """A conversation: it hears, thinks, speaks and remembers.

    Constructing is cheap; entering the block, or first use, loads. What is not given is as the
    Stack has it, and without one as the environment, `evakit.toml` or the default say.

    Args:
        stack: Loaded backends to share with other conversations; None for backends of its own.
            Beside one, `stt`, `llm`, `tts`, `device` and the last three arguments are an error.
        stt: What hears, in any form that a `Stack` takes; None leaves the stage out.
        llm: What thinks, likewise.
        tts: What speaks, likewise.
        voice: The name of the voice; None for the stack's, or one that fits.
        language: What may be spoken: a tag such as `fr`, or several; None for the stack's, or any.
        device: Where models run whose names say no device: `auto`, `cpu`, `cuda`, `cuda:0`.
        system: The system prompt; None or an empty text is none.
        history: What was said before: a `History`, messages, or dictionaries as OpenAI takes them.
        observers: Functions or hooks that are told each event and the conversation's `id`.
        plugins: Modules and objects with hooks, beside the plugins that are installed.
        store: Where models are kept and fetched to; None for the usual folder.
        progress: Told a model's name, its bytes here and all its bytes while it is fetched.

    Raises:
        ConfigurationError: a setting makes no sense, wherever it stands, or is given beside a
            stack that has its own.

    """

    def __init__(
        self,
        stack: Stack | None = None,
        *,
        stt: BackendLike | Unset = UNSET,
        llm: BackendLike | Unset = UNSET,
        tts: BackendLike | Unset = UNSET,
        voice: str | Unset | None = UNSET,
        language: str | Sequence[str] | Unset | None = UNSET,
        device: str | Unset | None = UNSET,
        system: str | Unset | None = UNSET,
        history: History | Iterable[Message | Mapping[str, Any]] | None = None,
        observers: Iterable[object] = (),
        plugins: Iterable[object] = (),
        store: ModelStore | None = None,
        progress: Progress | None = None,
    ) -> None:
        if stack is not None:
            require_stack_alone(
                stack,
                stt=stt is not UNSET,
                llm=llm is not UNSET,
                tts=tts is not UNSET,
                device=device is not UNSET,
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
        # Not given, voice and language are the stack's.
        self._voice = SETTINGS["voice"].check(None if voice is UNSET else voice)
        self._language = SETTINGS["language"].check(None if language is UNSET else language)
        system = self._stack.settings.system if system is UNSET else system
        self._system = SETTINGS["system"].check(system)
        self._history = history_of(history or ())
        self._observers = Observers(observers)
        self._interrupted: str | None = None
        self._running: AsyncTurn | None = None
        self._next: dict[str, Any] = {}  # what `configure` was told during a turn
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
        with about(self.id):
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
        with about(self.id):
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
        return self._turn(_Record(said, voice, language))

    def saying(
        self,
        text: Texts,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
        interruptible: bool = True,
    ) -> AsyncTurn:
        """Return the turn in which `text` is said, without the LLM; see `say` and `AsyncTurn`.

        Raises:
            ConfigurationError: it is no text, or an empty one.

        """
        return self._turn(_Record(saying(text), voice, language), interruptible=interruptible)

    def _turn(self, record: _Record, *, interruptible: bool = True) -> AsyncTurn:
        return AsyncTurn(
            work=partial(self._work, record),
            begin=self._begin,
            finish=partial(self._finish, record),
            observe=lambda event: self._observers.notify(event, self.id),
            interruptible=interruptible,
        )

    async def respond(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> Reply:
        """Run a turn to its end and return the reply.

        `voice` and `language` hold for this turn only. An empty text is like silence: the reply is
        empty too, and nothing is remembered. (`say` refuses one.)

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

    async def say(
        self,
        text: Texts,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
        interruptible: bool = True,
    ) -> Reply:
        """Say a text, or what an iterator or async iterator gives, without the LLM.

        What is played enters the history as the assistant's. `interruptible=False` makes
        `AsyncTurn.interrupt` do nothing: for announcements that are to be heard to their end.

        Raises:
            BackendError: the iterator failed or gave nothing, or the TTS failed.
            ConfigurationError: it is no text, or an empty one (to which `respond` replies nothing).
            ConversationBusyError: a turn of this conversation is running.
            ConversationClosedError: the conversation was closed.

        """
        turn = self.saying(text, voice=voice, language=language, interruptible=interruptible)
        async with turn:
            async for _ in turn:
                pass
        return turn.reply

    def configure(
        self,
        *,
        voice: str | Unset | None = UNSET,
        language: str | Sequence[str] | Unset | None = UNSET,
        system: str | Unset | None = UNSET,
        history: History | Iterable[Message | Mapping[str, Any]] | Unset = UNSET,
        observers: Iterable[object] | Unset = UNSET,
    ) -> None:
        """Change what is given from the next turn on; a turn that is running is not touched.

        None takes a choice back, so that what the Stack was given holds: its voice and languages,
        or the TTS's default voice and any language. For the system prompt, None is none.
        The language holds for the STT, for the voice where none is named, and for how text is
        cut and read; several may be named, and what is heard is taken for one of them.

        Raises:
            ConfigurationError: a value makes no sense; nothing is changed.
            ConversationClosedError: the conversation was closed.
            UnknownVoiceError: the loaded TTS has no such voice, or it does not speak the language.

        """
        self.require_open()
        given = {"voice": voice, "language": language, "system": system}
        new = {n: SETTINGS[n].check(v) for n, v in given.items() if v is not UNSET}
        if not isinstance(history, Unset):
            new["history"] = history_of(history)
        if not isinstance(observers, Unset):
            new["observers"] = Observers(observers)
        if new.keys() & {"voice", "language"}:
            after = {"voice": self._voice, "language": self._language, **self._next, **new}
            self._stack.require_voice(after["voice"], after["language"])
        self._next.update(new)
        if self._running is None:
            self._apply()

    def _apply(self) -> None:
        new, self._next = self._next, {}
        for name, value in new.items():
            setattr(self, f"_{name}", value)

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
        self._apply()

    async def _work(self, record: _Record, emit: Emit, progress: TurnProgress) -> None:
        with about(self.id):
            await self._hold()
            async with self._stack.in_use():
                stages = await self._stack.stages(
                    voice=record.voice or self._voice, language=record.language or self._language
                )
                # What was loaded first is not waited for: the turn's time begins here.
                progress.timings = TurnTimings(input_complete_at=anyio.current_time())
                progress.degraded = self._stack.degraded
                run = TurnRun(stages, emit, progress)
                if isinstance(record.said, FunctionLLM):
                    await run.say(record.said)
                else:
                    await run.run(await hear(record.said), partial(self._ask, record))

    def _ask(self, record: _Record, text: str, language: str | None) -> LLMRequest:
        record.message = Message(Role.USER, text)
        system = (Message(Role.SYSTEM, self._system),) if self._system else ()
        return LLMRequest(
            messages=(*system, *self._history, record.message),
            language=language,
            conversation_id=self.id,
            interrupted=self._interrupted,
        )

    def _finish(
        self,
        record: _Record,
        reply: Reply | None,
        failure: BaseException | None,
        is_told: bool,
    ) -> None:
        """Log and remember how the turn ended, and let what was configured meanwhile hold."""
        self._running = None
        if reply is not None:
            self._tell(reply, failure, is_told)
            self._remember(record, reply, failure)
        self._apply()

    def _tell(self, reply: Reply, failure: BaseException | None, is_told: bool) -> None:
        with about(self.id):
            end = _end(reply, failure)
            _log.info("Conversation %s: turn %s (%s)", self.id, end, reply.timings)
            if failure is not None and not is_told:
                _log.warning("Conversation %s: its turn was left before it could say so", self.id)

    def _remember(self, record: _Record, reply: Reply, failure: BaseException | None) -> None:
        """Keep what was said, and of the reply what was played."""
        if failure is not None and not reply.played:
            return  # the user can just ask again
        interrupted = reply.interrupted and failure is None
        answer = Message(Role.ASSISTANT, reply.played, interrupted=interrupted)
        new = [m for m in (record.message, answer) if m is not None and m.content]
        if new:
            self._interrupted = reply.played if interrupted else None
            self._history = self._history.append(*new)


def _end(reply: Reply, failure: BaseException | None) -> str:
    """Say how a turn ended; not what an error says, which may quote what was said."""
    if failure is None:
        return "interrupted" if reply.interrupted else "finished"
    kind = type(failure).__name__
    if isinstance(failure, BackendError):
        return f"failed in {failure.stage} {failure.backend} with {kind}"
    return f"failed with {kind}"


@define
class _Record:
    """What a turn was given, and what it leaves for the history."""

    said: TurnInput | FunctionLLM
    """What the user said, or what stands in the LLM's place when the assistant speaks unasked."""
    voice: str | None
    language: str | Sequence[str] | None
    message: Message | None = None
