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
from typing import Any, Final, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from ._choices import BackendLike
from ._turn import AsyncTurn
from .chat import History, Message
from .conversation import AsyncConversation, TurnInput
from .errors import ConversationClosedError
from .events import Event, Reply
from .models import ModelStore, Progress
from .stack import LoadedBackend, Stack

__all__ = ["Conversation", "Turn"]

T = TypeVar("T")


class _Loop:
    """The shared event loop, as a conversation holds it: calls that Ctrl-C really stops."""

    _provider: Final = BlockingPortalProvider()

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = None
        self._pid = os.getpid()

    def open(self) -> BlockingPortal:
        if self._pid != os.getpid():
            raise ConversationClosedError(
                "This process was forked from the one that made the conversation, and engines "
                "do not come along; make a conversation in each worker, after the fork."
            )
        if self._portal is None:
            self._portal = self._provider.__enter__()
        return self._portal

    def close(self) -> None:
        if self._portal is not None and self._pid == os.getpid():
            self._portal = None
            self._provider.__exit__(None, None, None)

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
        self._hosted: Future[None] | None = None
        self._host: _Host | None = None

    @property
    def reply(self) -> Reply:
        """The turn as a whole; see `AsyncTurn.reply`."""
        return self._turn.reply

    def played(self, n_samples: int) -> None:
        """Say how many samples of the reply were really played; see `AsyncTurn.played`."""
        self._turn.played(n_samples)

    def __enter__(self) -> Self:
        self._host = _Host(self._turn)
        self._hosted = self._loop.open().start_task_soon(self._host.run)
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
        if self._host is None or self._hosted is None:
            return
        self._loop.open().call(self._host.leave)
        try:
            self._hosted.result()
        except BaseException:
            self._host.ended.wait()  # a second Ctrl-C does not leave work behind either
            raise


class _Host:
    """Enters and leaves a turn in one task, as its task group needs."""

    def __init__(self, turn: AsyncTurn) -> None:
        self._turn = turn
        self._leaving: anyio.Event | None = None
        self.entered: Future[None] = Future()
        self.ended = threading.Event()

    async def run(self) -> None:
        self._leaving = anyio.Event()
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
        stt: BackendLike = "whisper:base",
        llm: BackendLike = "llamacpp",
        tts: BackendLike = "piper",
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
            self._release()
            raise

    def close(self) -> None:
        """End the conversation; see `AsyncConversation.aclose`."""
        try:
            self._loop.wait_for(self._conversation.aclose)
        finally:
            self._release()

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

    def _release(self) -> None:
        _unclosed.discard(self)
        self._loop.close()


_unclosed: Final[set[Conversation]] = set()


@atexit.register
def _close_at_exit() -> None:
    for conversation in list(_unclosed):
        if conversation._loop._pid != os.getpid():
            continue  # the parent's; its threads are not here
        warnings.warn(
            f"A conversation ({conversation.id}) was left unclosed; use it in a with block.",
            ResourceWarning,
            stacklevel=1,
            source=conversation,
        )
        conversation.close()
