"""The only place that starts work in a thread, and Lane, the queue of a device.

Most engines block. Their calls run here, one hop a chunk, inside a worker thread that takes
the lane of the engine's device. A lane is a thread lock and not an anyio limiter, because a
limiter's wake-ups do not cross event loops and a device is shared by all loops of a process.
What may not live here: anything that knows what the work is.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, TypeVarTuple

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from anyio.lowlevel import RunVar

from .errors import BackendBusyError

__all__ = [
    "Lane",
    "ThreadIterator",
    "cancellations",
    "check_cancelled",
    "run",
    "stop_asked",
    "within",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_MAX_THREADS: Final = 64  # waiting for a lane holds a thread; the host's own limiter is left alone
_POLL: Final = 0.02  # seconds between two looks at whether the waiting caller was cancelled
_limiter: RunVar[CapacityLimiter] = RunVar("evakit_worker_threads")


class Lane:
    """The queue for work on one device: one at a time, in the order of asking.

    Safe to share between threads and between event loops.
    """

    def __init__(self, name: str, *, patience: float = 60.0) -> None:
        self.name = name
        self.patience = patience
        """Seconds to wait for a turn before `BackendBusyError`."""
        self._lock = threading.Lock()
        self._held = False
        self._queue: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """How many are queued behind the one at work."""
        return len(self._queue)

    @contextmanager
    def hold(self, backend: str) -> Generator[None]:
        """Hold the lane in this worker thread for the length of the block.

        Raises:
            BackendBusyError: the queue did not move within `patience` seconds.

        """
        self.acquire(backend)
        try:
            yield
        finally:
            self.release()

    def acquire(self, backend: str) -> None:
        """Wait for the lane; `release` it afterwards.

        Raises:
            BackendBusyError: the queue did not move within `patience` seconds.

        """
        with self._lock:
            if not self._held and not self._queue:
                self._held = True
                return
            my_turn = threading.Event()
            self._queue.append(my_turn)
        deadline = time.monotonic() + self.patience
        try:
            while not my_turn.wait(_POLL):
                check_cancelled()
                if time.monotonic() > deadline:
                    raise BackendBusyError(
                        f"{backend} was busy for {self.patience:g} s with other conversations; "
                        "try again, or allow fewer at once.",
                        backend=backend,
                        retryable=True,
                    )
        except BaseException:
            self._leave(my_turn)
            raise

    def release(self) -> None:
        """Hand the lane to the next in the queue."""
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._held = False

    def _leave(self, my_turn: threading.Event) -> None:
        with self._lock:
            if not my_turn.is_set():
                self._queue.remove(my_turn)
                return
        self.release()  # the lane came in the moment of leaving: pass it on


def check_cancelled() -> None:
    """Raise the caller's cancellation, in a worker thread; elsewhere do nothing."""
    try:
        from_thread.check_cancelled()
    except anyio.NoEventLoopError:
        return


def stop_asked() -> bool:
    """Say, in a worker thread, whether the task that waits for this work was cancelled."""
    try:
        check_cancelled()
    except cancellations():
        return True
    return False


def cancellations() -> tuple[type[BaseException], ...]:
    """Return what a cancelled caller raises in a worker thread, whatever its event loop is.

    `anyio.get_cancelled_exc_class` can only be asked on the event loop's own thread.
    """
    trio = sys.modules.get("trio")
    return (
        asyncio.CancelledError,
        concurrent.futures.CancelledError,  # from anyio.from_thread.run, under asyncio
        *([trio.Cancelled] if trio is not None else ()),
    )


async def run(
    func: Callable[[*Ts], T], *args: *Ts, lane: Lane | None = None, backend: str = "evakit"
) -> T:
    """Run a blocking function in a worker thread and wait for its result.

    Cancelling waits for the function to return: a thread cannot be stopped, and one left
    behind would keep the device busy while the next turn starts.

    Raises:
        BackendBusyError: the lane did not become free in time.

    """

    def work() -> T:
        if lane is None:
            return func(*args)
        with lane.hold(backend):
            return func(*args)

    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(_MAX_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(work, limiter=limiter)


def within(seconds: float, func: Callable[[], T]) -> T:
    """Call a blocking function that knows no timeout, and wait for it no longer than `seconds`.

    For looking up a host's name only: what takes longer ends by itself, in a daemon thread.

    Raises:
        TimeoutError: it has not returned; its result is dropped.

    """
    results: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(func())
        except BaseException as failure:  # noqa: BLE001  # carried to the caller, whatever it is
            failures.append(failure)

    thread = threading.Thread(target=work, name="evakit-within", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(_POLL)
        check_cancelled()
    if failures:
        raise failures[0]
    if not results:
        raise TimeoutError("timed out")
    return results[0]


_DONE: Final[Any] = object()


class ThreadIterator(Generic[T]):
    """A blocking iterator as an async one: each item is made in a worker thread, in the lane.

    Use as an async context manager; leaving it closes the iterator, in a worker thread too.
    """

    def __init__(
        self, start: Callable[[], Iterator[T]], *, lane: Lane | None, backend: str
    ) -> None:
        self._start = start
        self._lane = lane
        self._backend = backend
        self._iterator: Iterator[T] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await run(close, lane=self._lane, backend=self._backend)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        item = await run(self._next, lane=self._lane, backend=self._backend)
        if item is _DONE:
            raise StopAsyncIteration
        return item

    def _next(self) -> T:
        if self._iterator is None:
            self._iterator = iter(self._start())
        return next(self._iterator, _DONE)
