"""Playout: which of a reply's words were heard, from how many samples were played. Pure.

What may not live here: playing audio, and the history that is cut with the answer.
"""

from __future__ import annotations

from typing import Final

from attrs import define, evolve, field

from .abc import Speech
from .clauses import Clause

__all__ = ["Playout"]

# Characters a second of unhurried read speech, for a first clause whose full length is not known
# because its synthesis was cut short. English and French read speech lie at 13 to 16.
_CHARACTERS_PER_SECOND: Final = 14.0


@define
class _Span:
    """The audio of some clauses, up to the chunk with which they are over."""

    clauses: slice
    """Which of those that were written."""
    start: int
    end: int
    words: list[tuple[str, int]]
    """The words spoken of these clauses, each with the sample at which it ends."""


@define
class Playout:
    """Keeps the clauses that were written to a TTS beside the audio that came out.

    Which clauses are over is known from `Speech.clauses`. Words count only inside the clause that
    is being spoken: there may be more or fewer of them than were written.
    """

    samples: int = field(default=0, init=False)
    """All samples that came out so far."""
    _clauses: list[Clause] = field(factory=list)
    _spans: list[_Span] = field(factory=list)
    _words: list[tuple[str, int]] = field(factory=list)  # that came out after the last span
    _has_words: bool = False
    _sample_rate: int = 0

    def wrote(self, clause: Clause) -> None:
        """Note a clause that was handed to the TTS, or one in which there is nothing to say."""
        if not clause.text and self._clauses:  # it is no unit, and goes with the one before
            last = self._clauses.pop()
            clause = evolve(last, written=last.written + clause.written)
        self._clauses.append(clause)

    def spoke(self, speech: Speech) -> None:
        """Note a chunk that came out."""
        words = [(word.text, self.samples + word.end) for word in speech.words or ()]
        self._words += words
        self._has_words = self._has_words or bool(words)
        self.samples += len(speech.audio)
        self._sample_rate = speech.audio.sample_rate if len(speech.audio) else self._sample_rate
        if speech.clauses:
            self._close_span(speech.clauses)

    def _close_span(self, over: int) -> None:
        stop = self._clauses_over + over
        clauses, words = slice(self._clauses_over, stop), self._words
        # The chunk may hold the beginning of the next clause too.
        count = 0
        for following in self._clauses[stop : stop + 1]:
            too_many = len(words) - len(self._text(clauses).split())
            count = _count_ahead([text for text, _ in words], following.text, too_many)
        split = len(words) - count
        self._spans.append(_Span(clauses, self._spans_end, self.samples, words[:split]))
        self._words = words[split:]

    @property
    def _spans_end(self) -> int:
        return self._spans[-1].end if self._spans else 0

    @property
    def _clauses_over(self) -> int:
        stop: int = self._spans[-1].clauses.stop if self._spans else 0
        return stop

    def _text(self, clauses: slice) -> str:
        return " ".join(clause.text for clause in self._clauses[clauses])

    def heard(self, played: int) -> str:
        """Return the beginning of the reply that the first `played` samples say.

        In the middle of a clause it ends after a whole word.
        """
        heard = ""
        words_after = [span.words for span in self._spans[1:]] + [self._words]
        for span, after in zip(self._spans, words_after, strict=False):
            # Where the next clause begins in the same chunk, this one is over before the chunk is.
            is_shared = span.words and after and after[0][1] <= span.end
            if played < (span.words[-1][1] if is_shared else span.end):
                return heard + self._part_of_span(span, played)
            heard += "".join(clause.written for clause in self._clauses[span.clauses])
        return heard + self._part_of_rest(played)

    def _part_of_span(self, span: _Span, played: int) -> str:
        text = self._text(span.clauses)
        if span.words:
            words = text.split()
            spoken = sum(end <= played for _, end in span.words)
            return " ".join(words[: spoken * len(words) // len(span.words)])
        if played <= span.start:
            return ""
        return _part(text + " ", (played - span.start) / (span.end - span.start))

    def _part_of_rest(self, played: int) -> str:
        """Return what was heard of the clauses that are not over."""
        rest = self._clauses[self._clauses_over :]
        if not rest:
            return ""
        if self._has_words:
            count = sum(end <= played for _, end in self._words)
            # Where clauses are counted, all of these words are of the first.
            return _first_words(rest[:1] if self._spans else rest, count)
        start = self._spans_end
        if played <= start:
            return ""
        text = rest[0].text
        known = sum(len(clause.text) for clause in self._clauses[: self._clauses_over])
        pace = start / known if known and start else self._sample_rate / _CHARACTERS_PER_SECOND
        return _part(text, (played - start) / max(len(text) * pace, self.samples - start, 1))


def _count_ahead(spoken: list[str], text: str, most: int) -> int:
    """Return how many of the last words, at most `most`, are those that `text` begins with."""
    begins = [_letters(word) for word in text.split()]
    ends = [_letters(word) for word in spoken]
    for count in range(min(most, len(begins)), 0, -1):
        if ends[-count:] == begins[:count]:
            return count
    return 0


def _letters(word: str) -> str:
    return "".join(character for character in word.casefold() if character.isalnum())


def _first_words(clauses: list[Clause], count: int) -> str:
    heard = ""
    for clause in clauses:
        words = clause.text.split()
        if count < len(words):
            return heard + " ".join(words[:count])
        heard += clause.written
        count -= len(words)
    return heard


def _part(text: str, share: float) -> str:
    """Return the whole words in the first `share` of the characters."""
    limit = int(len(text) * min(share, 1.0))
    words: list[str] = []
    end = 0
    for word in text.split():
        end = text.index(word, end) + len(word)
        if end > limit:
            break
        words.append(word)
    return " ".join(words)
