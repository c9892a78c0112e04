"""Blocks: what begins a line. Headings, lists, tables, rulers, quotes, code blocks.

What may not live here: markup within a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ._reader import BLOCK, LINE, Atom, Reader

__all__ = ["FENCE", "SILENT", "Blocks"]

# ruff: noqa: RUF001  (dashes are what this is about)

# Control characters, marks of direction, halves of a surrogate pair, private use; pictures and
# decorations, after Unicode's Extended_Pictographic and the blocks of box drawing, shapes and
# dingbats. ©, ®, ™, ‼ and ⁉ are read as words and punctuation, and stay.
SILENT = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\uf8ff\ufe00-\ufe0f\ufeff\ufff0-\uffff\u20e3"
    "\u231a\u231b\u2328\u2388\u23cf\u23e9-\u23fa\u24c2\u2500-\u27bf\u2934\u2935\u2b05-\u2b07"
    "\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff\U000e0001-\U000e007f]"
)
_RULE = re.compile(r"[-*_=+|: \t]*")
_BULLETS = re.compile(r"(?:[-*+][ \t]+)+")
_NUMBER = re.compile(r"\d{1,3}(?:[.)](?P<space>[ \t])?)?")
_CHECKBOX = re.compile(r"\[(?:[ xX](?:\](?P<space>[ \t])?)?)?")
_LONGEST_INFO = 200  # characters after a fence; a language has a few
FENCE = 3  # backticks or tildes, at least


class Blocks(Reader):
    """Knows what the start of a line makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self._pending = ""  # LINE or BLOCK, due before the next thing that is said
        self._heading = False
        self._item = False  # after a bullet, in whose line a checkbox may stand
        self._fence = ""
        self._blank = False  # in a code block: only white space since the line began
        self._ticks = 0  # of the code within a line

    def _mark(self, pending: str = "") -> None:
        """Say the line's or block's end that is due, now that something follows it."""
        kind = BLOCK if BLOCK in (pending, self._pending) else self._pending
        self._pending = ""
        if kind:
            self._atoms.append(Atom(kind, ""))

    def _content(self) -> bool:
        """Nothing special begins the line."""
        self._mark()
        return self._go(self._in_text)

    def _end_line(self) -> bool:
        self._pending = BLOCK if self._heading else LINE
        self._heading = self._item = False
        self._take(1, " ")
        return self._go(self._at_line_start)

    def _at_line_start(self) -> bool:
        first = self._held[0]
        if first == "\n":
            self._pending = BLOCK
        if first.isspace():
            return self._take(1, " ")
        handler = _HANDLERS.get(first)
        if handler:
            return handler(self)
        if SILENT.match(first):
            self._mark(BLOCK)  # a picture in a bullet's place
            return self._take(1)
        return self._content()

    def _at_quote(self) -> bool:
        return self._take(1)

    def _at_sign(self) -> bool:
        """A bullet that is not on the keyboard, or the dash of a dialogue."""
        if self._wait(1):
            return False
        if self._held[1:2].isspace() or self._held[0] == "•":
            self._mark(BLOCK)
            return self._take(1)
        return self._content()

    def _at_picture(self) -> bool:
        if self._wait(1):
            return False
        self._mark(BLOCK if self._held[1:2] == "[" else "")
        return self._content()

    def _at_checkbox(self) -> bool:
        box = _CHECKBOX.match(self._held) if self._item else None
        length = box.end() if box else 0
        if box and self._wait(length):
            return False
        if box and box["space"]:
            return self._take(length)
        return self._content()

    def _at_rule(self) -> bool:
        """A ruler, a table's separator, a bullet, a table's row, or text with an asterisk."""
        rule = _RULE.match(self._held)
        length = rule.end() if rule else 0
        if self._wait(length):
            return False
        if self._held[length : length + 1] in {"", "\n"}:
            self._pending = BLOCK
            return self._take(length)
        bullet = _BULLETS.match(self._held)
        if bullet:
            self._mark(BLOCK)
            self._item = True
            return self._take(bullet.end())
        if self._held[0] == "|":
            self._mark(BLOCK)
            self._item = True
            self._take(1)
            return self._go(self._in_text)
        return self._content()

    def _at_heading(self) -> bool:
        length = self._run()
        if self._wait(length):
            return False
        if length == 1 and not self._held[1:2].isspace():
            return self._content()  # a hashtag
        self._mark(BLOCK)
        self._heading = True
        self._take(length)
        return self._go(self._in_text)

    def _at_number(self) -> bool:
        number = _NUMBER.match(self._held)
        length = number.end() if number else 0
        if self._wait(length):
            return False
        if number and number["space"]:
            self._mark(BLOCK)
            # Said as "1." however it is written: the stop makes the pause.
            self._take(length - 1, self._held[: length - 2] + ".")
            return self._go(self._in_text)
        return self._content()

    def _at_fence(self) -> bool:
        length = self._run()
        if length >= FENCE:
            self._mark(BLOCK)
        if self._wait(length):
            return False
        if length < FENCE:
            return self._content()
        self._fence = self._held[:length]
        self._take(length)
        return self._go(self._in_fence_info)

    def _in_fence_info(self) -> bool:
        """The rest of a fence's line; a backtick in it says that it is code within a line."""
        end = re.search("[\n`]" if self._fence[0] == "`" else "\n", self._held)
        if end is None and self._wait(len(self._held), _LONGEST_INFO):
            return False
        if end and end[0] == "`":
            self._ticks = len(self._fence)
            return self._go(self._in_code)
        self._take(end.end() if end else len(self._held))
        self._blank = True
        return self._go(self._in_fence)

    def _in_fence(self) -> bool:
        """A code block, of which nothing is said; it ends with a line that is a fence only."""
        if not self._blank:
            self._blank = self._held[0] == "\n"
        elif self._held[0] == self._fence[0]:
            length = self._run()
            if self._wait(length):
                return False
            if length >= len(self._fence):
                self._take(length)
                self._pending = BLOCK
                return self._go(self._at_line_start)
            self._blank = False
            return self._take(length)
        else:
            self._blank = self._held[0].isspace()
        return self._take(1)


_HANDLERS: dict[str, Callable[[Blocks], bool]] = {
    ">": Blocks._at_quote,
    "#": Blocks._at_heading,
    "!": Blocks._at_picture,
    "[": Blocks._at_checkbox,
    **dict.fromkeys("-*_=+|:", Blocks._at_rule),
    **dict.fromkeys("•◦▪‣●○■–—", Blocks._at_sign),
    **dict.fromkeys("`~", Blocks._at_fence),
    **dict.fromkeys("0123456789", Blocks._at_number),
}
