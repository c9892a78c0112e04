"""Conversation: AsyncConversation without async, one line a method.

Each call runs on the event loop that all of them share (`_loop.py`). What may not live here:
logic of a conversation.
"""

from __future__ import annotations

import atexit
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from ._choices import BackendLike
from ._functions import Texts
from ._loaded import LoadedBackend
from ._loop import Block, Loop
from ._turn import AsyncTurn
from ._turn_input import TurnInput
from .chat import History, Message
from .conversation import AsyncConversation
from .errors import ConversationClosedError
from .events import Event, Reply
from .models import ModelStore, Progress
from .settings import UNSET, Unset
from .stack import Stack

__all__ = ["Conversation", "Turn"]

# Seconds for which the interpreter's exit waits for all that is still open.
_LONGEST_EXIT: Final = 10.0


class Turn:
    """A turn of a `Conversation`: a context manager, and an iterator over its events.

    The block is the turn: leaving it before the events end interrupts the reply, and all work
    behind it stops within one chunk.
    """

    def __init__(self, loop: Loop, turn: AsyncTurn) -> None:
        self._loop = loop
        self._turn = turn
        self._block: Block | None = None

    @property
    def reply(self) -> Reply:
        """The turn as a whole; see `AsyncTurn.reply`."""
        return self._turn.reply

    def played(self, n_samples: int) -> None:
        """Say how many samples of the reply were really played; see `AsyncTurn.played`."""
        self._turn.played(n_samples)

    @property
    def interruptible(self) -> bool:
        """Whether `interrupt` does anything."""
        return self._turn.interruptible

    def interrupt(self) -> bool:
        """Stop the reply from any thread; see `AsyncTurn.interrupt`."""
        return self._loop.open().call(self._turn.interrupt)

    def __enter__(self) -> Self:
        self._block = self._loop.enter(self._turn)
        try:
            self._block.entered.result()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """Return the next event; see `AsyncTurn.__anext__`."""
        try:
            return self._loop.wait_for(self._turn.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def _leave(self) -> None:
        block = self._block
        if block is None or block.ended.is_set():
            return
        try:
            self._loop.open().call(block.leave)
        except ConversationClosedError:  # closed meanwhile, and the turn ended with it
            block.ended.wait()
            return
        try:
            block.task.result()
        except BaseException:
            block.ended.wait()  # a second Ctrl-C does not leave work behind either
            raise


class Conversation:
    """A conversation: it hears, thinks, speaks and remembers.

    Like `AsyncConversation`, without async. Constructing is cheap; entering the block, or first
    use, loads; one that is left unclosed is closed at interpreter exit with a ResourceWarning.
    From a running event loop use `AsyncConversation`: this one would block the loop. What is not
    given is as the Stack has it, and without one as the environment, `evakit.toml` or the default
    say.

    Args:
        stack: Loaded backends to share with other conversations; None for backends of its own.
            Beside one, `stt`, `llm`, `tts`, `device` and the last three arguments are an error.
        stt: What hears, in any form that a `Stack` takes; None leaves the stage out.
        llm: What thinks, likewise.
        tts: What speaks, likewise.
        voice: The name of the voice; None for the stack's, or one that fits.
        language: What may be spoken: a tag such as `fr`, or several; None for the stack's, or any.
        device: Where models run whose names say no device: `auto`, `cpu`, `cuda`, `cuda:0`.
        system: The system prompt; None or an empty text is none.
        history: What was said before: a `History`, messages, or dictionaries as OpenAI takes them.
        observers: Functions or hooks that are told each event and the conversation's `id`.
        plugins: Modules and objects with hooks, beside the plugins that are installed.
        store: Where models are kept and fetched to; None for the usual folder.
        progress: Told a model's name, its bytes here and all its bytes while it is fetched.

    Raises:
        ConfigurationError: a setting makes no sense, wherever it stands, or is given beside a
            stack that has its own.

    """

    def __init__(
        self,
        stack: Stack | None = None,
        *,
        stt: BackendLike | Unset = UNSET,
        llm: BackendLike | Unset = UNSET,
        tts: BackendLike | Unset = UNSET,
        voice: str | Unset | None = UNSET,
        language: str | Sequence[str] | Unset | None = UNSET,
        device: str | Unset | None = UNSET,
        system: str | Unset | None = UNSET,
        history: History | Iterable[Message | Mapping[str, Any]] | None = None,
        observers: Iterable[object] = (),
        plugins: Iterable[object] = (),
        store: ModelStore | None = None,
        progress: Progress | None = None,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in {"self", "stack"}}
        self._conversation = AsyncConversation(stack, **arguments)
        self._loop = Loop()

    @property
    def id(self) -> str:
        """Names the conversation in logs and to backends."""
        return self._conversation.id

    @property
    def history(self) -> History:
        """What was said so far; changes only between turns."""
        return self._conversation.history

    @property
    def backends(self) -> Mapping[str, LoadedBackend]:
        """The loaded backends by stage, and where each was found to be."""
        return self._conversation.backends

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def load(self) -> None:
        """Load the backends; see `AsyncConversation.load`."""
        try:
            self._use().wait_for(self._conversation.load)
        except BaseException:
            _unclosed.discard(self)
            self._loop.give_up()
            raise

    def close(self) -> None:
        """End the conversation; see `AsyncConversation.aclose`."""
        try:
            self._loop.shut(self._conversation.aclose)
        finally:
            _unclosed.discard(self)

    def turn(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> Turn:
        """Return the turn that begins with what the user `said`; see `AsyncConversation.turn`."""
        return Turn(self._use(), self._conversation.turn(said, voice=voice, language=language))

    def respond(
        self,
        said: TurnInput,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
    ) -> Reply:
        """Run a turn to its end and return the reply; see `AsyncConversation.respond`.

        An empty text is like silence: the reply is empty too. (`say` refuses one.)
        """
        return self._use().wait_for(
            self._conversation.respond, said, voice=voice, language=language
        )

    def saying(
        self,
        text: Texts,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
        interruptible: bool = True,
    ) -> Turn:
        """Return the turn in which `text` is said; see `AsyncConversation.saying`."""
        return Turn(
            self._use(),
            self._conversation.saying(
                text, voice=voice, language=language, interruptible=interruptible
            ),
        )

    def say(
        self,
        text: Texts,
        *,
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
        interruptible: bool = True,
    ) -> Reply:
        """Say a text without the LLM; see `AsyncConversation.say`.

        An empty text is a `ConfigurationError`. (`respond` replies nothing to one.)
        """
        return self._use().wait_for(
            self._conversation.say,
            text,
            voice=voice,
            language=language,
            interruptible=interruptible,
        )

    def configure(
        self,
        *,
        voice: str | Unset | None = UNSET,
        language: str | Sequence[str] | Unset | None = UNSET,
        system: str | Unset | None = UNSET,
        history: History | Iterable[Message | Mapping[str, Any]] | Unset = UNSET,
        observers: Iterable[object] | Unset = UNSET,
    ) -> None:
        """Change what is given from the next turn on; see `AsyncConversation.configure`."""
        self._conversation.configure(
            voice=voice, language=language, system=system, history=history, observers=observers
        )

    def _use(self) -> Loop:
        """Return the loop, and see to it that the conversation is closed at exit at the latest."""
        self._conversation.require_open()
        _unclosed.add(self)
        return self._loop


_unclosed: Final[set[Conversation]] = set()


@atexit.register
def _close_at_exit() -> None:
    deadline = time.monotonic() + _LONGEST_EXIT
    # The parent's, in a forked child, have their threads elsewhere.
    left = [c for c in _unclosed if not c._loop.is_elsewhere]
    for conversation in left:
        last = conversation._conversation.aclose
        conversation._loop.shut_at_exit(last, max(0.0, deadline - time.monotonic()))
    for conversation in left:  # afterwards, for where warnings are errors
        warnings.warn(
            f"A conversation ({conversation.id}) was left unclosed; use it in a with block.",
            ResourceWarning,
            stacklevel=1,
            source=conversation,
        )
