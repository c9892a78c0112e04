"""Says so when a function of the user's keeps the event loop from running, and where.

Each step of a watched coroutine is timed; a thread, there while something is watched, looks at
the steps that are under way. What may not live here: stopping anything, which nobody can.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
import traceback
import types
from collections.abc import Coroutine, Generator
from itertools import dropwhile
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import define, field

from ._logging import logger

__all__ = ["watched"]

T = TypeVar("T")

_LONGEST_STEP: Final = 0.5  # seconds; a reply that is to feel immediate has less in all
_LOOK: Final = 0.1  # seconds between two looks
_IDLE: Final = 1.0  # seconds without anything to watch; starting a thread may take a millisecond

_log = logger(__name__)


@define(eq=False)
class _Watch:
    """One coroutine, and since when its present step is under way."""

    name: str
    thread: int = field(factory=threading.get_ident)
    context: contextvars.Context = field(factory=contextvars.copy_context)
    since: float | None = None
    is_told: bool = False


class _Watchdog:
    """Looks at what is watched, in a thread that ends when nothing was for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[_Watch] = set()
        self._is_running = False

    def add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.add(watch)
            is_running, self._is_running = self._is_running, True
        if not is_running:
            threading.Thread(target=self._run, name="evakit-watchdog", daemon=True).start()

    def remove(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.discard(watch)

    def _run(self) -> None:
        quiet = 0.0
        while True:
            time.sleep(_LOOK)
            with self._lock:
                watches = list(self._watches)
                quiet = 0.0 if watches else quiet + _LOOK
                if quiet >= _IDLE:
                    self._is_running = False
                    return
            for watch in watches:
                self._look(watch)

    def _look(self, watch: _Watch) -> None:
        since = watch.since
        if since is None or watch.is_told or time.monotonic() - since < _LONGEST_STEP:
            return
        watch.is_told = True
        _log.warning(
            "%s has kept the event loop from running for %.1f s: await what takes long, "
            "or make it a plain function, which runs in a thread; it is at\n%s",
            watch.name,
            time.monotonic() - since,
            _stack(watch.thread),
        )


def _stack(thread: int) -> str:
    """Return where a thread is, from the first function on that is not evakit's or a loop's."""
    frames = list(traceback.extract_stack(sys._current_frames().get(thread)))
    below = [i for i, frame in enumerate(frames) if frame.filename == __file__]
    package = str(Path(__file__).parent)
    theirs = dropwhile(
        lambda frame: frame.filename.startswith(package), frames[below[-1] + 1 if below else 0 :]
    )
    return "".join(traceback.format_list(theirs)).rstrip()


_watchdog = _Watchdog()


def _after_fork() -> None:
    """Start afresh in a forked child, where the thread does not run."""
    global _watchdog  # noqa: PLW0603 (a lock that another thread held stays locked in the child)
    _watchdog = _Watchdog()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


async def watched(work: Coroutine[Any, Any, T], name: str) -> T:
    """Await `work`; log a warning, once, when one of its steps holds the loop up."""
    watch = _Watch(name)
    watchdog = _watchdog
    watchdog.add(watch)
    try:
        return await _timed(work, watch)
    finally:
        watchdog.remove(watch)


@types.coroutine
def _timed(work: Coroutine[Any, Any, T], watch: _Watch) -> Generator[Any, Any, T]:
    """Drive `work` as `await` does, noting when each step begins and ends."""
    value, error = None, None
    while True:
        watch.since = time.monotonic()
        try:
            waits_for = work.send(value) if error is None else work.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            watch.since = None
        value, error = None, None
        try:
            value = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 (handed on)
            error = thrown
