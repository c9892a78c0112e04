"""evakit's loggers: each record says of which conversation it is, and none what was said.

The id is there for every handler and formatter, without a hook into logging that the host program
would share: `%(conversation_id)s` is None outside of a conversation. What may not live here:
handlers that show something, levels, and formats. They are the host program's.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["about", "keep_quiet", "logger"]

# What runs for a conversation has it in its context: tasks and worker threads inherit it.
_conversation: Final[ContextVar[str | None]] = ContextVar("evakit_conversation", default=None)


@contextmanager
def about(conversation_id: str) -> Generator[None]:
    """Have what is logged in the block, and by what is started in it, carry the id."""
    token = _conversation.set(conversation_id)
    try:
        yield
    finally:
        _conversation.reset(token)


def logger(name: str) -> logging.Logger:
    """Return the logger of that name, whose records carry `conversation_id`.

    For plugins: name it `evakit.` and the backend. Log nothing that was said, at no level, and an
    engine's own chatter at DEBUG.
    """
    found = logging.getLogger(name)
    found.addFilter(_stamp)  # a filter stays when the program configures its handlers
    return found


def keep_quiet() -> None:
    """See to it that nothing is printed while the program has not configured logging."""
    logging.getLogger("evakit").addHandler(_Silence())


def _stamp(record: logging.LogRecord) -> bool:
    if not hasattr(record, "conversation_id"):
        record.conversation_id = _conversation.get()
    return True


class _Silence(logging.NullHandler):
    """Shows nothing, and stamps what comes from loggers that were not made by `logger`.

    Handlers of the root logger see a record after this one.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        return _stamp(record)
