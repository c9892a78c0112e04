"""Replies: LLM, its request and stream, and two bases for engines that block.

What may not live here: history, prompts, clauses, running tools.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token
from attrs import field, frozen

from .. import _threads
from ..chat import Message, Role, ToolCall
from .backend import Backend, BlockingBackend

__all__ = [
    "LLM",
    "BlockingLLM",
    "CallbackLLM",
    "Finish",
    "LLMChunk",
    "LLMRequest",
    "LLMStream",
    "ToolCall",
    "Usage",
]


@frozen(kw_only=True)
class LLMRequest:
    """What a reply is asked for with."""

    messages: tuple[Message, ...] = field(converter=tuple[Message, ...])
    """The system prompt first if there is one, then the history, the user's message last."""
    language: str | None = None
    """The language spoken in this turn, as a tag; None when it is not known."""
    conversation_id: str = ""
    """The same for all turns of a conversation: a key for caches."""
    interrupted: str | None = None
    """What was heard of the last reply when it was cut short; None when it was not."""
    max_tokens: int | None = None
    """Upper bound on the reply's length in tokens; None leaves it to the backend."""

    @property
    def text(self) -> str:
        """What the user has just said."""
        users = [m.content for m in self.messages if m.role is Role.USER]
        return users[-1] if users else ""

    @property
    def system(self) -> str:
        """The system prompt; "" when there is none."""
        return self.messages[0].content if self._has_system else ""

    @property
    def history(self) -> tuple[Message, ...]:
        """What was said before `text`, without the system prompt."""
        return self.messages[1 if self._has_system else 0 : -1]

    @property
    def _has_system(self) -> bool:
        return bool(self.messages) and self.messages[0].role is Role.SYSTEM

    def to_openai(self) -> list[dict[str, Any]]:
        """Return the messages in the form that OpenAI-compatible chat servers take."""
        return [message.to_openai() for message in self.messages]


@frozen(kw_only=True)
class Usage:
    """What a reply cost, in tokens; None where the engine does not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    """How many of the prompt's tokens did not have to be read again."""
    completion_tokens: int | None = None


@frozen
class Finish:
    """Why a reply ended: `stop`, `length` or `tool_calls`."""

    reason: str


LLMChunk = str | ToolCall | Usage | Finish
"""What a stream gives: a str is text of the reply, in order."""


class LLMStream(ABC):
    """One reply as it is generated: an async context manager and an async iterator.

    Leaving the block stops the generation.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop generating and give the reply's state back."""

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> LLMChunk:
        """Return the next piece.

        Raises:
            ContextTooLongError: one message alone exceeds what the model can read.
            GenerationError: the engine failed.

        """


class LLM(Backend):
    """Generates replies."""

    @abstractmethod
    def reply(self, request: LLMRequest) -> LLMStream:
        """Start a reply. Several may be asked for at once."""

    async def prefill(self, request: LLMRequest) -> None:
        """Read a prompt early, so that the reply to it starts sooner. May do nothing."""


Emit = Callable[[LLMChunk], bool]


class CallbackLLM(BlockingBackend, LLM):
    """An LLM whose engine calls back for each token: write `generate`."""

    @abstractmethod
    def generate(self, request: LLMRequest, emit: Emit) -> None:
        """Call `emit` with each piece; when it returns True, stop. In a worker thread.

        Called for one reply after the other, unless the capabilities say that it
        `serves_many_at_once`. `emit` does not wait for whoever reads the reply.

        Raises:
            ContextTooLongError: one message alone exceeds what the model can read.
            GenerationError: the engine failed.

        """

    def warm(self, request: LLMRequest) -> None:
        """Read a prompt early; in a worker thread. Does nothing unless overridden."""

    def reply(self, request: LLMRequest) -> LLMStream:
        """Start `generate` in a worker thread when the stream's block is entered."""
        return _CallbackStream(self, request)

    async def prefill(self, request: LLMRequest) -> None:
        """Run `warm` in a worker thread."""
        await _threads.run(self.warm, request, lane=self._lane, backend=self.name)


class BlockingLLM(CallbackLLM):
    """An LLM whose engine is a generator: write `tokens`."""

    @abstractmethod
    def tokens(self, request: LLMRequest) -> Iterator[LLMChunk]:
        """Yield the pieces of a reply; closed when it is no longer wanted. In a worker thread.

        Raises:
            ContextTooLongError: one message alone exceeds what the model can read.
            GenerationError: the engine failed.

        """

    def generate(self, request: LLMRequest, emit: Emit) -> None:
        """Emit what `tokens` yields."""
        pieces = self.tokens(request)
        try:
            for piece in pieces:
                if emit(piece):
                    break
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


class _CallbackStream(LLMStream):
    """Carries pieces from `generate`, in its thread, to the event loop."""

    def __init__(self, backend: CallbackLLM, request: LLMRequest) -> None:
        self._backend = backend
        self._request = request

    async def __aenter__(self) -> Self:
        # Unbounded: a whole reply is some hundred pieces, at most `max_tokens` or what the model
        # can hold. With a bound the engine, its lane and its thread would wait for a slow reader,
        # who may be waiting for a thread or for that very engine.
        self._send, self._receive = anyio.create_memory_object_stream[LLMChunk](math.inf)
        self._failure: Exception | None = None
        self._loop = current_token()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._work)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            # Without the block's exception, which goes its own way and needs no group around it.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._receive.close()

    async def __anext__(self) -> LLMChunk:
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from self._failure.__cause__
            raise StopAsyncIteration from None

    async def _work(self) -> None:
        backend = self._backend
        with self._send:
            try:
                await _threads.run(
                    backend.generate,
                    self._request,
                    self._emit,
                    lane=backend._lane,
                    backend=backend.name,
                    is_long=True,
                )
            except Exception as error:  # noqa: BLE001 (not swallowed: raised to whoever iterates)
                self._failure = error

    def _emit(self, piece: LLMChunk) -> bool:
        # Engines swallow what their callback raises, so cancellation becomes a return value.
        if _threads.stop_asked():
            return True
        try:
            return from_thread.run_sync(self._hand_over, piece, token=self._loop)
        except anyio.RunFinishedError:  # given up, and its loop has ended
            return True

    def _hand_over(self, piece: LLMChunk) -> bool:
        # asyncio does not tell a function that it calls after its scope was cancelled.
        if self._tasks.cancel_scope.cancel_called:
            return True
        self._send.send_nowait(piece)
        return False
