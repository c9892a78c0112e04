"""Calls of the user's plain functions, each as an async iterator over what it returns or yields.

An async function runs as a task, watched; any other in a worker thread, which is given up when
it does not end, so that neither a turn nor the interpreter's exit waits for it.
What may not live here: what the pieces mean (`_functions.py`).
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token
from attrs import frozen

from . import _threads
from ._logging import logger
from ._watchdog import watched
from .errors import BackendError, BackendTimeoutError

__all__ = ["Call", "Kind", "is_async", "name_of"]

_log = logger(__name__)

# Pieces that may wait for their reader: enough for the tokens of some clauses, and a bound for a
# function that never ends.
_AHEAD: Final = 64

# Seconds that leaving waits for a thread: enough for one that notices at its next piece.
_GRACE: Final = 0.5


@frozen
class Kind:
    """What is expected of a function."""

    stage: str
    pieces: tuple[type, ...]
    """What it returns, or yields."""
    wanted: str
    """The same in words."""
    error: Callable[..., BackendError]
    """What to raise; takes the message and `backend=`."""


def name_of(function: Any) -> str:
    """Return the name of a function, or of what is called like one."""
    inner = getattr(function, "func", function)  # of a functools.partial
    return getattr(inner, "__name__", None) or type(inner).__name__


def is_async(function: Any) -> bool:
    """Say whether calling it gives something to await or to iterate over with `async for`."""
    return any(
        inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
        for called in (function, type(function).__call__)
    )


def _is_many(result: object) -> bool:
    """Say whether a result is to be taken piece by piece; what holds data of its own is not."""
    whole = isinstance(result, str | bytes | bytearray | memoryview | Mapping)
    return isinstance(result, Iterable) and not whole and not hasattr(result, "__array__")


def _a(piece: object) -> str:
    """Name what was given by its type: what it says is the user's, and not for a message."""
    kind = type(piece).__name__
    if piece is None:
        return "None"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _is_cancelled() -> bool:
    """Say whether somebody cancelled this task, which a function can also pretend."""
    return anyio.current_effective_deadline() == -math.inf


def _plain(error: BaseException) -> BaseException:
    """Return an exception that means nothing to whoever awaits but that the function failed."""
    if isinstance(error, (Exception, SystemExit)) and not isinstance(
        error, (StopIteration, StopAsyncIteration, asyncio.CancelledError)
    ):
        return error
    plain = RuntimeError(f"it raised {type(error).__name__}")
    plain.__cause__ = error
    return plain


class Call:
    """One call, as an async context manager and an async iterator over its pieces.

    Entered, iterated and left by one task. Leaving stops the function: an async one is
    cancelled, a generator is closed, and a thread that does not end within half a second goes
    on without us.
    """

    def __init__(
        self, function: Callable[..., Any], *args: Any, kind: Kind, name: str, timeout: float
    ) -> None:
        self._function = function
        self._args = args
        self._kind = kind
        self._name = name
        self._timeout = timeout
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._send, self._receive = anyio.create_memory_object_stream[Any](_AHEAD)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._receive.close()  # whoever waits to hand something over is told
        self._tasks.cancel_scope.cancel()
        # Without the block's exception, which goes its own way and needs no group around it.
        await self._tasks.__aexit__(None, None, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Return the next piece.

        Raises:
            BackendError: the function gave something else, or nothing in time.
            Exception: what the function raised.

        """
        try:
            with anyio.fail_after(self._timeout):
                piece = await self._receive.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from self._failure.__cause__
            raise StopAsyncIteration from None
        except TimeoutError:
            raise BackendTimeoutError(
                f"{self._name} gave nothing for {self._timeout:g} s; make it answer sooner, or "
                f"allow it more with evakit.backend({self._name}, timeout=...).",
                backend=self._name,
                stage=self._kind.stage,
                seconds=self._timeout,
            ) from None
        if isinstance(piece, self._kind.pieces):
            return piece
        raise self._kind.error(
            f"{self._name} gave {_a(piece)}, where {self._kind.wanted} is expected; "
            "return that, or yield it piece by piece.",
            backend=self._name,
        )

    async def _run(self) -> None:
        with self._send:
            try:
                if is_async(self._function):
                    await self._apart(self._take_async(self._function(*self._args)))
                    return
                rest = await self._in_thread(lambda: self._function(*self._args))
                if rest is not None:  # made in a thread, and to be run here
                    await self._apart(self._take_async(rest))
            except BaseException as error:  # raised to whoever iterates
                if _is_cancelled() or isinstance(error, KeyboardInterrupt):
                    raise
                self._failure = _plain(error)

    async def _apart(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what is the user's as its libraries expect it: under asyncio, cancelled once.

        A cancel scope cancels again at each `await`, also at those with which a library ends
        what it has begun: LangGraph would leave its model running.
        """
        if not issubclass(anyio.get_cancelled_exc_class(), asyncio.CancelledError):
            await watched(work, self._name)
            return
        failures: list[BaseException] = []

        async def kept() -> None:
            try:
                await watched(work, self._name)
            except BaseException as error:  # noqa: BLE001 (a SystemExit here would end the loop)
                failures.append(error)

        task = asyncio.get_running_loop().create_task(kept())
        try:
            await asyncio.wait([task])
        finally:
            if not task.done():
                task.cancel()
                with anyio.CancelScope(shield=True), anyio.move_on_after(_GRACE):
                    await asyncio.wait([task])
                if not task.done():
                    _log.warning(
                        "%s was cancelled and goes on all the same; let its cancellation pass",
                        self._name,
                    )
        if failures:
            raise failures[0]

    async def _take_async(self, result: Any) -> None:
        """Pass on what an async function gives."""
        if inspect.isawaitable(result):
            result = await result
        if not isinstance(result, AsyncIterable):
            if _is_many(result):
                await self._in_thread(lambda: result)
            else:
                await self._send.send(result)
            return
        pieces = aiter(result)
        try:
            async for piece in pieces:
                await self._send.send(piece)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                with anyio.CancelScope(shield=True), anyio.move_on_after(_GRACE):
                    await close()

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        """Pass on what a function gives; return what can only be run on the event loop."""
        loop = current_token()
        try:
            return await _threads.run(
                self._take, function, loop, backend=self._name, is_long=True, patience=_GRACE
            )
        except BaseException as error:
            if isinstance(error, Exception) or _is_cancelled():
                raise
            raise _plain(error) from error  # of the function's own, which is not to end the loop

    def _take(self, function: Callable[[], Any], loop: EventLoopToken) -> Any:
        """Hand over what `function` gives, piece by piece; in a worker thread."""
        result = function()
        if isinstance(result, self._kind.pieces) or not _is_many(result):
            if inspect.isawaitable(result) or isinstance(result, AsyncIterable):
                return result
            self._hand_over(result, loop)
            return None
        pieces = iter(result)
        try:
            for piece in pieces:
                if _threads.stop_asked() or not self._hand_over(piece, loop):
                    break
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        return None

    def _hand_over(self, piece: Any, loop: EventLoopToken) -> bool:
        """Give a piece to the event loop, waiting for room; return whether more is wanted."""
        try:
            if not from_thread.run_sync(self._has_taken, piece, token=loop):
                from_thread.run(self._send.send, piece, token=loop)
        except (RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return False  # the call was left, or its loop has ended
        return True

    def _has_taken(self, piece: Any) -> bool:
        try:
            self._send.send_nowait(piece)
        except anyio.WouldBlock:
            return False
        return True
