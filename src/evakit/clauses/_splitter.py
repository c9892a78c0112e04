"""ClauseSplitter: cuts what is said of a reply into clauses, each as soon as it is certain.

What may not live here: what markup is (`_markup`), and where sentences end (`_sentences`).
"""

from __future__ import annotations

import re
import unicodedata

from attrs import frozen

from ._markup import Markup
from ._reader import BLOCK, CELL, LINE
from ._sentences import find_sentence_end

__all__ = ["Clause", "ClauseSplitter", "split_clauses"]

_SHORTEST = 12
"""Characters. A sentence shorter than this is spoken with the next one of its paragraph: alone,
"Yes." sounds clipped, and ends before the next clause can be ready."""
_SHORTEST_FIRST = 25
"""Characters. The first clause of a reply may end within a sentence when it is this long:
about 1.5 s of speech, in which the next clause is prepared."""
_LONGEST = 300
"""Characters. Where no end has come by then, the clause is cut at the best place in it."""
_SHORT_LINE = 50
"""Characters. A shorter line was ended on purpose; a longer one may have been wrapped."""

# ruff: noqa: RUF001  (dashes and full-width signs are what this is about)
_PAUSES = ",;:–—"
_WIDE_PAUSES = "，、；："
_LATE_PAUSE = re.compile(r"[,;:–—](?= )|[，、；：—]")
_CONJUNCTION = re.compile(
    r" (?=(?:and|or|but|because|so|that|which|who|where|when|while|if|with|"
    r"et|ou|mais|car|donc|parce|puis|que|qui|dont|où|quand|lorsque|si|avec) )"
)
_EARLIEST_CUT = 100  # characters; where a clause that is too long may be cut
_TRAILING_DASH = re.compile(r"\s[-–—]$|—$")
_GLUE = " .,;:!?…)]}»”"
"""Never the beginning of anything: belongs to what stands before it."""


@frozen
class Clause:
    """What is handed to a TTS at once: a sentence, some short ones, or a part of a long one."""

    text: str
    """As to be spoken: without markup, white space folded to single spaces, none around it.
    Empty for a piece in which there is nothing to say, which only the last clause can be."""
    written: str
    """The piece of the reply that it stands for; those of all clauses join up to the reply."""


