"""Playout: which words were heard, from how many samples were played."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit import Audio, Word
from evakit._playout import Playout
from evakit.abc import Speech
from evakit.clauses import Clause

RATE = 16_000


def speech(samples, *words, clauses=0, timed=True):
    """A chunk with words of equal length that fill it."""
    size = samples // len(words) if words else 0
    places = [Word(w, i * size, (i + 1) * size) for i, w in enumerate(words)]
    return Speech(Audio(np.zeros(samples), RATE), tuple(places) if timed else None, clauses=clauses)


def playout(texts, *chunks):
    """A playout of clauses that join up with single spaces."""
    result = Playout()
    for text in texts:
        result.wrote(Clause(text, f"{text} "))
    for chunk in chunks:
        result.spoke(chunk)
    return result


# --- with clauses and words


def test_a_clause_that_is_over_was_heard_whole_however_many_words_were_spoken():
    spoken = ["in", "twenty", "twenty", "four", "we", "met"]
    played = playout(
        ["In 2024 we met.", "Then you left me."],
        speech(6000, *spoken, clauses=1),
        speech(4000, "then", "you", "left", "me", clauses=1),
    )
    assert played.heard(6000) == "In 2024 we met. "
    assert played.heard(7000) == "In 2024 we met. Then"
    assert played.heard(10_000) == "In 2024 we met. Then you left me. "


def test_inside_a_clause_the_written_words_are_a_share_of_the_spoken_ones():
    spoken = ["in", "twenty", "twenty", "four", "we", "met"]
    played = playout(["In 2024 we met.", "Then."], speech(6000, *spoken, clauses=1))
    heard = [played.heard(count * 1000) for count in range(7)]
    assert heard == ["", "", "In", "In 2024", "In 2024", "In 2024 we", "In 2024 we met. "]


def test_a_clause_without_words_does_not_shift_those_of_the_next():
    played = playout(
        ["One two three.", "Four five six."],
        speech(3000, clauses=1, timed=False),
        speech(3000, "Four", "five", "six", clauses=1),
    )
    assert played.heard(5000) == "One two three. Four five"


def test_no_words_are_no_reason_to_have_heard_nothing():
    played = playout(["One two three."], speech(3000, clauses=1))
    assert played.heard(3000) == "One two three. "
    assert played.heard(1900) == "One two"


def test_words_of_the_clause_under_way_are_never_those_of_the_one_after():
    played = playout(
        ["One.", "In 2024.", "Two three."],
        speech(1000, "One", clauses=1),
        speech(4000, "in", "twenty", "twenty", "four"),
    )
    assert played.heard(5000) == "One. In 2024. "


def test_a_chunk_may_end_in_the_middle_of_the_next_clause():
    played = playout(
        ["Hello there.", "It is Everest."],
        speech(3000, "Hello", "there.", "It", clauses=1),
        speech(2000, "is", "Everest.", clauses=1),
    )
    heard = [played.heard(count * 1000) for count in range(6)]
    assert heard == [
        "",
        "Hello",
        "Hello there. ",
        "Hello there. It",
        "Hello there. It is",
        "Hello there. It is Everest. ",
    ]


def test_a_unit_may_be_counted_by_a_chunk_without_samples():
    played = playout(
        ["One two.", "Three."],
        speech(2000, "One", "two."),
        speech(0, clauses=1),
        speech(1000, "Three."),
    )
    assert [played.heard(n) for n in (1000, 2000, 3000)] == ["One", "One two. ", "One two. Three. "]


def test_a_piece_with_nothing_to_say_is_no_unit_and_goes_with_the_one_before():
    played = playout(["One."], speech(1000, clauses=1, timed=False))
    played.wrote(Clause("", "..."))
    assert played.heard(1000) == "One. ..."
    assert played.heard(999) == "One."


# --- with words alone, or clauses alone


def test_where_no_clause_is_ever_counted_words_are_taken_one_for_one():
    played = playout(
        ["One two three.", "Four five six."],
        speech(4000, "One", "two", "three.", "Four"),
        speech(2000, "five", "six."),
    )
    assert played.heard(2000) == "One two"
    assert played.heard(5000) == "One two three. Four five"
    assert played.heard(6000) == "One two three. Four five six. "


def test_before_the_first_word_of_a_timed_reply_nothing_was_heard():
    played = playout(["One two."], speech(8000), speech(2000, "One", "two."))
    assert played.heard(8000) == ""
    assert played.heard(9000) == "One"


def test_where_only_clauses_are_counted_a_share_of_the_characters_was_heard():
    played = playout(
        ["One two.", "Three four.", "Five."],
        speech(4000, timed=False),
        speech(4000, clauses=1, timed=False),
        speech(4000, timed=False),
    )
    assert played.heard(4000) == "One"
    assert played.heard(8000) == "One two. "
    assert played.heard(12_000) == "One two. "
    assert played.heard(13_500) == "One two. Three"


def test_nothing_was_heard_of_what_was_not_played():
    assert playout([]).heard(0) == ""
    assert playout(["One."]).heard(0) == ""
    assert playout(["One."], speech(1000, clauses=1)).heard(0) == ""


@st.composite
def replies(draw):
    """Clauses, and chunks that speak them: with more, fewer or no words, counted or not."""
    counts, timed = draw(st.booleans()), draw(st.booleans())
    texts = draw(st.lists(st.sampled_from(["One.", "In 2024 we.", "A b c d."]), max_size=5))
    chunks = []
    for text in texts:
        words = draw(st.sampled_from([text.split(), ["one", "a", "b"], []]))
        chunks += [
            speech(draw(st.integers(0, 900)), timed=timed) for _ in range(draw(st.integers(0, 2)))
        ]
        samples = draw(st.integers(len(words), 900))
        chunks.append(speech(samples, *words, clauses=int(counts), timed=timed))
    return playout(texts, *chunks[: draw(st.integers(0, len(chunks)))]), texts


@given(replies())
def test_whatever_comes_the_more_was_played_the_more_was_heard(reply):
    played, texts = reply
    written = "".join(f"{text} " for text in texts)
    before = ""
    for count in range(0, played.samples + 1, max(played.samples // 40, 1)):
        heard = played.heard(count)
        assert written.startswith(heard)
        assert len(heard) >= len(before)
        before = heard


@pytest.mark.parametrize("clauses", [2, 3])
def test_more_clauses_than_count_as_all_that_was_written(clauses):
    assert playout(["One."], speech(1000, clauses=clauses)).heard(1000) == "One. "
