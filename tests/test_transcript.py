"""Transcript, Segment and Word: positions in samples, and nothing else."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given

from evakit.testing import strategies as make
from evakit.transcript import Segment, Transcript, Word


@given(make.transcripts())
def test_transcripts_are_values(transcript):
    twin = pickle.loads(pickle.dumps(transcript))  # noqa: S301 (our own bytes)
    assert twin == transcript
    assert hash(twin) == hash(transcript)


@given(make.transcripts())
def test_words_are_those_of_all_segments_in_order(transcript):
    words = transcript.words
    assert list(words) == [w for s in transcript.segments for w in s.words]
    assert [w.start for w in words] == sorted(w.start for w in words)


def test_lists_become_tuples():
    word = Word("hello", 0, 8_000, 0.9)
    transcript = Transcript("hello", [Segment("hello", 0, 8_000, [word])], sample_rate=16_000)
    assert transcript.segments == (Segment("hello", 0, 8_000, (word,)),)
    assert transcript.words == (word,)


def test_what_is_unknown_is_none():
    transcript = Transcript("")
    assert transcript.is_final
    assert transcript.words == ()
    assert transcript.language is None
    assert transcript.language_probability is None
    assert transcript.sample_rate is None
    assert Word("a", 0, 1).probability is None


def test_transcripts_do_not_change():
    with pytest.raises(AttributeError):
        Transcript("hello").text = "bye"
