"""Daemon threads that do an event loop's blocking work, and wait a moment for more of it.

anyio's own are no daemons under asyncio: an engine that never returns would keep the interpreter
from exiting. What may not live here: lanes, limits, and what the work is.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, TypeVar

import anyio
from anyio.lowlevel import current_token

from ._logging import logger
from .errors import EvakitError

__all__ = ["PATIENCE", "Job", "current_job", "dismiss"]

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that a cancelled caller waits for its work to return, before it gives it up. Engines
look between two chunks whether they are to stop, and then need well below a second."""
_IDLE: Final = 1.0  # seconds that a thread waits for more work; starting one takes some 50 us

_log = logger(__name__)


class Job(Generic[T]):
    """One call in a worker thread, and what came of it, for the event loop that made it."""

    def __init__(self, func: Callable[[], T]) -> None:
        self.is_unwanted = False
        """Whether whoever waited for it was cancelled."""
        self.has_ended = False
        self._func = func
        self._context = contextvars.copy_context()
        sniffio = sys.modules.get("sniffio")
        if sniffio is not None:  # no event loop runs in the thread, and the work may start one
            self._context.run(sniffio.current_async_library_cvar.set, None)
        self._loop: Any = current_token().native_token
        self._told = anyio.Event()
        self._result: T
        self._failure: BaseException | None = None

    async def run(self, patience: float = PATIENCE) -> T:
        """Run it in a thread and return its result, or raise what it raised.

        When the caller is cancelled it waits for the work to return, for `patience` at most.

        Raises:
            EvakitError: the interpreter is ending, and starts no thread any more.

        """
        _Worker.do(self)
        try:
            await self._told.wait()
        except BaseException:  # the caller's cancellation
            self.is_unwanted = True
            with anyio.CancelScope(shield=True), anyio.move_on_after(patience):
                await self._told.wait()
            raise
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it refers to this frame
        return self._result

    def work(self) -> None:
        """Do the work; in the worker thread."""
        _current.job = self
        try:
            self._result = self._context.run(self._func)
        except BaseException as failure:  # noqa: BLE001 (raised again by `run`)
            self._failure = failure
        finally:
            del _current.job
            self.has_ended = True

    def tell(self) -> None:
        """Wake up whoever waits; in the worker thread."""
        is_asyncio = isinstance(self._loop, asyncio.AbstractEventLoop)
        soon = self._loop.call_soon_threadsafe if is_asyncio else self._loop.run_sync_soon
        try:
            soon(self._told.set)
        except RuntimeError:  # the loop has ended without waiting
            _log.debug("A call returned after its event loop had ended")


_current = threading.local()


def current_job() -> Job[Any] | None:
    """Return the job that this thread works at; None in any other thread."""
    job: Job[Any] | None = getattr(_current, "job", None)
    return job


class _Worker(threading.Thread):
    """A thread that works at one job after the other, until none comes for `_IDLE` seconds."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _idle: ClassVar[list[_Worker]] = []

    def __init__(self, first: Job[Any]) -> None:
        super().__init__(name="evakit-worker", daemon=True)
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._jobs.put(first)

    @classmethod
    def do(cls, job: Job[Any]) -> None:
        """Have a thread work at `job`: the one that had work last, or a new one."""
        with cls._lock:
            worker = cls._idle.pop() if cls._idle else None
        if worker is not None:
            worker._jobs.put(job)
            return
        try:
            cls(job).start()
        except RuntimeError as error:
            raise EvakitError(
                "No thread can be started for the work (the interpreter is ending, or the limit "
                "of the system is reached); end conversations before the program's end, and have "
                "fewer at once."
            ) from error

    @classmethod
    def dismiss(cls) -> None:
        """End the threads that wait for work, and wait until they have ended."""
        with cls._lock:
            idle, cls._idle = cls._idle, []
        for worker in idle:
            worker._jobs.put(None)
        for worker in idle:
            worker.join()

    @classmethod
    def after_fork(cls) -> None:
        """Start afresh in a forked child, where no thread but one runs."""
        cls._lock = threading.Lock()
        cls._idle = []

    def run(self) -> None:
        job = self._jobs.get()
        while job is not None:
            job.work()
            with self._lock:  # before telling: the next job is often asked for then
                type(self)._idle.append(self)
            job.tell()
            del job
            job = self._next()

    def _next(self) -> Job[Any] | None:
        try:
            return self._jobs.get(timeout=_IDLE)
        except queue.Empty:
            with self._lock:
                if self in type(self)._idle:
                    type(self)._idle.remove(self)
                    return None
            return self._jobs.get()  # it comes this moment


dismiss = _Worker.dismiss

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Worker.after_fork)
