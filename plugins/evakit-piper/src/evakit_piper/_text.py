"""Text and phonemes made safe for Piper: what is taken out, and where long speech is cut.

Pure functions. What may not live here: reading numbers or symbols as words, which is the
normaliser's work, and splitting a reply into clauses, which is the core's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

__all__ = ["clean", "has_sound", "has_words", "split"]

# Piper reads `[[ ... ]]` as raw phonemes; what an LLM writes there are words.
_RAW_PHONEMES = r"\[(?=\[)|\](?=\])"
_SOUNDING = frozenset({"Ll", "Lu", "Lo", "Nd"})  # letters and digits, no stress or length marks


def clean(text: str) -> str:
    """Return `text` without what espeak-ng cannot take: NUL, control characters, surrogates."""
    text = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)
    return re.sub(_RAW_PHONEMES, r"\g<0> ", text).strip()


def has_words(text: str) -> bool:
    """Say whether there is a letter or a digit in `text`, so that something must be heard."""
    return any(character.isalnum() for character in text)


def has_sound(phonemes: Sequence[str]) -> bool:
    """Say whether any of `phonemes` is more than punctuation, a space or a stress mark."""
    return any(unicodedata.category(c) in _SOUNDING for phoneme in phonemes for c in phoneme)


def split(phonemes: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    """Yield `phonemes` in pieces of at most `limit`, cut after punctuation or else at a space.

    A space at a cut stays with the piece before it. One word longer than `limit` is cut.
    """
    while len(phonemes) > limit:
        window = phonemes[:limit]
        cut = _last(window, ",;:") or _last(window, " ") or limit
        yield phonemes[:cut]
        phonemes = phonemes[cut:]
    if phonemes:
        yield phonemes


def _last(window: Sequence[str], marks: str) -> int:
    """Return the position after the last of `marks` in the second half of `window`; 0 for none."""
    for position in range(len(window), len(window) // 2, -1):
        if window[position - 1] in marks:
            return position
    return 0
