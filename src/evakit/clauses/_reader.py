"""Reader: characters in, Atoms out; the base of what knows markup.

What may not live here: any rule of markup.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["BLOCK", "CELL", "LINE", "LONGEST_RUN", "Atom", "Reader"]

BLOCK = "\f"
"""Said by an atom: a paragraph, heading, list item or table row ends here."""
LINE = "\n"
"""Said by an atom: a line ends here, and the paragraph goes on."""
CELL = "\t"
"""Said by an atom: the border between two cells of a table."""
LONGEST_RUN = 100
"""Characters. Longer rows of one sign are cut here: nobody means them, and nothing may grow."""


class Atom(NamedTuple):
    """A piece of the reply that is said or dropped as one. Those of a reply join up to it."""

    said: str
    """Text; one space for white space; nothing; or one of BLOCK, LINE, CELL."""
    written: str


class Reader(ABC):
    """Takes a reply one character at a time, and says which of it is spoken.

    Each state is a method that looks at the characters held. It takes some of them or changes
    the state and returns True, or returns False to see more; at the end of the reply it decides.
    """

    def __init__(self) -> None:
        self._atoms: list[Atom] = []
        self._held = ""  # read, and not yet decided upon
        self._over = False
        self._state: Callable[[], bool] = self._at_line_start
        self._before = "\n"  # the character before those held
        self._said_before = False  # whether that one is said

    def feed(self, character: str) -> list[Atom]:
        """Take the next character; return what has become certain by it."""
        self._atoms = []
        self._held += character
        while self._held and self._state():
            pass
        return self._atoms

    def finish(self) -> list[Atom]:
        """Return what was held back, now that nothing follows it."""
        self._atoms = []
        self._over = True
        while self._held:
            self._state()
        return self._atoms

    @abstractmethod
    def _at_line_start(self) -> bool:
        """The state at the start of a line."""

    @abstractmethod
    def _in_text(self) -> bool:
        """The state within a line."""

    @abstractmethod
    def _in_code(self) -> bool:
        """The state within the backticks of code in a line."""

    def _take(self, count: int, said: str = "") -> bool:
        """Take characters off; what is said of them is `said`."""
        written, self._held = self._held[:count], self._held[count:]
        self._atoms.append(Atom(said, written))
        self._before = written[-1]
        self._said_before = said not in {"", " "}
        return True

    def _go(self, state: Callable[[], bool]) -> bool:
        self._state = state
        return True

    def _wait(self, taken: int, longest: int = LONGEST_RUN) -> bool:
        """Whether what the first `taken` characters are depends on those to come."""
        return taken == len(self._held) < longest and not self._over

    def _run(self) -> int:
        """Count how often the first character is repeated."""
        return len(self._held) - len(self._held.lstrip(self._held[0]))
