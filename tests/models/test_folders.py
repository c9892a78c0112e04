from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.errors import ConfigurationError
from evakit.models import HubSource, ModelStore
from evakit.models.folders import folder_name

from .conftest import model_file

RESERVED = {"con", "prn", "aux", "nul", "com1", "lpt1"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("whisper:base", "whisper--base"),
        ("whisper:tiny.en", "whisper--tiny.en"),
        ("piper:en_US-joe", "piper--en_US-joe~"),
        ("llamacpp:org/repo@rev", "llamacpp--org-repo-rev~"),
        ("con", "con~"),
        ("x:y.", "x--y~"),
        ("../../etc", "etc~"),
    ],
)
def test_a_model_has_a_readable_folder(name, folder):
    assert folder_name(name).startswith(folder.partition("~")[0])
    assert ("~" in folder_name(name)) == ("~" in folder)


@given(st.text())
def test_a_folder_name_is_one_that_every_system_allows(name):
    folder = folder_name(name)
    assert set(folder) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~-")
    assert folder.split("~", maxsplit=1)[0] not in RESERVED or "~" in folder
    assert not folder.startswith(".")
    assert not folder.endswith(".")
    assert len(folder) < 120


_NAMES = st.text(alphabet="abAB-:./@~ é", max_size=6)


@given(_NAMES, _NAMES)
def test_two_models_never_share_a_folder_even_where_capitals_do_not_count(one, other):
    if one != other:
        assert folder_name(one).lower() != folder_name(other).lower()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\b", "C:x", ""])
def test_a_file_outside_the_model_cannot_be_declared(name):
    with pytest.raises(ConfigurationError, match="not a relative path"):
        model_file(name, b"x", HubSource("org/repo", "main", "x"))


def test_the_home_is_the_argument_then_the_environment_then_the_platforms(tmp_path, monkeypatch):
    monkeypatch.setenv("EVAKIT_HOME", str(tmp_path / "env"))
    assert ModelStore(tmp_path / "given").home == tmp_path / "given"
    assert ModelStore().home == tmp_path / "env"
    monkeypatch.delenv("EVAKIT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "evakit" in str(ModelStore().home)
    assert not list(tmp_path.iterdir())
