"""Conversation: AsyncConversation without async, one line a method.

Each call runs on the event loop of one thread that all sync conversations of the process
share; it starts with the first of them and ends with the last. What may not live here: logic
of a conversation.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from ._choices import BackendLike
from ._turn import AsyncTurn
from .chat import History, Message
from .conversation import AsyncConversation, TurnInput
from .errors import ConversationBusyError, ConversationClosedError
from .events import Event, Reply
from .models import ModelStore, Progress
from .stack import DEFAULT_LLM, DEFAULT_STT, DEFAULT_TTS, LoadedBackend, Stack

__all__ = ["Conversation", "Turn"]

T = TypeVar("T")


class _Loop:
    """The shared event loop, as a conversation holds it: calls that Ctrl-C really stops."""

    _provider: ClassVar[BlockingPortalProvider] = BlockingPortalProvider()
    _abandoned: ClassVar[list[BlockingPortalProvider]] = []

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = None
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._hosts: set[_Host] = set()
        self._shut = False
        self.pid = os.getpid()

    @classmethod
    def after_fork(cls) -> None:
        """Start afresh in a forked child, where the loop's thread does not run."""
        # Kept, because its destructor would wait for the thread that is not there.
        cls._abandoned.append(cls._provider)
        cls._provider = BlockingPortalProvider()

    def open(self) -> BlockingPortal:
        """Return the loop, after starting it where it does not run.

        Raises:
            ConversationClosedError: the conversation was closed, or this is a forked child.
            ConversationBusyError: this thread is the loop's own.

        """
        if self.pid != os.getpid():
            raise ConversationClosedError(
                "This process was forked from the one that made the conversation, and engines "
                "do not come along; make a conversation in each worker, after the fork."
            )
        with self._lock:
            if self._shut:
                raise ConversationClosedError("The conversation was closed; make a new one.")
            if self._portal is None:
                self._portal = self._provider.__enter__()
                self._thread = self._portal.call(threading.get_ident)
            if self._thread == threading.get_ident():
                raise ConversationBusyError(
                    "An observer runs on the conversation's own event loop and cannot wait for "
                    "it; note what happened and act on it elsewhere."
                )
            return self._portal

    def give_up(self) -> None:
        """Let go of the loop, which ends with the last that lets go; `open` gets it back."""
        with self._lock:
            portal, self._portal = self._portal, None
        if portal is not None and self.pid == os.getpid():
            self._provider.__exit__(None, None, None)

    def shut(self, last: Callable[[], Awaitable[None]]) -> None:
        """Run `last` on the loop, end the turns that are still open, and let go for good."""
        if self._shut or self.pid != os.getpid():
            return  # in a forked child there is nothing of it to close
        self.open()  # not from the loop itself, which cannot wait for its own end
        try:
            self.wait_for(last)
            for host in list(self._hosts):
                self.open().call(host.leave)
                host.ended.wait()
        finally:
            with self._lock:
                self._shut = True
            self.give_up()

    def host(self, turn: AsyncTurn) -> _Host:
        """Enter a turn in a task of the loop."""
        portal = self.open()
        host = _Host(turn, self._hosts)
        host.task = portal.start_task_soon(host.run)
        return host

    def wait_for(self, func: Callable[..., Awaitable[T]], *args: object, **kwargs: object) -> T:
        """Run `func` on the loop and wait for it.

        Whatever interrupts the waiting, Ctrl-C among it, cancels `func` and waits until it has
        really ended: a bare `portal.call` would let the work run on.
        """
        portal = self.open()
        call = _Call(lambda: func(*args, **kwargs))
        future: Future[T] | None = None
        try:
            future = portal.start_task_soon(call.run)
            return future.result()
        except BaseException:
            if future is None or not future.done():
                portal.call(call.cancel)
                call.wait()
            raise


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Loop.after_fork)


