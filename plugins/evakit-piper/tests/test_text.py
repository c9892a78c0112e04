"""What is taken out of text, and where long speech is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evakit_piper._text import clean, has_sound, has_words, split


def test_control_characters_and_surrogates_become_spaces():
    assert clean("one\x00two\x1bthree\ud800four\nfive") == "one two three four five"


def test_brackets_of_raw_phonemes_are_taken_apart():
    assert clean("say [[ h @ l ]] now") == "say [ [ h @ l ] ] now"
    assert clean("a [note] stays") == "a [note] stays"


@given(st.text(alphabet="[] a", max_size=30))
def test_no_text_keeps_what_piper_reads_as_raw_phonemes(text):
    assert "[[" not in clean(text)
    assert "]]" not in clean(text)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_clean_text_can_be_handed_to_c(text):
    cleaned = clean(text)
    assert "\x00" not in cleaned
    cleaned.encode("utf-8")
    assert has_words(cleaned) == has_words(text)


def test_punctuation_and_dashes_hold_no_words():
    assert not has_words("... — … !?")
    assert has_words("a")
    assert has_words("7")
    assert has_words("你")


def test_stress_marks_and_punctuation_have_no_sound():
    assert not has_sound([])
    stress, length = "\N{MODIFIER LETTER VERTICAL LINE}", "\N{MODIFIER LETTER TRIANGULAR COLON}"
    assert not has_sound([stress, length, " ", ",", "."])
    assert has_sound([stress, "ə"])


def test_long_speech_is_cut_after_punctuation_or_else_at_a_space():
    assert ["".join(p) for p in split("one, two three four", 12)] == ["one, two ", "three four"]
    assert ["".join(p) for p in split("one two, three", 10)] == ["one two,", " three"]
    assert ["".join(p) for p in split("abcdefghij", 4)] == ["abcd", "efgh", "ij"]


@given(st.text(alphabet="ab ,.", max_size=60), st.integers(1, 20))
def test_cutting_loses_nothing_and_keeps_to_the_limit(text, limit):
    pieces = list(split(text, limit))
    assert "".join("".join(piece) for piece in pieces) == text
    assert all(0 < len(piece) <= limit for piece in pieces)
