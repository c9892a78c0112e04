"""AsyncTurn: one turn as a block. Inside it events come; leaving it ends the turn.

What may not live here: what the stages do (`_pipeline.py`), and history (`conversation.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import anyio
from attrs import evolve

from ._failures import single_leaf
from ._pipeline import TurnProgress
from .audio import Audio
from .errors import ConversationBusyError
from .events import AudioReady, Event, Reply, TokenGenerated, TurnFinished, TurnInterrupted
from .timings import TurnTimings

__all__ = ["AsyncTurn"]

_log = logging.getLogger(__name__)

# Events that may wait for their reader. A reader who plays each chunk reads in bursts, and the
# tokens of the next clauses must not be held up by that; a reply of a few hundred words fits.
_WAITING_EVENTS: Final = 1024

Emit = Callable[[Event], Awaitable[None]]


class AsyncTurn:
    """A turn: an async context manager, and an iterator over its events.

    The block is the turn: leaving it before the events end interrupts the reply, and all work
    behind it stops within one chunk. A chunk of audio counts as played when the next event is
    asked for; `played` corrects that.
    """

    def __init__(
        self,
        work: Callable[[Emit, TurnProgress], Awaitable[None]],
        begin: Callable[[], None],
        finish: Callable[[Reply, bool], None],
        observe: Callable[[Event], None],
    ) -> None:
        self._work = work
        self._begin = begin
        self._finish = finish
        self._observe = observe
        self._entered = False
        self._complete = False  # all stages ran to their end
        self._failed = False
        self._untold: BaseException | None = None  # a failure that nobody was told of yet
        self._delivered = 0  # samples whose event was taken
        self._played = 0  # samples that count as played
        self._shown = ""  # text whose event was taken
        self._played_said: int | None = None  # what the caller said instead
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

    async def __aenter__(self) -> Self:
        if self._entered:
            raise ConversationBusyError("A turn is used once; ask the conversation for another.")
        self._begin()
        self._entered = True
        self._progress = TurnProgress(TurnTimings(input_complete_at=anyio.current_time()))
        self._send, self._receive = anyio.create_memory_object_stream[Event](_WAITING_EVENTS)
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
            self._finish(self._end(), self._failed)
        if self._untold is not None and exc is None:
            kind = type(self._untold).__name__  # the message may quote what was said
            _log.warning("A turn was left before it could say that it failed (%s)", kind)

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
        self._played = self._delivered
        try:
            event = await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            if self._untold is not None:
                failure, self._untold = self._untold, None
                raise failure from failure.__cause__
            raise StopAsyncIteration from None
        match event:
            case TurnFinished(reply):
                self._reply = reply
            case AudioReady(audio):
                self._delivered += len(audio)
            case TokenGenerated(text):
                self._shown += text
        return event

    async def _run(self) -> None:
        """Run the stages; a failure is kept for whoever asks for the next event."""
        with self._send:
            try:
                await self._work(self._emit, self._progress)
                self._complete = True
                await self._emit(TurnFinished(self._sum_up(played=None)))
            except Exception as error:  # noqa: BLE001 (raised from __anext__)
                self._failed = True
                self._untold = single_leaf(error)

    async def _emit(self, event: Event) -> None:
        await self._send.send(event)
        self._observe(event)

    def _end(self) -> Reply:
        """Decide, now that nothing runs any more, how much of the reply was played."""
        everything = self._progress.playout.samples
        played = self._played if self._played_said is None else self._played_said
        if self._reply is not None and self._played_said is None:
            played = everything  # all events were taken
        complete = self._complete and played >= everything
        if complete and self._reply is not None:
            return self._reply
        self._reply = self._sum_up(played=None if complete else played)
        if not complete:
            self._observe(TurnInterrupted(self._reply))
        return self._reply

    def _sum_up(self, *, played: int | None) -> Reply:
        """Make the reply; `played` is None when all of it was, else a number of samples."""
        progress = self._progress
        if played is None:
            heard = progress.text
        else:
            heard = progress.playout.heard(played) if progress.audio else self._shown
        transcript = progress.transcript
        return Reply(
            heard=None if transcript is None else transcript.text,
            text=progress.text,
            played=heard,
            audio=Audio.join(progress.audio) if progress.audio else None,
            timings=evolve(progress.timings, finished_at=anyio.current_time()),
            transcript=transcript,
            interrupted=played is not None,
        )
