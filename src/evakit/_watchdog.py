"""Says so when a function of the user's keeps the event loop from running, and where.

Each step of a watched coroutine is timed; a thread, there while something is watched, looks at
the steps that are under way. What may not live here: stopping anything, which nobody can.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
import types
from collections.abc import Coroutine, Generator
from typing import Any, Final, TypeVar

from attrs import define, field

__all__ = ["watched"]

T = TypeVar("T")

_LONGEST_STEP: Final = 0.5  # seconds; a reply that is to feel immediate has less in all
_LOOK: Final = 0.1  # seconds between two looks

_log = logging.getLogger(__name__)


@define(eq=False)
class _Watch:
    """One coroutine, and since when its present step is under way."""

    name: str
    thread: int = field(factory=threading.get_ident)
    since: float | None = None
    is_told: bool = False


class _Watchdog:
    """Looks at what is watched, in a thread that ends with the last of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[_Watch] = set()
        self._over = threading.Event()

    def add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.add(watch)
            if len(self._watches) > 1:
                return
            self._over = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(self._over,), name="evakit-watchdog", daemon=True
            )
        thread.start()

    def remove(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.discard(watch)
            if not self._watches:
                self._over.set()

    def _run(self, over: threading.Event) -> None:
        while not over.wait(_LOOK):
            with self._lock:
                watches = list(self._watches)
            for watch in watches:
                since = watch.since
                if since is None or watch.is_told or time.monotonic() - since < _LONGEST_STEP:
                    continue
                watch.is_told = True
                _log.warning(
                    "%s has kept the event loop from running for %.1f s: await what takes long, "
                    "or make it a plain function, which runs in a thread; it is at\n%s",
                    watch.name,
                    time.monotonic() - since,
                    _stack(watch.thread),
                )


def _stack(thread: int) -> str:
    """Return where a thread is, without what lies below the watched step."""
    frames = traceback.extract_stack(sys._current_frames().get(thread))
    ours = [i for i, frame in enumerate(frames) if frame.filename == __file__]
    return "".join(traceback.format_list(frames[ours[-1] + 1 :] if ours else frames)).rstrip()


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