class ClauseSplitter:
    """Turns the text of one reply, in pieces of any size, into clauses.

    The clauses, and the character at which each is returned, do not depend on how the text was
    cut into pieces. A clause is returned once the text read shows that it is over: as a rule at
    the first letter of the next one. What is not said (code, pictures) belongs to the clause
    before it while that is unfinished, and to the next one otherwise; where none follows, the
    last clause has an empty `text`.

    Args:
        language: a language tag such as `fr` or `en-GB`, which chooses the abbreviations; None,
            or one without a list, means those of all languages.

    """

    def __init__(self, language: str | None = None) -> None:
        self._language = language
        self._markup = Markup()
        self._finished = False
        self._first = True  # no clause with text yet
        self._written: list[str] = []  # the atoms since the last cut
        self._text = ""  # what is said of them, white space folded
        self._sources: list[int] = []  # for each character of that: the index of its atom
        self._sentence = 0  # where in the text the current sentence begins
        self._line = 0  # characters said since the line began
        self._line_end: int | None = None  # where a short line ended, if nothing followed yet
        self._cell = False  # a table's cell ended, and the next has not begun
        self._dropped = False  # something after the last space is not said
        self._clauses: list[Clause] = []

    def feed(self, text: str) -> list[Clause]:
        """Take the next piece of the reply; return the clauses that it completes.

        Raises:
            RuntimeError: the splitter is finished.

        """
        self._check()
        for character in text:
            for said, written in self._markup.feed(character):
                self._add(said, written)
        return self._collected()

    def finish(self) -> list[Clause]:
        """Return what is left, now that the reply is complete.

        Raises:
            RuntimeError: the splitter is finished already.

        """
        self._check()
        self._finished = True
        for said, written in self._markup.finish():
            self._add(said, written)
        if self._written:
            text = self._text.strip()
            self._clauses.append(Clause(text if _is_said(text) else "", "".join(self._written)))
        return self._collected()

    def _check(self) -> None:
        if self._finished:
            raise RuntimeError(
                "This ClauseSplitter has finished its reply; make a new one for the next."
            )

    def _collected(self) -> list[Clause]:
        clauses, self._clauses = self._clauses, []
        return clauses

    def _add(self, said: str, written: str) -> None:
        if said in {BLOCK, LINE}:
            self._end_line(said)
            return
        self._written.append(written)
        if said == CELL:
            self._cell = True
        elif said == " ":
            self._add_space()
        elif not said:
            self._dropped = True
        else:
            for character in said:
                self._add_character(character)

    def _add_space(self) -> None:
        if not self._text or self._text[-1] == " ":
            return
        self._append(" ")
        self._dropped = False
        if self._text[-2] in ".)" and self._text[-3:-2].isdigit():  # the number of a list?
            self._cut_at_sentence()

    def _add_character(self, character: str) -> None:
        text = self._text
        if self._cell:
            self._cell = False
            if text.strip():
                self._remove_space()
                if self._text[-1] not in ".,;:!?":
                    self._append(",")
                self._append(" ")
        elif self._dropped and character in ".,;:!?)" and text[-1:] == " ":
            self._remove_space()  # "Great 😊!"
        before = self._text[-1:]
        self._append(character)
        if character.isalnum():
            if not before.isalnum():
                self._cut_before_word()
        elif character not in _GLUE:
            self._cut_at_pause()
        if len(self._text) > _LONGEST:
            self._cut(self._late_place())

    def _append(self, character: str) -> None:
        self._text += character
        self._sources.append(len(self._written) - 1)
        self._line += 1

    def _remove_space(self) -> None:
        if self._text[-1:] == " ":
            self._text = self._text[:-1]
            self._sources.pop()

    def _end_line(self, kind: str) -> None:
        self._cell = False
        if kind == BLOCK:
            self._cut(len(self._text))
        elif self._line < _SHORT_LINE and self._text.rstrip()[-1:] not in tuple(",(&-–—/"):
            self._line_end = len(self._text)
        self._line = 0

    def _cut_before_word(self) -> None:
        """A word begins with the last character: cut where that shows an end."""
        line_end, self._line_end = self._line_end, None
        if line_end is not None and (self._text[-1].isupper() or self._text[-1].isdigit()):
            self._cut(line_end)
        elif not self._cut_at_sentence():
            self._cut_at_pause()

    def _cut_at_sentence(self) -> bool:
        place = find_sentence_end(self._text, self._sentence, self._language)
        if place is None:
            return False
        if len(self._text[:place].strip()) >= _SHORTEST:
            self._cut(place)
        else:
            self._sentence = place
        return True

    def _cut_at_pause(self) -> None:
        """In the first clause: a comma, colon or dash ends it once it is long enough."""
        text = self._text
        if not self._first or len(text) <= _SHORTEST_FIRST:
            return
        place = len(text) - 1
        if text[-2] in _WIDE_PAUSES or (text[-2] == "—" and text[-3] != " "):
            self._cut(place)
        elif text[-2] == " " and (text[-3] in _PAUSES or text[-4:-1] == " - "):
            place -= 1
            numbers = text[-1].isdigit() and text[: place - 1].rstrip()[-1:].isdigit()
            if place >= _SHORTEST_FIRST and not numbers:
                self._cut(place)

    def _late_place(self) -> int:
        """Where to cut what is too long: at a pause, before a conjunction, at a space, anywhere."""
        text = self._text
        for ends in (_LATE_PAUSE, _CONJUNCTION):
            places = [m.start() + (ends is _LATE_PAUSE) for m in ends.finditer(text, _EARLIEST_CUT)]
            if places and places[-1] < len(text):
                return places[-1]
        place = text.rfind(" ", 1)
        if place > 0:
            return place
        place = len(text) - 1
        while place > _EARLIEST_CUT and unicodedata.combining(text[place]):
            place -= 1
        return place

    def _cut(self, place: int) -> None:
        """End a clause before `place` in the text, if there is something to say in it."""
        rest = place
        while rest < len(self._text) and self._text[rest] == " ":
            rest += 1
        text = self._text[:place].strip()
        if _is_said(text):
            count = self._sources[rest] if rest < len(self._text) else len(self._written)
            if rest > place:  # white space belongs to what it follows, markup to what it precedes
                end = self._sources[place] + 1
                while end < count and self._written[end].isspace():
                    end += 1
                count = end
            self._clauses.append(
                Clause(_TRAILING_DASH.sub(",", text), "".join(self._written[:count]))
            )
            del self._written[:count]
            self._first = False
        else:
            count = 0
        self._text = self._text[rest:]
        self._sources = [source - count for source in self._sources[rest:]]
        self._sentence = 0
        self._line_end = None


def split_clauses(text: str, language: str | None = None) -> list[Clause]:
    """Return the clauses of a whole reply; see ClauseSplitter."""
    splitter = ClauseSplitter(language)
    return [*splitter.feed(text), *splitter.finish()]


def _is_said(text: str) -> bool:
    """Whether a voice has anything to say: punctuation alone is silence."""
    return any(character.isalnum() for character in text)
