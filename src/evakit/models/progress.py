"""Reporter: how far the fetching of one model is, told to the caller, who may stop it there.

What may not live here: drawing; that is the command line's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .. import _threads
from .integrity import Expected

__all__ = ["Progress", "Reporter", "StoppedError"]

Progress = Callable[[str, int, int | None], None]
"""Called with the model's name, the bytes that are here, and all its bytes (None: not known yet).

The bytes never go down. It is called from the thread that fetches, at least every second while a
source is silent; an exception that it raises stops the fetching, and what is here can be
continued later."""


class StoppedError(Exception):
    """The caller's `progress` raised.

    Wrapped, so that an OSError of the caller (a closed terminal) is not taken for the network's.
    """

    def __init__(self, exception: Exception) -> None:
        super().__init__(str(exception))
        self.exception = exception


class Reporter:
    """The bytes of each file of a model that are here, summed up for the caller."""

    def __init__(self, model: str, progress: Progress | None) -> None:
        self.model = model
        self.total: int | None = None
        self._progress = progress
        self._sizes: dict[str, int] = {}
        self._here: dict[str, int] = {}
        self._told = 0

    def plan(self, files: Iterable[Expected]) -> None:
        """Say which files there are."""
        self._sizes = {file.name: file.size for file in files}
        self.total = sum(self._sizes.values())
        self.tick()

    def reached(self, name: str, n_bytes: int) -> None:
        """Say that so many bytes of a file are here."""
        self._here[name] = max(self._here.get(name, 0), min(n_bytes, self._sizes[name]))
        self.tick()

    def finished(self, name: str) -> None:
        """Say that a file is here, checked."""
        self.reached(name, self._sizes[name])

    def tick(self) -> None:
        """Tell the caller; raises what the caller raises, or its cancellation."""
        _threads.check_cancelled()
        self._told = max(self._told, sum(self._here.values()))
        if self._progress is None:
            return
        try:
            self._progress(self.model, self._told, self.total)
        except Exception as exception:
            raise StoppedError(exception) from exception
