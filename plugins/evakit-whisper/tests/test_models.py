"""Which model a name means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evakit.errors import ConfigurationError, UnknownModelError
from evakit.models import HubListing
from evakit_whisper import WhisperSTT
from evakit_whisper._models import PINNED, choose


def test_the_pinned_sizes_declare_every_file():
    assert [model.name for model in PINNED] == ["whisper:base", "whisper:tiny.en"]
    assert [model.size for model in PINNED] == [147_882_941, 78_090_594]
    assert [model.starter for model in PINNED] == [True, False]
    for model in PINNED:
        assert {f.name for f in model.files} == {
            "model.bin",
            "config.json",
            "tokenizer.json",
            "vocabulary.txt",
        }
        assert all(len(f.sources) == 2 for f in model.files)


def test_base_speaks_french_and_tiny_en_does_not():
    base, tiny = PINNED
    assert "fr" in base.languages
    assert len(base.languages) == 99
    assert tiny.languages == ("en",)


@pytest.mark.parametrize(
    ("name", "listing"),
    [
        ("small", ("Systran/faster-whisper-small", "main")),
        ("turbo", ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", "main")),
        ("org/name", ("org/name", "main")),
        ("org/name@v1.2", ("org/name", "v1.2")),
    ],
)
def test_other_sizes_and_repositories_come_from_the_hub(name, listing):
    (model,) = WhisperSTT(name).models()
    assert model.name == f"whisper:{name}"
    assert isinstance(model.listing, HubListing)
    assert (model.listing.repo, model.listing.revision) == listing
    assert "model.bin" in model.listing.patterns


@pytest.mark.parametrize("name", ["./converted", "~/converted", "/converted", r"C:\converted"])
def test_what_looks_like_a_folder_is_one(name):
    assert choose(name).folder is not None
    assert WhisperSTT(name).models() == ()


def test_a_path_is_a_folder_whatever_it_looks_like():
    assert choose(Path("base")).folder == Path("base")


def test_an_unknown_size_names_the_nearest():
    with pytest.raises(UnknownModelError, match=r"no size 'smal'; did you mean 'small'\?"):
        WhisperSTT("smal")


@example("~0")
@given(st.text(min_size=1))
def test_every_name_means_something_or_is_refused_with_a_sentence(name):
    try:
        choice = choose(name)
    except UnknownModelError:
        with pytest.raises(UnknownModelError, match="Whisper has no size"):
            WhisperSTT(name)
    else:
        assert (choice.model is None) != (choice.folder is None)


@pytest.mark.parametrize(
    "options",
    [
        {"compute_type": "int4"},
        {"beam_size": 0},
        {"beam_size": 1000},
        {"speech_threshold": 1.5},
        {"speech_threshold": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigurationError, match=r"use|probability"):
        WhisperSTT("base", **options)
