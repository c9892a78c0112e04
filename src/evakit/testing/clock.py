"""Virtual time: a clock that jumps to the next deadline when there is nothing else to do.

`virtual("asyncio")` and `virtual("trio")` are what anyio and its pytest plugin take as a backend;
`run` runs one function so; `virtual_time` puts `evakit.Conversation` on such a clock. Time begins
at 0. It stands still while a thread works that the loop started (`anyio.to_thread`,
`asyncio.to_thread`, evakit's own, trio's with its usual limiter), so work in threads takes none.
Sockets, processes and threads that the loop did not start do not hold it: what talks to them
wants a real clock. What may not live here: backends, and anything of pytest.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import anyio
from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from .. import _loop, _sync, _threads
from ..errors import ConfigurationError

if TYPE_CHECKING:
    import trio
    from trio.testing import MockClock

__all__ = ["run", "virtual", "virtual_time"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# A thread that works for so long may itself be waiting for the clock, which then goes on.
_PATIENCE: Final = 10.0  # seconds, real ones


def virtual(backend: str = "asyncio") -> tuple[str, dict[str, Any]]:
    """Return `backend` with the options that give it a virtual clock, as anyio takes them.

    As an `anyio_backend` fixture of a test, or `anyio.run(f, backend=name,
    backend_options=options)`. For one event loop: ask again for the next.

    Raises:
        ConfigurationError: `backend` is neither `asyncio` nor `trio`.

    """
    if backend == "asyncio":
        return backend, {"loop_factory": _Loop}
    if backend == "trio":
        from trio.testing import MockClock  # noqa: PLC0415 (trio is not needed for asyncio)

        clock = MockClock(autojump_threshold=0)
        return backend, {"clock": clock, "instruments": [_Ticker(clock)]}
    raise ConfigurationError(f"There is no event loop {backend!r}; use 'asyncio' or 'trio'.")


def run(func: Callable[[*_Ts], Awaitable[_T]], *args: *_Ts, backend: str = "asyncio") -> _T:
    """Run an async function to its end on a virtual clock and return its result.

    Raises:
        ConfigurationError: `backend` is neither `asyncio` nor `trio`.

    """
    name, options = virtual(backend)
    return anyio.run(func, *args, backend=name, backend_options=options)


@contextmanager
def virtual_time() -> Generator[None]:
    """Put every `evakit.Conversation` that is used in the block on one virtual clock.

    The clock goes on only while a call of a conversation waits, so that where a turn stands does
    not depend on how fast the caller is. Conversations still open at the end are closed.

    Raises:
        ConfigurationError: a conversation is open already, on the real clock.

    """
    if _sync._unclosed:
        raise ConfigurationError(
            "A conversation is open already, and its clock cannot be changed; close it before "
            "virtual_time() begins."
        )
    before, _loop.Loop._provider = _loop.Loop._provider, _Provider()
    try:
        yield
    finally:
        try:
            for conversation in list(_sync._unclosed):
                conversation.close()
        finally:
            _loop.Loop._provider = before


class _Loop(asyncio.SelectorEventLoop):
    """An event loop of asyncio whose time moves when it would wait."""

    def __init__(self) -> None:
        self._now = 0.0
        self._executing = 0
        self.callers: _Callers | None = None
        """Who calls from other threads; time waits for them. None where all is on the loop."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Go ahead; to whole nanoseconds, so that ten times a tenth is one."""
        self._now = round(self._now + seconds, 9)

    def must_stand_still(self) -> bool:
        """Say whether something may still happen now."""
        if self._executing or (self.callers is not None and not self.callers.waiting):
            return True
        return bool(_threads.at_work())

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        future = super().run_in_executor(executor, func, *args)
        self._executing += 1
        future.add_done_callback(self._executed)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        self._executing += 1  # it waits in a thread, with a deadline
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._executing -= 1

    def _executed(self, _: object) -> None:
        self._executing -= 1


class _Selector(selectors.DefaultSelector):
    """Where an event loop waits: instead, time goes on."""

    def __init__(self, loop: _Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            return super().select(None)
        if self._loop.must_stand_still():
            ready = super().select(_PATIENCE)
        if not ready:
            self._loop.advance(timeout)
        return ready


class _Ticker:
    """Holds trio's clock while threads work. (An `Instrument`, whose base is not needed.)"""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock
        self._is_held = False

    def after_task_step(self, _: trio.lowlevel.Task) -> None:
        """Look whether the step has started the first thread, or seen the end of the last."""
        is_held = bool(_threads.at_work())
        if is_held != self._is_held:
            self._is_held = is_held
            self._clock.autojump_threshold = _PATIENCE if is_held else 0


class _Callers:
    """The threads that call into a loop from outside, as far as they wait for it."""

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self.waiting = 0

    def wait_for(self, future: Future[_T]) -> _T:
        with self._lock:
            self.waiting += 1
        # Called by the loop as the work ends, so that time does not go on before the caller does.
        future.add_done_callback(self._ended)
        if not future.done():
            self._loop.call_soon_threadsafe(lambda: None)  # it may stand still for want of a caller
        return future.result()

    def _ended(self, _: object) -> None:
        with self._lock:
            self.waiting -= 1


class _Called:
    """A future whose result a caller can wait for; as much of one as the façade uses."""

    def __init__(self, future: Future[Any], callers: _Callers) -> None:
        self._future = future
        self._callers = callers
        self.done = future.done

    def result(self) -> Any:
        return self._callers.wait_for(self._future)


class _Portal:
    """A portal that knows when its callers wait."""

    def __init__(self, portal: BlockingPortal, callers: _Callers) -> None:
        self._portal = portal
        self._callers = callers

    def start_task_soon(self, func: Callable[..., Any], *args: Any) -> _Called:
        return _Called(self._portal.start_task_soon(func, *args), self._callers)

    def call(self, func: Callable[..., Any], *args: Any) -> Any:
        return self.start_task_soon(func, *args).result()


class _Provider:
    """The façade's loop, on a virtual clock: it starts with its first user, ends with its last."""

    def __init__(self) -> None:
        self._provider = BlockingPortalProvider("asyncio", {"loop_factory": _Loop})

    def __enter__(self) -> Any:
        portal = self._provider.__enter__()
        loop: Any = portal.call(_running_loop)
        if loop.callers is None:
            loop.callers = _Callers(loop)
        return _Portal(portal, loop.callers)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._provider.__exit__(exc_type, exc, traceback)


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
