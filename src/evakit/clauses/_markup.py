"""Markup: what of a reply is said.

Markdown, HTML tags, code blocks, emoji and the tails of URLs are written, not said. An address
is said by its host alone: the letters of a path or query are noise to the ear, and the listener
has the text. What may not live here: where sentences and clauses end.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from ._blocks import FENCE, SILENT, Blocks
from ._reader import BLOCK, CELL

__all__ = ["Markup"]

# ruff: noqa: RUF001  (typographic quotes and full-width signs are what this is about)
_JOINERS = "\u200c\u200d"
_TAG_START = re.compile(
    r"""<(?:!(?:-(?:-[^>]*+)?)?|/?(?:[A-Za-z][\w:-]*+(?:\s++[\w:@-]++(?:\s*+=\s*+(?:"[^"]*+"?+|
    '[^']*+'?+|[^\s"'<>]*+))?+)*+\s*+/?)?)>?""",
    re.VERBOSE,
)
_AUTOLINK_START = re.compile(r"<[A-Za-z][\w.+-]*(?:[:@][^\s<>]*>?)?")
_BLOCK_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|h[1-6]|hr|blockquote|table)\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\w{0,8}|[A-Za-z]\w{0,23})?;?")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{0,40}\]?")
_SCHEMES = ("http://", "https://", "www.")
_URL_ENDS = ' \t\r\n\v\f\xa0\u202f\u2028\u3000<>"`*|[]{}«»“”—。，、）'
_AUTHORITY = re.compile(rf"(?:https?://|www\.)[^{re.escape(_URL_ENDS)}\s/?#()]*")
_HOST = re.compile(r"(?:https?://)?(?:[^@]*@)?(?:www\.)?(?P<host>[^:/]*)")
_PUNCTUATION = ".,;:!?'’…"

# Longer than what is ever meant; until then text is held back to see what it becomes.
_LONGEST_TAG = 300
_LONGEST_HOST = 253  # characters of a DNS name


class Markup(Blocks):
    """Takes a reply one character at a time, and says which of it is spoken."""

    def __init__(self) -> None:
        super().__init__()
        self._emphasis = False  # within *...*
        self._depth = 0  # of parentheses in an address

    def _in_text(self) -> bool:
        first = self._held[0]
        if first.isalnum():
            if first in "hw" and not self._before.isalnum():
                return self._at_scheme()
            return self._take(1, first)
        if first.isspace():
            return self._end_line() if first == "\n" else self._take(1, " ")
        handler = _HANDLERS.get(first)
        if handler:
            return handler(self)
        if first in _JOINERS:
            return self._take(1, first if self._said_before else "")
        return self._take(1, "" if SILENT.match(first) else first)

    def _end_line(self) -> bool:
        self._emphasis = False
        return super()._end_line()

    def _at_scheme(self) -> bool:
        for scheme in _SCHEMES:
            if self._held.startswith(scheme):
                return self._go(self._in_host)
            if scheme.startswith(self._held) and not self._over:
                return False
        return self._take(1, self._held[0])

    def _in_host(self) -> bool:
        authority = _AUTHORITY.match(self._held)
        length = authority.end() if authority else 1
        if self._wait(length, _LONGEST_HOST):
            return False
        length = len(self._held[:length].rstrip(_PUNCTUATION))
        host = _HOST.match(self._held[:length])
        self._depth = 0
        self._take(length, host["host"] if host else "")
        return self._go(self._in_address)

    def _in_address(self) -> bool:
        """What follows a host: not said, up to white space; the punctuation after it is."""
        first = self._held[0]
        if first in _PUNCTUATION:
            length = len(self._held) - len(self._held.lstrip(_PUNCTUATION))
            if self._wait(length):
                return False
            ends = self._held[length : length + 1]
            if not ends or ends in _URL_ENDS or (ends == ")" and not self._depth):
                for character in self._held[:length]:
                    self._take(1, character)
                return self._go(self._in_text)
            return self._take(length)
        self._depth += {"(": 1, ")": -1}.get(first, 0)
        if first in _URL_ENDS or first.isspace() or self._depth < 0:
            return self._go(self._in_text)
        return self._take(1)

    def _at_emphasis(self) -> bool:
        """Asterisks, underscores, tildes: markup, unless they are a sign or part of a name."""
        first, length = self._held[0], self._run()
        if self._wait(length):
            return False
        before, after = self._before, self._held[length : length + 1]
        if first == "*":
            sign = length == 1 and (
                (before.isspace() and after.isspace())
                or (not self._emphasis and before.isalnum() and after.isalnum())
            )
            self._emphasis ^= length == 1 and not sign
        elif first == "_":
            sign = before.isalnum() and after.isalnum()
        else:
            sign = length == 1
        return self._take(length, self._held[:length] if sign else "")

    def _at_ticks(self) -> bool:
        length = self._run()
        if self._wait(length):
            return False
        self._ticks = length
        self._take(length)
        if length >= FENCE:  # small models open code blocks in the middle of a line
            self._fence = "`" * length
            return self._go(self._in_fence_info)
        return self._go(self._in_code)

    def _in_code(self) -> bool:
        """Code within a line: its text is said as it stands, up to as many backticks."""
        first = self._held[0]
        if first == "\n":
            return self._end_line()
        if first == "`":
            length = self._run()
            if self._wait(length):
                return False
            if length == self._ticks:
                self._state = self._in_text
            return self._take(length)
        return self._take(1, " " if first.isspace() else "" if SILENT.match(first) else first)

    def _at_exclamation(self) -> bool:
        if self._wait(1):
            return False
        return self._take(1, "" if self._held[1:2] == "[" else "!")

    def _at_bracket(self) -> bool:
        """The text of a link, or any square bracket: what is inside is said without it."""
        if self._wait(1):
            return False
        note = _FOOTNOTE.match(self._held)
        if note and self._wait(note.end(), _LONGEST_TAG):
            return False
        if note and note[0][-1] == "]":
            return self._take(note.end())
        return self._take(1, " " if self._before.isalnum() else "")

    def _at_bracket_end(self) -> bool:
        if self._wait(1):
            return False
        after = self._held[1:2]
        if after == "(":
            self._take(2)
            self._depth = 1
            return self._go(self._in_target)
        return self._take(1, " " if after.isalnum() else "")

    def _in_target(self) -> bool:
        """The address of a link, of which nothing is said."""
        if self._held[0] == "\n":
            return self._go(self._in_text)
        self._depth += {"(": 1, ")": -1}.get(self._held[0], 0)
        if self._depth == 0:
            self._state = self._in_text
        return self._take(1)

    def _at_tag(self) -> bool:
        link = _AUTOLINK_START.match(self._held)
        tag = _TAG_START.match(self._held)
        length = max(tag.end() if tag else 0, link.end() if link else 0)
        closed = self._held[length - 1 : length] == ">" if length else False
        if not closed and self._wait(length or 1, _LONGEST_TAG):
            return False
        if not closed:
            return self._take(1, "<")
        if link and link.end() == length and re.search("[:@]", link[0]):
            return self._take(1)  # its > is dropped when it comes
        if _BLOCK_TAG.match(self._held):
            self._take(length, " ")
            self._pending = BLOCK
            return self._go(self._at_line_start)
        return self._take(length)

    def _at_tag_end(self) -> bool:
        if self._wait(1):
            return False
        return self._take(1, ">" if self._before.isspace() and self._held[1:2].isspace() else "")

    def _at_entity(self) -> bool:
        entity = _ENTITY.match(self._held)
        length = entity.end() if entity else 1
        closed = self._held[length - 1] == ";"
        if not closed and self._wait(length, _LONGEST_TAG):
            return False
        said = html.unescape(self._held[:length]) if closed else ""
        if not closed or said == self._held[:length]:
            return self._take(1, "&")
        return self._take(length, " " if said.isspace() else said)

    def _at_escape(self) -> bool:
        if self._wait(1):
            return False
        after = self._held[1:2]
        if after and not after.isalnum() and not after.isspace():
            return self._take(2, after)
        is_path = self._before.isalnum() or self._before == ":"
        return self._take(1, "\\" if is_path and after.isalnum() else "")

    def _at_cell(self) -> bool:
        return self._take(1, CELL)

    def _at_hash(self) -> bool:
        return self._take(1, "" if self._heading and not self._before.isalnum() else "#")


_HANDLERS: dict[str, Callable[[Markup], bool]] = {
    "*": Markup._at_emphasis,
    "_": Markup._at_emphasis,
    "~": Markup._at_emphasis,
    "`": Markup._at_ticks,
    "!": Markup._at_exclamation,
    "[": Markup._at_bracket,
    "]": Markup._at_bracket_end,
    "<": Markup._at_tag,
    ">": Markup._at_tag_end,
    "&": Markup._at_entity,
    "\\": Markup._at_escape,
    "|": Markup._at_cell,
    "#": Markup._at_hash,
}
