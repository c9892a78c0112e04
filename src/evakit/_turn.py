"""AsyncTurn: one turn as a block. Inside it events come; leaving it ends the turn.

What may not live here: what the stages do (`_pipeline.py`), and history (`conversation.py`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import anyio
from attrs import evolve

from ._failures import one_error
from ._pipeline import Emit, TurnProgress
from .audio import Audio
from .errors import BackendError, ConversationBusyError
from .events import (
    AudioReady,
    Event,
    Reply,
    TokenGenerated,
    TurnFailed,
    TurnFinished,
    TurnInterrupted,
)
from .timings import TurnTimings

__all__ = ["AsyncTurn"]

# Events that may wait for their reader. A reader who plays each chunk reads in bursts, and the
# tokens of the next clauses must not be held up by that; a reply of a few hundred words fits.
_WAITING_EVENTS: Final = 1024


class AsyncTurn:
    """A turn: an async context manager, and an iterator over its events.

    The block is the turn: leaving it before the events end interrupts the reply, and all work
    behind it stops within one chunk. A chunk of audio counts as played when the next event is
    asked for; `played` corrects that.
    """

    def __init__(
        self,
        work: Callable[[Emit, TurnProgress], Awaitable[None]],
        begin: Callable[[AsyncTurn], None],
        finish: Callable[[Reply | None, BaseException | None, bool], None],
        observe: Callable[[Event], None],
        interruptible: bool = True,
    ) -> None:
        self._work = work
        self._begin = begin
        self._finish = finish
        self._observe = observe
        self._interruptible = interruptible
        self._entered = False
        self._cut = False  # the reply was interrupted from outside the block
        self._complete = False  # all stages ran to their end
        self._all_taken = False  # and the reader took every event
        self._failure: BaseException | None = None
        self._told = False  # the reader was told of the failure
        self._delivered = 0  # samples whose event was taken
        self._played = 0  # samples that count as played
        self._played_said: int | None = None  # what the caller said instead
        self._shown = ""  # text whose event was taken
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The turn as a whole; there once the turn is over.

        Raises:
            ConversationBusyError: the turn is not over yet.

        """
        if self._reply is None:
            raise ConversationBusyError(
                "The reply is not complete yet; take all events, or leave the turn's block first."
            )
        return self._reply

    def played(self, n_samples: int) -> None:
        """Say how many samples of the reply, counted from its start, were really played."""
        self._played_said = n_samples

    @property
    def interruptible(self) -> bool:
        """Whether `interrupt` does anything."""
        return self._interruptible

    def interrupt(self) -> bool:
        """Stop the reply, as somebody who speaks into it would; from any task of the event loop.

        Its events end, and what was played until now counts. Return False, and do nothing, when
        the turn is not interruptible, or is not running.
        """
        if not self._interruptible or not self._entered or self._reply is not None:
            return False
        self._cut = True
        self._scope.cancel()
        return True

    async def _stop(self, error: BaseException) -> None:
        """Stop the work from outside the block and wait until it has ended.

        The reader gets `error` instead of the next event.
        """
        if not self._complete and self._failure is None:
            self._failure = error
        self._scope.cancel()
        await self._ended.wait()

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConversationBusyError("A turn is used once; ask the conversation for another.")
        self._begin(self)
        self._entered = True
        self._progress = TurnProgress(TurnTimings(input_complete_at=anyio.current_time()))
        self._send, self._receive = anyio.create_memory_object_stream[Event](_WAITING_EVENTS)
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
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
        self._tasks.cancel_scope.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._receive.close()
            reply = None
            try:
                reply = self._end()
            finally:
                self._finish(reply, self._failure, self._told or exc is not None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            EvakitError: a stage failed; the turn is over.

        """
        if not self._entered:
            raise ConversationBusyError(
                "The turn has not begun; iterate inside its block: with conversation.turn(...) "
                "as turn."
            )
        if not self._cut:
            self._played = self._delivered
        try:
            event = await self._receive.receive()
            if self._cut and self._failure is None:
                raise StopAsyncIteration
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            if self._failure is not None and not self._told:
                self._told = True
                raise self._failure from self._failure.__cause__
            raise StopAsyncIteration from None
        match event:
            case TurnFinished(reply):
                self._reply = reply
                self._all_taken = True
            case AudioReady(audio):
                self._delivered += len(audio)
            case TokenGenerated(text):
                self._shown += text
        return event

    async def _run(self) -> None:
        """Run the stages; a failure is kept for whoever asks for the next event."""
        try:
            with self._send, self._scope:
                await self._work(self._emit, self._progress)
                self._complete = True
                # Observers are told at the end of the block, when it is known what was played.
                await self._send.send(TurnFinished(self._sum_up(played=None)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (raised from __anext__)
            self._fail(error)
        except BaseExceptionGroup as group:  # on trio, a failure beside the cancellation
            failures, rest = group.split((Exception, SystemExit))
            if failures is not None:
                self._fail(failures)
            if rest is not None:
                raise rest from None
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # An engine's own cancellation got out of it: nobody cancelled this task.
            self._fail(
                BackendError(
                    "A backend ended with a cancellation that nobody asked for; "
                    "see which with logging at DEBUG, or choose another.",
                    backend="unknown",
                )
            )
        finally:
            self._ended.set()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = one_error(error)

    async def _emit(self, event: Event) -> None:
        await self._send.send(event)
        self._observe(event)

    def _end(self) -> Reply:
        """Decide, now that nothing runs any more, how much of the reply was played."""
        everything = self._progress.playout.samples
        played = everything if self._all_taken else self._played
        if self._played_said is not None:
            played = self._played_said
        finished = self._complete and (played >= everything if everything else self._all_taken)
        if not finished or self._reply is None:
            self._reply = self._sum_up(played=None if finished else played)
        if self._failure is not None:
            self._observe(TurnFailed(self._failure, self._reply))
        elif finished:
            self._observe(TurnFinished(self._reply))
        else:
            self._observe(TurnInterrupted(self._reply))
        return self._reply

    def _sum_up(self, *, played: int | None) -> Reply:
        """Make the reply; `played` is None when all of it was, else a number of samples."""
        progress = self._progress
        if played is None:
            heard = progress.text
        else:
            heard = progress.playout.heard(played) if progress.speaks else self._shown
        transcript = progress.transcript
        return Reply(
            heard=None if transcript is None else transcript.text,
            text=progress.text,
            played=heard,
            audio=Audio.join(progress.audio) if progress.audio else None,
            timings=evolve(progress.timings, finished_at=anyio.current_time()),
            transcript=transcript,
            interrupted=played is not None,
            degraded=progress.degraded,
        )
