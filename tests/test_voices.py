"""Voices and language tags."""

from __future__ import annotations

import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.errors import ConfigurationError, UnknownLanguageError
from evakit.testing import strategies as make
from evakit.voices import (
    Voice,
    VoiceStyle,
    normalize_language,
    normalize_languages,
    same_language,
)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("FR", "fr"),
        ("en_us", "en-US"),
        ("EN-gb", "en-GB"),
        ("zh-hant", "zh-Hant"),
        ("zh_HANT_tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("YUE", "yue"),
    ],
)
def test_a_language_tag_has_one_form(written, normal):
    assert normalize_language(written) == normal
    assert normalize_language(normal) == normal


@pytest.mark.parametrize(
    "tag", ["", "f", "french", "fr-", "-fr", "fr FR", "fr\n", "f\u017f", "12", "fr--FR", "\u212aa"]
)
def test_what_is_no_language_tag_is_refused(tag):
    with pytest.raises(UnknownLanguageError, match="write one such as 'en', 'fr' or 'en-GB'"):
        normalize_language(tag)


@pytest.mark.parametrize("languages", [[1], ["en", None], (b"fr",), {"en", 1.5}, [["en", "fr"]]])
def test_what_is_no_text_is_no_language_tag(languages):
    with pytest.raises(UnknownLanguageError) as caught:
        normalize_languages(languages)
    assert re.fullmatch(
        r"A language tag is text, not (int|NoneType|bytes|float|list); write one such as 'en', "
        r"'fr' or 'en-GB'\.",
        str(caught.value),
    )


@pytest.mark.parametrize("language", [3, b"fr", 1.5, True])
def test_what_is_no_list_is_no_list_of_language_tags(language):
    with pytest.raises(UnknownLanguageError) as caught:
        normalize_languages(language)
    assert str(caught.value) == (
        f"Languages are a tag or a list of tags, not {type(language).__name__}; write one such as "
        "'en', 'fr' or 'en-GB'."
    )


@given(st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}", fullmatch=True))
def test_normalising_a_language_twice_changes_nothing(tag):
    once = normalize_language(tag)
    assert normalize_language(once) == once
    assert once.lower() == tag.lower().replace("_", "-")
    assert same_language(once, tag)


@given(make.languages(), make.languages())
def test_sameness_of_languages_goes_both_ways(one, other):
    assert same_language(one, other) == same_language(other, one)
    assert same_language(one, one)


def test_regions_do_not_make_another_language():
    assert same_language("en-US", "EN_gb")
    assert not same_language("en", "fr")
    assert not same_language("yue", "yu")


@given(make.voices())
def test_voices_are_values(voice):
    twin = pickle.loads(pickle.dumps(voice))  # noqa: S301 (our own bytes)
    assert twin == voice
    assert hash(twin) == hash(voice)


def test_a_voice_speaks_its_language_in_every_region():
    joe = Voice(name="joe", language="en_us")
    assert joe.language == "en-US"
    assert joe.speaks("en")
    assert joe.speaks("en_GB")
    assert not joe.speaks("fr")


def test_a_voice_of_no_language_is_refused():
    with pytest.raises(UnknownLanguageError):
        Voice(name="joe", language="english, please")


def test_a_style_left_alone_leaves_the_voice_as_it_was_recorded():
    assert VoiceStyle() == VoiceStyle(rate=1.0, variation=None, volume=1.0)


@pytest.mark.parametrize(
    "style",
    [
        {"rate": 0},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"rate": "fast"},
        {"volume": float("nan")},
        {"variation": -0.1},
        {"variation": float("inf")},
    ],
)
def test_a_style_that_cannot_be_spoken_is_refused(style):
    with pytest.raises(ConfigurationError, match=f"A voice's {next(iter(style))} is a positive"):
        VoiceStyle(**style)
