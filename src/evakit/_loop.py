"""The event loop that all conversations without async share: one thread, calls that Ctrl-C stops.

The thread starts with the first of them and ends with the last. What may not live here: what a
conversation or a turn is.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from . import _workers
from ._logging import logger
from .errors import ConversationBusyError, ConversationClosedError

__all__ = ["Block", "Call", "Loop"]

T = TypeVar("T")

_log = logger(__name__)


class _Provider:
    """The event loop in its thread: it starts with its first user and ends with its last.

    Not anyio's BlockingPortalProvider: what that leaves open waits, in its destructor, for a
    thread that no longer runs when the interpreter ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._thread: threading.Thread | None = None
        self._portal: Future[BlockingPortal] = Future()

    def __enter__(self) -> BlockingPortal:
        with self._lock:
            if self._thread is None:
                self._portal = Future()
                self._thread = threading.Thread(
                    target=anyio.run,
                    args=(_run_portal, self._portal),
                    name="evakit-portal",
                    daemon=True,
                )
                self._thread.start()
            portal = self._portal.result()
            self._users += 1
            return portal

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._thread is None:
                return
            thread, self._thread = self._thread, None
            portal = self._portal.result()
        portal.call(portal.stop)
        thread.join()
        _workers.dismiss()


async def _run_portal(started: Future[BlockingPortal]) -> None:
    async with BlockingPortal() as portal:
        started.set_result(portal)
        await portal.sleep_until_stopped()


