"""Where a sentence ends: sentence-stream's rules, with abbreviations of English and French.

Every function looks at the few characters around one gap between two words, so that the cost
does not grow with the text. What may not live here: state, markup, lengths of clauses.
"""

from __future__ import annotations

import re

from sentence_stream import SentenceBoundaryDetector

__all__ = ["find_sentence_end"]

# ruff: noqa: SIM905  (a list of words reads best as a sentence)
# A name or more of the sentence follows. An entry in lower case stands for every case, one with
# a capital only for itself: "Me Dupont", but "Call me. Then ...".
_ENGLISH = frozenset(
    "mr mrs ms dr prof rev messrs St Mt Ft Lt Hon Gen Sen Rep Gov Col Sgt Maj Capt Cmdr Pres Supt "
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri Sat "
    "vs cf viz approx incl dept univ e.g i.e eg ie a.k.a".split()
)
_FRENCH = frozenset(
    "MM mme mmes mlle mlles mgr dr pr prof vve Me St Ste Sts av bd bld boul r pl chem fg fbg rte "
    "bât janv févr avr juil cf p.ex ex c.-à-d c-à-d càd env éd trad coll dir tél réf".split()
)
# Abbreviations before a number only: "No. 5", but "Yes or no. It is late".
_BEFORE_NUMBER = frozenset(
    "p pp n no nos nr vol vols ch chap art arts fig figs eq sec sect ed v l t al ref tel ext app "
    "pos cat fol par sub lib mod env rev inv réf tél alin "
    "ca max min sept mar may jun jan feb apr aug oct nov dec".split()
)
_BY_LANGUAGE = {"en": _ENGLISH, "fr": _FRENCH}
_ANY_LANGUAGE = _ENGLISH | _FRENCH

# ruff: noqa: RUF001  (typographic quotes and full-width signs are what this is about)
_CLOSERS = "[)\\]}'\"’”»]"
# What may stand between the last letter or digit of a sentence and the first of the next: signs
# such as € and closers, the ends, closers (French has a space before ends and before »), white
# space, and what a sentence opens with: quotes, brackets, dashes.
_GAP = re.compile(
    r"(?P<sign>[^\w.!?…‼⁉؟।॥,;:]*)"
    rf"(?P<end>(?:[.!?…‼⁉؟।॥]++{_CLOSERS}*+)++(?:\s[»›]\.?)?)"  # possessive: a row of dots is long
    r"\s[^.!?…]*"
)
_WIDE_GAP = re.compile("[。！？]+[”’」』)】》〉）]*$")
_WIDE_CLOSERS = "。！？”’」』)】》〉）"
_LAST_WORD = re.compile("[^\\s'’(\\[«“\"/]+$")
# The number or letter of a list, at the start of a sentence or of a part of one.
_LIST_MARK = re.compile(r"(?:^|[:;,]\s|\()\W*(?:\d{1,3}|[A-Za-z])$")
_LIST_NUMBER = re.compile(r"\d{1,3}[.)] $")

_LONGEST_GAP = 24  # characters; a gap has a few, and a row of dots must not make this slow
_LONGEST_WORD = 40
_PLAIN_WORD = 3  # characters; a shorter one before a number is more often an abbreviation


def find_sentence_end(text: str, start: int, language: str | None) -> int | None:
    """Say where the sentence ends that `text` shows to be over.

    Args:
        text: what was read so far, white space folded. Its last character is the first of a
            word, or the space after what may be the number of a list ("... done. 2. ").
        start: where in `text` the sentence begins.
        language: a language tag; None, or one that is not known here, means any.

    Returns:
        The index after the sentence; None where it goes on.

    """
    wide = text[-2:-1] in _WIDE_CLOSERS and _WIDE_GAP.search(text[-_LONGEST_GAP:-1])
    if wide and text[-1] not in _WIDE_CLOSERS:
        return len(text) - 1 if _detected(wide[0], text[-1]) else None
    number = _LIST_NUMBER.search(text[-6:])
    after = number[0] if number else text[-1]
    head_end = len(text) - len(after)
    word_end = head_end
    while word_end > start and not text[word_end - 1].isalnum():
        word_end -= 1
        if head_end - word_end > _LONGEST_GAP:
            return None
    gap = _GAP.fullmatch(text, word_end, head_end)
    if gap is None:
        return None
    sentence = text[max(start, word_end - _LONGEST_WORD) : word_end]
    if re.search(r"[^\s)\]}'\"’”»]", gap["sign"]):
        sentence += "$"  # "5 €. Next": no word stands before the stop
    return gap.end("end") if _is_end(sentence, gap["end"], after, language) else None


def _is_end(sentence: str, mark: str, after: str, language: str | None) -> bool:
    """Whether a sentence ends with `mark` where `after` is what follows."""
    found = _LAST_WORD.search(sentence)
    word = found[0] if found else ""
    if mark[0] == "." and mark[:2] != "..":
        if _LIST_MARK.search(sentence):
            return False
        known = _BY_LANGUAGE.get(_primary(language), _ANY_LANGUAGE)
        if word in known or word.lower() in known:
            return False
        if after[0].isdigit() and word.lower() in _BEFORE_NUMBER:
            return False
        plain = len(word) >= _PLAIN_WORD and word.isalnum()
    else:
        plain = True
    # Its rule for numbers is for those of lists alone ("done. 2. Next").
    if after[0].isdigit() and plain:
        return True
    return _detected(_masked(word, sentence, language) + mark, after)


def _primary(language: str | None) -> str:
    return (language or "").replace("_", "-").split("-")[0].lower()


def _masked(word: str, sentence: str, language: str | None) -> str:
    """Return what sentence-stream is shown in the place of the last word.

    It takes every short word with a capital for an abbreviation, and joins to "Yes." or "the
    GPU." what follows. Where the abbreviations are known, that guess is left to it for initials
    ("J. R. R.") and dotted words ("U.S.A.") only.
    """
    if language is not None and _primary(language) not in _BY_LANGUAGE:
        return word
    is_pronoun = word == "I" and sentence != word and _primary(language) != "fr"
    return "x" if is_pronoun or (len(word) > 1 and "." not in word) else word


def _detected(before: str, after: str) -> bool:
    """Ask sentence-stream whether a sentence ends between two pieces of text."""
    # To it a lone … is an end wherever it stands; dots are one where a capital follows.
    before = before.replace("…", "...").replace(" ", "")
    joint = "" if before[-1] in _WIDE_CLOSERS and before[0] in _WIDE_CLOSERS else " "
    detector = SentenceBoundaryDetector()
    for _ in detector.add_chunk(before + joint + after):
        pass  # what it yields is stripped; what it keeps tells where it cut
    return bool(detector.finish() == after.strip())
