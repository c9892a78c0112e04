from __future__ import annotations

import json
import logging

import pytest

from evakit.errors import ModelIntegrityError, ModelUnavailableError
from evakit.models import HubListing, Model, ModelStore

from .conftest import hub_path, left_over, model, model_file, stall, status

FILES = {
    "config.json": b'{"a": 1}\n',
    "model.onnx": bytes(5000),
    "onnx/extra.json": b"{}",
    "README.md": b"# hello",
    ".gitattributes": b"",
}
SECRET = "hf_very_secret"  # noqa: S105  # of nobody


def listed(*patterns, name="whisper:org/repo", **more):
    listing = HubListing("org/repo", patterns=patterns or ("*",), **more)
    return Model(name=name, kind="stt", listing=listing)


def test_a_listed_repository_is_fetched_page_by_page(server, tree, store, home):
    first = tree(FILES, large=["model.onnx"])
    folder = store.ensure(listed())
    assert {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }.items() >= FILES.items()
    assert server.paths()[:3] == [first, f"{first}&cursor=2", f"{first}&cursor=4"]
    asked = len(server.requests)
    offline = ModelStore(home, offline=True)
    assert offline.path(listed()) == offline.ensure(listed()) == folder
    offline.verify(listed())
    assert len(server.requests) == asked


def test_only_files_that_match_a_pattern_are_fetched(server, tree, store):
    tree(FILES, large=["model.onnx"])
    folder = store.ensure(listed("*.json", "model.*"))
    assert sorted(p.name for p in folder.rglob("*.*")) == [
        ".evakit-model.json",
        "config.json",
        "extra.json",
        "model.onnx",
    ]


def test_other_patterns_are_another_model(server, tree, store):
    tree(FILES, large=["model.onnx"])
    store.ensure(listed("*.json"))
    assert store.path(listed("*.onnx")) is None
    store.ensure(listed("*.onnx"))
    assert store.path(listed("*.onnx"))


def test_patterns_that_match_nothing_are_said(server, tree, store):
    tree(FILES)
    with pytest.raises(ModelUnavailableError, match=r"no file of it matches \*\.gguf"):
        store.ensure(listed("*.gguf"))


def test_a_revision_with_a_slash_is_asked_for(server, tree, store):
    tree(FILES, revision="refs%2Fpr%2F1")
    assert store.ensure(listed(revision="refs/pr/1"))


@pytest.mark.parametrize("name", ["config.json", "model.onnx"])
def test_a_listed_file_with_another_hash_is_refused(server, tree, store, home, name):
    tree(FILES, large=["model.onnx"])
    path = f"/org/repo/resolve/main/{name}"
    server.files[path] = b"x" * len(server.files[path])
    with pytest.raises(ModelIntegrityError, match=name):
        store.ensure(listed("*.onnx", "config.json"))
    assert store.path(listed("*.onnx", "config.json")) is None


@pytest.mark.parametrize("name", ["config.json", "model.onnx"])
def test_verify_checks_both_kinds_of_hash(server, tree, store, name):
    tree(FILES, large=["model.onnx"])
    folder = store.ensure(listed())
    store.verify(listed())
    (folder / name).write_bytes(b"x" * len(FILES[name]))
    with pytest.raises(ModelIntegrityError, match=f"{name}.*evakit models remove whisper:org/repo"):
        store.verify(listed())


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "C:evil"])
def test_a_listed_file_outside_the_folder_is_refused(server, tree, store, tmp_path, path):
    first = tree({path: b"x"})
    assert first in server.files
    with pytest.raises(ModelUnavailableError, match="would leave the model's folder"):
        store.ensure(listed())
    assert not [p for p in tmp_path.rglob("*") if "evil" in p.name]


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "file", "path": "a"},
        {"type": "file", "path": "a\0b", "size": 1, "oid": "0" * 40},
        {"type": "file", "path": "a", "size": -1, "oid": "0" * 40},
        {"type": "file", "path": "a", "size": 1, "oid": "../../x"},
        {"type": "file", "path": "a", "size": 1, "oid": "0" * 40, "lfs": {"oid": 3, "size": 1}},
        {"type": "file", "path": 7, "size": 1, "oid": "0" * 40},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(server, store, entry):
    server.files["/api/models/org/repo/tree/main?recursive=true"] = json.dumps([entry]).encode()
    with pytest.raises(ModelUnavailableError, match="makes no sense"):
        store.ensure(listed())


@pytest.mark.parametrize("answer", [b"<html>Sign in</html>", b'{"error": "x"}', b"[1]", b"\xff"])
def test_an_answer_that_is_no_list_is_refused(server, store, home, answer):
    server.files["/api/models/org/repo/tree/main?recursive=true"] = answer
    with pytest.raises(ModelUnavailableError, match="its answer is not a list of files"):
        store.ensure(listed())
    assert left_over(home) == []


def test_a_list_without_end_is_left(server, store):
    first = "/api/models/org/repo/tree/main?recursive=true"
    server.files[first] = b"[]"
    server.links[first] = f'<{first}>; rel="next"'
    with pytest.raises(ModelUnavailableError, match="has no end"):
        store.ensure(listed())


def test_a_list_that_stalls_is_left(server, impatient, tree):
    server.faults[tree(FILES)] = [stall(5)]
    with pytest.raises(ModelUnavailableError, match="broke off"):
        impatient.ensure(listed())


def test_the_token_goes_to_the_hub_and_to_no_other_host(server, serve, tree, store, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    cdn = serve()
    tree(FILES, large=["model.onnx"])
    path = "/org/repo/resolve/main/model.onnx"
    cdn.files["/blob"] = server.files.pop(path)
    server.redirects[path] = f"{cdn.url}/blob"
    store.ensure(listed())
    assert [headers.get("Authorization") for _, headers in cdn.requests] == [None]
    assert {headers.get("Authorization") for _, headers in server.requests} == {f"Bearer {SECRET}"}


def test_the_token_follows_a_renamed_repository_on_the_same_host(server, store, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    server.redirects[hub_path("f", "org/repo")] = hub_path("f", "new/name")
    server.files[hub_path("f", "new/name")] = b"abc"
    store.ensure(model(model_file("f", b"abc")))
    assert [headers.get("Authorization") for _, headers in server.requests] == [
        f"Bearer {SECRET}"
    ] * 2


def test_the_token_does_not_follow_a_next_page_on_another_host(
    server, serve, store, tree, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    other = serve()
    other.files["/page"] = b"[]"
    first = tree({"a": b"x"})
    server.links[first] = f'<{other.url}/page>; rel="next"'
    store.ensure(listed())
    assert [headers.get("Authorization") for _, headers in other.requests] == [None]


def test_a_gated_repository_says_what_to_do_and_never_shows_the_token(
    server, tree, store, monkeypatch, caplog
):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    server.faults[tree(FILES)] = [status(401)]
    with pytest.raises(ModelUnavailableError, match="HF_TOKEN") as caught:
        store.ensure(listed())
    assert SECRET not in str(caught.value) + caplog.text


def test_a_listed_repository_offline_is_missing(store, home):
    with pytest.raises(ModelUnavailableError, match="evakit models fetch whisper:org/repo"):
        ModelStore(home, offline=True).ensure(listed())
