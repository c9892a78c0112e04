"""Why a source did not deliver; the store collects these and raises one `ModelError`.

Nothing here reaches a user: the classes say what to try next, their text is a clause for the
sentence of the `ModelError`. What may not live here: anything that acts.
"""

from __future__ import annotations

from email.message import Message

__all__ = ["CutError", "RefusedError", "SourceError", "UnreachableError", "WrongBytesError"]


class SourceError(Exception):
    """This source cannot deliver the file; the next one may."""


class UnreachableError(SourceError):
    """No connection to its host; every source on that host is skipped for a while."""


class CutError(SourceError):
    """The connection broke or stood still; what is here already can be continued."""


class RefusedError(SourceError):
    """The host answered, with an HTTP status that is not a success."""

    def __init__(self, reason: str, *, status: int, headers: Message) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class WrongBytesError(SourceError):
    """What it delivers is not the declared file: another size or another hash."""