class _Call:
    """One piece of work on the loop, which another thread can cancel and wait for."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work
        self._scope: anyio.CancelScope | None = None
        self._ended = threading.Event()

    async def run(self) -> Any:
        try:
            with anyio.CancelScope() as self._scope:
                return await self._work()
        except (KeyboardInterrupt, SystemExit) as error:
            # Raised here it would end the loop, and with it every conversation of the process.
            raise RuntimeError(f"{type(error).__name__} on the conversations' loop") from error
        finally:
            self._ended.set()

    async def cancel(self) -> None:
        # Tasks of the portal start in the order of asking, so `run` has begun, or never will.
        if self._scope is None:
            self._ended.set()
        else:
            self._scope.cancel()

    def wait(self) -> None:
        self._ended.wait()


class Turn:
    """A turn of a `Conversation`: a context manager, and an iterator over its events.

    The block is the turn: leaving it before the events end interrupts the reply, and all work
    behind it stops within one chunk.
    """

    def __init__(self, loop: _Loop, turn: AsyncTurn) -> None:
        self._loop = loop
        self._turn = turn
        self._host: _Host | None = None

    @property
    def reply(self) -> Reply:
        """The turn as a whole; see `AsyncTurn.reply`."""
        return self._turn.reply

    def played(self, n_samples: int) -> None:
        """Say how many samples of the reply were really played; see `AsyncTurn.played`."""
        self._turn.played(n_samples)

    def __enter__(self) -> Self:
        self._host = self._loop.host(self._turn)
        try:
            self._host.entered.result()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """Return the next event; see `AsyncTurn.__anext__`."""
        try:
            return self._loop.wait_for(self._turn.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def _leave(self) -> None:
        host = self._host
        if host is None or host.ended.is_set():
            return
        try:
            self._loop.open().call(host.leave)
        except ConversationClosedError:  # closed meanwhile, and the turn ended with it
            host.ended.wait()
            return
        try:
            host.task.result()
        except BaseException:
            host.ended.wait()  # a second Ctrl-C does not leave work behind either
            raise


class _Host:
    """Enters and leaves a turn in one task, as its task group needs."""

    task: Future[None]

    def __init__(self, turn: AsyncTurn, hosts: set[_Host]) -> None:
        self._turn = turn
        self._hosts = hosts
        self._leaving: anyio.Event | None = None
        self.entered: Future[None] = Future()
        self.ended = threading.Event()

    async def run(self) -> None:
        self._leaving = anyio.Event()
        self._hosts.add(self)
        try:
            try:
                await self._turn.__aenter__()
            except BaseException as error:
                self.entered.set_exception(error)
                if isinstance(error, Exception):
                    return  # told to whoever waits for `entered`
                raise
            try:
                self.entered.set_result(None)
                await self._leaving.wait()
            finally:
                await self._turn.__aexit__(None, None, None)
        finally:
            self._hosts.discard(self)
            self.ended.set()

    async def leave(self) -> None:
        if self._leaving is not None:
            self._leaving.set()


class Conversation:
    """A conversation: it hears, thinks, speaks and remembers.

    Like `AsyncConversation`, without async. Constructing is cheap; entering the block, or first
    use, loads; one that is left unclosed is closed at interpreter exit with a ResourceWarning.
    From a running event loop use `AsyncConversation`: this one would block the loop.
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
        arguments = {k: v for k, v in locals().items() if k not in {"self", "stack"}}
        self._conversation = AsyncConversation(stack, **arguments)
        self._loop = _Loop()

    @property
    def id(self) -> str:
        """Names the conversation in logs and to backends."""
        return self._conversation.id

    @property
    def history(self) -> History:
        """What was said so far; changes only between turns."""
        return self._conversation.history

    @property
    def backends(self) -> Mapping[str, LoadedBackend]:
        """The loaded backends by stage, and where each was found to be."""
        return self._conversation.backends

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def load(self) -> None:
        """Load the backends; see `AsyncConversation.load`."""
        try:
            self._use().wait_for(self._conversation.load)
        except BaseException:
            _unclosed.discard(self)
            self._loop.give_up()
            raise

    def close(self) -> None:
        """End the conversation; see `AsyncConversation.aclose`."""
        try:
            self._loop.shut(self._conversation.aclose)
        finally:
            _unclosed.discard(self)

    def turn(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> Turn:
        """Return the turn that begins with what the user `said`; see `AsyncConversation.turn`."""
        return Turn(self._use(), self._conversation.turn(said, voice=voice, language=language))

    def respond(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> Reply:
        """Run a turn to its end and return the reply; see `AsyncConversation.respond`."""
        return self._use().wait_for(
            self._conversation.respond, said, voice=voice, language=language
        )

    def _use(self) -> _Loop:
        """Return the loop, and see to it that the conversation is closed at exit at the latest."""
        self._conversation.require_open()
        _unclosed.add(self)
        return self._loop


_unclosed: Final[set[Conversation]] = set()


@atexit.register
def _close_at_exit() -> None:
    for conversation in list(_unclosed):
        if conversation._loop.pid != os.getpid():
            continue  # the parent's; its threads are not here
        warnings.warn(
            f"A conversation ({conversation.id}) was left unclosed; use it in a with block.",
            ResourceWarning,
            stacklevel=1,
            source=conversation,
        )
        conversation.close()