class Loop:
    """The shared event loop, as one conversation holds it."""

    _provider: ClassVar[AbstractContextManager[BlockingPortal]] = _Provider()
    _has_warned: ClassVar[bool] = False

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = None
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._blocks: set[Block] = set()
        self._shut = False
        self._pid: int | None = None  # of the process that uses it

    @classmethod
    def after_fork(cls) -> None:
        """Start afresh in a forked child, where the loop's thread does not run."""
        cls._provider = _Provider()

    @property
    def is_elsewhere(self) -> bool:
        """Whether it was used before this process was forked, and its thread is not here."""
        return self._pid not in {None, os.getpid()}

    def open(self) -> BlockingPortal:
        """Return the loop, after starting it where it does not run.

        Raises:
            ConversationClosedError: the conversation was closed, or this is a forked child.
            ConversationBusyError: this thread is the loop's own.

        """
        if self.is_elsewhere:
            raise ConversationClosedError(
                "This process was forked from one that used the conversation, and engines do "
                "not come along; make a conversation in each worker, after the fork."
            )
        with self._lock:
            if self._shut:
                raise ConversationClosedError("The conversation was closed; make a new one.")
            if self._portal is None:
                self._pid = os.getpid()
                self._portal = self._provider.__enter__()
                self._thread = self._portal.call(threading.get_ident)
            if self._thread == threading.get_ident():
                raise ConversationBusyError(
                    "An observer or async function runs on the conversation's own event loop and "
                    "cannot wait for it; note what happened and act on it elsewhere."
                )
            return self._portal

    def give_up(self) -> None:
        """Let go of the loop, which ends with the last that lets go; `open` gets it back."""
        with self._lock:
            portal, self._portal = self._portal, None
        if portal is not None and not self.is_elsewhere:
            self._provider.__exit__(None, None, None)

    def shut(self, last: Callable[[], Awaitable[None]]) -> None:
        """Run `last` on the loop, leave the blocks that are still open, and let go for good."""
        if self._shut or self.is_elsewhere:
            return  # in a forked child there is nothing of it to close
        self.open()  # not from the loop itself, which cannot wait for its own end
        try:
            self.wait_for(last)
            for block in list(self._blocks):
                self.open().call(block.leave)
                block.ended.wait()
        finally:
            with self._lock:
                self._shut = True
            self.give_up()

    def shut_at_exit(self, last: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do that at the interpreter's exit, which waits at most `seconds` for it.

        What takes longer runs in daemon threads, which end with the process.
        """
        portal = self._portal
        if self._shut or self.is_elsewhere or portal is None:
            return
        over = [portal.start_task_soon(Call(last).run)]
        for block in list(self._blocks):
            portal.start_task_soon(block.leave)
            over.append(block.task)
        done, missing = wait(over, seconds)
        for future in done:
            failure = future.exception()
            if failure is not None:  # its message may quote what was said
                _log.warning("Closing at exit failed with %s", type(failure).__name__)
        self._shut = True
        if missing:
            _log.warning("What was open at exit did not end in time, and is left")
        else:
            self.give_up()

    def enter(self, block: AbstractAsyncContextManager[Any]) -> Block:
        """Enter `block` in a task of the loop."""
        portal = self.open()
        entered = Block(block, self._blocks)
        entered.task = portal.start_task_soon(entered.run)
        return entered

    def wait_for(self, func: Callable[..., Awaitable[T]], *args: object, **kwargs: object) -> T:
        """Run `func` on the loop and wait for it.

        Whatever interrupts the waiting, Ctrl-C among it, cancels `func` and waits until it has
        really ended: a bare `portal.call` would let the work run on.
        """
        portal = self.open()
        self._warn_where_a_loop_stands_still()
        call = Call(lambda: func(*args, **kwargs))
        future: Future[T] | None = None
        try:
            future = portal.start_task_soon(call.run)
            return future.result()
        except BaseException:
            if future is None or not future.done():
                portal.call(call.cancel)
                call.wait()
            raise

    @classmethod
    def _warn_where_a_loop_stands_still(cls) -> None:
        if cls._has_warned or not _is_loop_running():
            return
        cls._has_warned = True
        warnings.warn(
            "A Conversation is used on the thread of a running event loop (as in a notebook), "
            "which stands still until the answer is there; use evakit.AsyncConversation with "
            "await instead.",
            RuntimeWarning,
            stacklevel=_frames_of_ours(),
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Loop.after_fork)


def _is_loop_running() -> bool:
    """Say whether an event loop runs in this thread."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _frames_of_ours() -> int:
    """Return the `stacklevel` with which the caller's warning is about the user's line."""
    package = __name__.partition(".")[0]
    level, frame = 0, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == package:
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level + 1


class Call:
    """One piece of work on the loop, which another thread can cancel and wait for."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work
        self._scope: anyio.CancelScope | None = None
        self._ended = threading.Event()

    async def run(self) -> Any:
        """Do the work."""
        try:
            with anyio.CancelScope() as self._scope:
                return await self._work()
        except (KeyboardInterrupt, SystemExit) as error:
            # Raised here it would end the loop, and with it every conversation of the process.
            raise RuntimeError(f"{type(error).__name__} on the conversations' loop") from error
        finally:
            self._ended.set()

    async def cancel(self) -> None:
        """Cancel the work, or see to it that it never begins."""
        # Tasks of the portal start in the order of asking, so `run` has begun, or never will.
        if self._scope is None:
            self._ended.set()
        else:
            self._scope.cancel()

    def wait(self) -> None:
        """Wait until the work has ended."""
        self._ended.wait()


class Block:
    """Enters and leaves a context manager in one task of the loop, as its task group needs."""

    task: Future[None]

    def __init__(self, block: AbstractAsyncContextManager[Any], blocks: set[Block]) -> None:
        self._block = block
        self._blocks = blocks
        self._leaving: anyio.Event | None = None
        self.entered: Future[None] = Future()
        self.ended = threading.Event()

    async def run(self) -> None:
        """Enter, wait until somebody leaves, and leave."""
        self._leaving = anyio.Event()
        self._blocks.add(self)
        try:
            try:
                await self._block.__aenter__()
            except BaseException as error:
                self.entered.set_exception(error)
                if isinstance(error, Exception):
                    return  # told to whoever waits for `entered`
                raise
            try:
                self.entered.set_result(None)
                await self._leaving.wait()
            finally:
                await self._block.__aexit__(None, None, None)
        finally:
            self._blocks.discard(self)
            self.ended.set()

    async def leave(self) -> None:
        """Let `run` come to its end."""
        if self._leaving is not None:
            self._leaving.set()
