"""The only place that starts work in a thread, and Lane, the gate of an engine.

Most engines block. Their calls run here, inside worker threads that hold the engine's lane. A
lane is a thread lock and not an anyio limiter, because a limiter's wake-ups do not cross event
loops and an engine is shared by all loops of a process.
What may not live here: anything that knows what the work is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, TypeVarTuple

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from ._logging import logger
from ._workers import PATIENCE, Job, current_job
from .errors import BackendBusyError

__all__ = [
    "Lane",
    "ThreadIterator",
    "at_work",
    "check_cancelled",
    "run",
    "stop_asked",
    "within",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_log = logger(__name__)

_POLL: Final = 0.02  # seconds between two looks at whether the waiting caller was cancelled

# Threads are limited apart from the host's own, and each sort of work apart from the others, so
# that a thread is never wanted by work for which those that have all threads wait: what holds a
# lane from one hop to the next takes a `_short` one, for which nobody waits who needs a lane.
_MAX_THREADS: Final = 64  # of each sort
_short: RunVar[CapacityLimiter] = RunVar("evakit_threads_for_work_that_needs_no_lane")
_queued: RunVar[CapacityLimiter] = RunVar("evakit_threads_for_work_that_waits_for_a_lane")
_long: RunVar[CapacityLimiter] = RunVar("evakit_threads_for_work_that_may_take_minutes")


class Lane:
    """The gate of one engine: one piece of work at a time, in the order of asking.

    A piece of work is what must not be mixed with another in the engine's state: a whole reply,
    a whole clause, a whole utterance. It may be acquired in one thread and released in another.
    Safe to share between threads and between event loops.
    """

    def __init__(self, name: str, *, patience: float = 60.0) -> None:
        self.name = name
        self.patience = patience
        """Seconds without any move of the queue before those who wait get `BackendBusyError`."""
        self._lock = threading.Lock()
        self._held = False
        self._is_stuck = False
        self._moves = 0  # how often the lane was handed on
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
            if self._is_stuck:
                raise self._stuck(backend)
            my_turn = threading.Event()
            self._queue.append(my_turn)
            moves = self._moves
        deadline = time.monotonic() + self.patience
        try:
            while not my_turn.wait(_POLL):
                check_cancelled()
                if self._is_stuck:
                    raise self._stuck(backend)
                if moves != self._moves:
                    moves, deadline = self._moves, time.monotonic() + self.patience
                elif time.monotonic() > deadline:
                    raise BackendBusyError(
                        f"{backend} was busy for {self.patience:g} s with another conversation; "
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
            self._is_stuck = False
            if self._queue:
                self._moves += 1
                self._queue.popleft().set()
            else:
                self._held = False

    def give_up(self) -> None:
        """Let nobody wait for the one at work, who does not stop, until it does."""
        with self._lock:
            self._is_stuck = self._held

    def _stuck(self, backend: str) -> BackendBusyError:
        return BackendBusyError(
            f"{backend} was told to stop {PATIENCE:g} s ago and still has not; wait until it has, "
            "or start the program again.",
            backend=backend,
            retryable=True,
        )

    def _leave(self, my_turn: threading.Event) -> None:
        with self._lock:
            if not my_turn.is_set():
                self._queue.remove(my_turn)
                return
        self.release()  # the lane came in the moment of leaving: pass it on


def check_cancelled() -> None:
    """Raise a cancellation in a worker thread whose work nobody waits for; else do nothing."""
    if stop_asked():
        raise asyncio.CancelledError  # of whichever loop: the waiting task raises its own


def stop_asked() -> bool:
    """Say, in a worker thread, whether the task that waits for this work was cancelled."""
    job = current_job()
    return job is not None and job.is_unwanted


async def run(
    func: Callable[[*Ts], T],
    *args: *Ts,
    lane: Lane | None = None,
    backend: str = "evakit",
    is_long: bool = False,
    patience: float = PATIENCE,
) -> T:
    """Run a blocking function in a worker thread and wait for its result.

    Cancelling waits for the function to return: a thread cannot be stopped, and one left
    behind would keep the device busy while the next turn starts. One that does not return
    within `patience` seconds is given up: it keeps its lane, and nobody waits for it, not even the
    interpreter's exit. Work that `is_long` may take minutes; other work never waits for a thread
    because of it. It must not call `run` itself.

    Raises:
        BackendBusyError: the lane's queue did not move in time.

    """

    def work() -> T:
        if lane is None:
            return func(*args)
        with lane.hold(backend):
            return func(*args)

    sort = _long if is_long else _short if lane is None else _queued
    return await _in_worker(work, sort, lane, backend, patience)


async def _in_worker(
    work: Callable[[], T],
    sort: RunVar[CapacityLimiter],
    lane: Lane | None,
    backend: str,
    patience: float = PATIENCE,
) -> T:
    async with _limiter(sort):
        job = Job(work)
        try:
            return await job.run(patience)
        finally:
            if job.is_unwanted and not job.has_ended:
                if lane is not None:
                    lane.give_up()
                _log.warning(
                    "%s was told to stop and has not for %g s; it is given up, in a thread of "
                    "its own",
                    backend,
                    patience,
                )


def _limiter(sort: RunVar[CapacityLimiter]) -> CapacityLimiter:
    try:
        return sort.get()
    except LookupError:
        limiter = CapacityLimiter(_MAX_THREADS)
        sort.set(limiter)
        return limiter


def at_work() -> int:
    """Say how many threads work for this event loop: evakit's, and those of anyio's own limit."""
    limiters = [to_thread.current_default_thread_limiter()]
    limiters += [limiter for sort in (_short, _queued, _long) if (limiter := sort.get(None))]
    return sum(limiter.borrowed_tokens for limiter in limiters)


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
    """A blocking iterator as an async one: each item is made in a worker thread, one hop an item.

    The lane is held from the first hop until the iterator is at its end, fails or is closed, so
    that nobody else is served in the middle. Use as an async context manager: leaving it closes
    the iterator, in a worker thread too, and waits for nobody but a hop that is under way.
    """

    def __init__(
        self, start: Callable[[], Iterator[T]], *, lane: Lane | None, backend: str
    ) -> None:
        self._start = start
        self._lane = lane
        self._backend = backend
        self._iterator: Iterator[T] | None = None
        self._is_over = False
        self._is_unwanted = False
        self._in_hop = threading.Lock()  # a hop may still run while another task closes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_over:
            self._is_unwanted = True
            with anyio.CancelScope(shield=True):
                await run(self._close, backend=self._backend)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._is_over:
            raise StopAsyncIteration
        # Not through `run`, which would release the lane when the hop ends.
        if self._iterator is not None:
            item = await _in_worker(self._next, _short, self._lane, self._backend)
        else:
            sort = _short if self._lane is None else _queued
            item = await _in_worker(self._first, sort, self._lane, self._backend)
        if item is _DONE:
            raise StopAsyncIteration
        return item

    def _first(self) -> T | Any:  # `_DONE` is no T
        if self._lane is not None:
            self._lane.acquire(self._backend)
        with self._in_hop:
            if self._is_over:  # it was closed while it waited for the lane, which is let go
                self._release()
                return _DONE
            try:
                self._iterator = iter(self._start())
            except BaseException:
                self._is_over = True
                self._release()
                raise
        return self._next()

    def _next(self) -> T | Any:
        with self._in_hop:
            if self._is_over or self._iterator is None:
                return _DONE
            try:
                item = next(self._iterator, _DONE)
            except BaseException:
                self._end(self._iterator)
                raise
            if item is _DONE or self._is_unwanted:
                self._end(self._iterator)
            return item

    def _close(self) -> None:
        if not self._in_hop.acquire(timeout=PATIENCE):
            return  # given up; the hop closes the iterator when it comes to its end
        try:
            if self._is_over:
                return
            if self._iterator is None:
                self._is_over = True
            else:
                self._end(self._iterator)
        finally:
            self._in_hop.release()

    def _end(self, iterator: Iterator[T]) -> None:
        self._is_over = True
        try:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
        finally:
            self._release()

    def _release(self) -> None:
        if self._lane is not None:
            self._lane.release()
