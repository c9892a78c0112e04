"""Language tags and Whisper's codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.errors import UnknownLanguageError
from evakit_whisper._languages import code_of, tag_of
from evakit_whisper._models import PINNED

KNOWN = frozenset({"en", "fr", "he", "jw", "no", "yue", "zh"})


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("fr", "fr"),
        ("FR_ca", "fr"),
        ("nb-NO", "no"),
        ("iw", "he"),
        ("jv", "jw"),
        ("zh-Hant-TW", "zh"),
        ("zh-yue", "yue"),
        ("yue", "yue"),
    ],
)
def test_a_tag_finds_its_code(tag, code):
    assert code_of(tag, KNOWN, "whisper") == code


def test_an_unknown_language_is_refused_with_a_sentence():
    with pytest.raises(UnknownLanguageError, match="does not know the language 'xx'"):
        code_of("xx", KNOWN, "whisper:base")


def test_an_english_model_says_so():
    with pytest.raises(UnknownLanguageError, match="knows English only, not 'fr'"):
        code_of("fr", {"en"}, "whisper:tiny.en")


@given(st.sampled_from(PINNED[0].languages))
def test_every_declared_language_goes_to_its_code_and_back(tag):
    codes = {code_of(tag, {tag, "jw"}, "whisper")}
    assert {tag_of(code) for code in codes} == {tag}
