"""Playout: which of a reply's words were heard, from how many samples were played. Pure.

What may not live here: playing audio, and the history that is cut with the answer.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from .abc import Speech
from .clauses import Clause

__all__ = ["Playout"]

# Characters a second of unhurried read speech, for a first clause whose full length is not known
# because its synthesis was cut short. English and French read speech lie at 13 to 16.
_CHARACTERS_PER_SECOND: Final = 14.0


@define
class _Chunk:
    samples: int
    sample_rate: int
    units: int
    word_ends: tuple[int, ...] | None


@define
class Playout:
    """Keeps the clauses that were written to a TTS beside the audio that came out."""

    _clauses: list[Clause] = field(factory=list)
    _chunks: list[_Chunk] = field(factory=list)

    def wrote(self, clause: Clause) -> None:
        """Note a clause that was handed to the TTS."""
        self._clauses.append(clause)

    def spoke(self, speech: Speech) -> None:
        """Note a chunk that came out."""
        ends = None if speech.words is None else tuple(word.end for word in speech.words)
        self._chunks.append(_Chunk(len(speech.audio), speech.audio.sample_rate, speech.units, ends))

    @property
    def samples(self) -> int:
        """All samples that came out so far."""
        return sum(chunk.samples for chunk in self._chunks)

    def heard(self, played: int) -> str:
        """Return the beginning of the reply that the first `played` samples say.

        With word positions, or in the middle of a clause, it ends after a whole word.
        """
        if any(chunk.word_ends is not None for chunk in self._chunks):
            return self._first_words(self._words_played(played))
        return self._by_units(played)

    def _words_played(self, played: int) -> int:
        count = start = 0
        for chunk in self._chunks:
            count += sum(start + end <= played for end in chunk.word_ends or ())
            start += chunk.samples
        return count

    def _first_words(self, count: int) -> str:
        heard = ""
        for clause in self._clauses:
            words = clause.text.split()
            if count < len(words):
                return heard + " ".join(words[:count])
            heard += clause.written
            count -= len(words)
        return heard

    def _by_units(self, played: int) -> str:
        heard, clauses, length = "", iter(self._clauses), 0
        known_characters = known_samples = 0
        for chunk in self._chunks:
            length += chunk.samples
            if not chunk.units:
                continue
            unit = [clause for _, clause in zip(range(chunk.units), clauses, strict=False)]
            if played < length:
                return heard + _part("".join(c.text + " " for c in unit), played / length)
            heard += "".join(clause.written for clause in unit)
            known_characters += sum(len(clause.text) for clause in unit)
            known_samples += length
            played -= length
            length = 0
        rest = next(clauses, None)
        if rest is None or not played or not self._chunks:
            return heard
        pace = self._chunks[-1].sample_rate / _CHARACTERS_PER_SECOND  # samples a character
        if known_characters:
            pace = known_samples / known_characters
        return heard + _part(rest.text, played / max(len(rest.text) * pace, length, 1))


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
