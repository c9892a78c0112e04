"""What of a reply is said: Markup takes characters in and gives Atoms out.

Markdown, HTML tags, code blocks, emoji and the tails of URLs are written, not said. An address
is said by its host alone: letters of a path or query are noise to the ear, and the listener
has the text. What may not live here: where sentences and clauses end.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["BLOCK", "CELL", "LINE", "Atom", "Markup"]

BLOCK = "\f"
"""Said by an atom: a paragraph, heading, list item or table row ends here."""
LINE = "\n"
"""Said by an atom: a line ends here, and the paragraph goes on."""
CELL = "\t"
"""Said by an atom: the border between two cells of a table."""


class Atom(NamedTuple):
    """A piece of the reply that is said or dropped as one. Those of a reply join up to it."""

    said: str
    """Text; one space for white space; nothing; or one of BLOCK, LINE, CELL."""
    written: str


# ruff: noqa: RUF001  (look-alike characters are what this is about)
# Control characters, marks of direction, halves of a surrogate pair, private use; pictures and
# decorations, after Unicode's Extended_Pictographic and the blocks of box drawing, shapes and
# dingbats. ©, ®, ™, ℹ, ‼ and ⁉ are read as words and punctuation, and stay.
_SILENT = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\uf8ff\ufe00-\ufe0f\ufeff\ufff0-\uffff\u20e3"
    "\u231a\u231b\u2328\u2388\u23cf\u23e9-\u23fa\u24c2\u2500-\u27bf\u2934\u2935\u2b05-\u2b07"
    "\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff\U000e0001-\U000e007f]"
)
_JOINERS = "\u200c\u200d"
_RULE = re.compile(r"[-*_=+|: \t]*")
_BULLETS = re.compile(r"(?:[-*+][ \t]+)+")
_SIGN_BULLETS = "•◦▪‣●○■–—"
_NUMBER = re.compile(r"\d{1,3}(?:[.)](?P<space>[ \t])?)?")
_CHECKBOX = re.compile(r"\[(?:[ xX](?:\](?P<space>[ \t])?)?)?")
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
_LONGEST_RULE = 100
_LONGEST_TAG = 300
_LONGEST_INFO = 200
_LONGEST_HOST = 253  # characters of a DNS name
_FENCE = 3  # backticks or tildes


class Markup:
    """Takes a reply one character at a time, and says which of it is spoken."""

    def __init__(self) -> None:
        self._atoms: list[Atom] = []
        self._held = ""  # read, and not yet decided upon
        self._over = False
        self._state: Callable[[], bool] = self._at_line_start
        self._before = "\n"  # the character before those held
        self._said_before = False  # whether that one is said
        self._pending = ""  # LINE or BLOCK, due before the next thing that is said
        self._blank = False  # nothing but white space since the line began
        self._heading = False
        self._item = False
        self._emphasis = False  # within *...*
        self._fence = ""
        self._ticks = 0
        self._depth = 0

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
            if not self._state():
                self._take(len(self._held))
        return self._atoms

    # Each state looks at the held characters. It takes some of them or changes the state and
    # returns True, or returns False to see more; at the end of the reply it always decides.

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

    def _wait(self, taken: int, longest: int) -> bool:
        """Whether what the first `taken` characters are depends on those to come."""
        return taken == len(self._held) < longest and not self._over

    def _run(self) -> int:
        """Count how often the first character is repeated."""
        return len(self._held) - len(self._held.lstrip(self._held[0]))

    def _mark(self, pending: str = "") -> None:
        """Say the line's or block's end that is due, now that something follows it."""
        kind = BLOCK if BLOCK in (pending, self._pending) else self._pending
        self._pending = ""
        if kind:
            self._atoms.append(Atom(kind, ""))

    def _content(self) -> bool:
        self._mark()
        return self._go(self._in_text)

    # At the start of a line.

    def _at_line_start(self) -> bool:
        first = self._held[0]
        if first == "\n":
            self._pending = BLOCK
            return self._take(1, " ")
        if first.isspace():
            return self._take(1, " ")
        if first == ">":
            return self._take(1)
        if first in "-*_=+|:":
            return self._at_rule()
        if first == "!":
            if self._wait(1, 2):
                return False
            self._mark(BLOCK if self._held[1:2] == "[" else "")  # a picture, or text
            return self._content()
        if first in _SIGN_BULLETS:
            if self._wait(1, 2):
                return False
            if self._held[1:2].isspace() or first == "•":
                self._mark(BLOCK)
                return self._take(1)
            return self._content()
        if first == "#":
            return self._at_heading()
        if first in "`~":
            return self._at_fence()
        if first in "0123456789":
            return self._at_number()
        if _SILENT.match(first):
            self._mark(BLOCK)  # a picture in a bullet's place
            return self._take(1)
        if first == "[" and self._item:
            box = _CHECKBOX.match(self._held)
            length = box.end() if box else 0
            if self._wait(length, 4):
                return False
            if box and box["space"]:
                return self._take(length)
        return self._content()

    def _at_rule(self) -> bool:
        """A ruler, a table's separator, a bullet, a table's row, or text with an asterisk."""
        rule = _RULE.match(self._held)
        length = rule.end() if rule else 0
        if self._wait(length, _LONGEST_RULE):
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
        if self._wait(length, _LONGEST_RULE):
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
        if self._wait(length, 5):
            return False
        if number and number["space"]:
            self._mark(BLOCK)
            # Said as "1." however it is written: the stop makes the pause.
            self._take(length - 1, self._held[: length - 2] + ".")
            return self._go(self._in_text)
        return self._content()

    def _at_fence(self) -> bool:
        length = self._run()
        if self._wait(length, _LONGEST_RULE):
            return False
        if length < _FENCE:
            return self._content()
        self._mark(BLOCK)
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
            if self._wait(length, _LONGEST_RULE):
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

    # Within a line.

    def _in_text(self) -> bool:
        first = self._held[0]
        if first.isalnum():
            if first in "hw" and not self._before.isalnum():
                return self._at_scheme()
            return self._take(1, first)
        if first == "\n":
            return self._end_line()
        if first.isspace():
            return self._take(1, " ")
        handler = _HANDLERS.get(first)
        if handler:
            return handler(self)
        if first in _JOINERS:
            return self._take(1, first if self._said_before else "")
        return self._take(1, "" if _SILENT.match(first) else first)

    def _end_line(self) -> bool:
        self._pending = BLOCK if self._heading else LINE
        self._heading = self._item = self._emphasis = False
        self._take(1, " ")
        return self._go(self._at_line_start)

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
            if self._wait(length, _LONGEST_RULE):
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
        if self._wait(length, _LONGEST_RULE):
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
        if self._wait(length, _LONGEST_RULE):
            return False
        self._ticks = length
        self._take(length)
        return self._go(self._in_code)

    def _in_code(self) -> bool:
        """Code within a line: its text is said as it stands, up to as many backticks."""
        first = self._held[0]
        if first == "\n":
            return self._end_line()
        if first == "`":
            length = self._run()
            if self._wait(length, _LONGEST_RULE):
                return False
            if length == self._ticks:
                self._state = self._in_text
            return self._take(length)
        return self._take(1, " " if first.isspace() else "" if _SILENT.match(first) else first)

    def _at_exclamation(self) -> bool:
        if self._wait(1, 2):
            return False
        return self._take(1, "" if self._held[1:2] == "[" else "!")

    def _at_bracket(self) -> bool:
        """The text of a link, or any square bracket: what is inside is said without it."""
        if self._wait(1, 2):
            return False
        note = _FOOTNOTE.match(self._held)
        if note and self._wait(note.end(), _LONGEST_TAG):
            return False
        if note and note[0][-1] == "]":
            return self._take(note.end())
        return self._take(1, " " if self._before.isalnum() else "")

    def _at_bracket_end(self) -> bool:
        if self._wait(1, 2):
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
        if self._wait(1, 2):
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
        if self._wait(1, 2):
            return False
        after = self._held[1:2]
        if after and not after.isalnum() and not after.isspace():
            return self._take(2, after)
        return self._take(1, " " if self._before.isalnum() or self._before == ":" else "")

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
