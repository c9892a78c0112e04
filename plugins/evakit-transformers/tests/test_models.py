"""Which model a name means, where its files are, and options that make no sense."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from evakit.abc import LoadContext
from evakit.errors import ConfigurationError, ModelError, UnknownModelError
from evakit.models import HubListing
from evakit.registry import BackendName
from evakit_transformers import TransformersLLM, evakit_backends
from evakit_transformers._models import SMOLLM2, choose_model
from evakit_transformers._source import Source, estimate_vram, find_source


def test_without_a_name_the_starter_model_is_used():
    llm = TransformersLLM()
    assert llm.models() == (SMOLLM2,)
    assert llm.model_name == "smollm2-135m-instruct"
    assert SMOLLM2.starter


@pytest.mark.parametrize(
    "name",
    [
        "/m/a",
        "./a/b",
        "~/a/b",
        ".",
        r"C:\m\a",
        r"m\a",
        "/m/a.gguf",
        "a.gguf",
        "m/a.GGUF",
        "~/a.gguf",
    ],
)
def test_a_path_is_on_this_disk_and_nothing_is_fetched(name):
    llm = TransformersLLM(name)
    assert llm.models() == ()
    assert choose_model(name).path == Path(name).expanduser()


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("org/model", "org/model", "main"),
        ("org/mo.del-1.5B@v1", "org/mo.del-1.5B", "v1"),
        ("org/model@refs/pr/1", "org/model", "refs/pr/1"),
    ],
)
def test_organisation_and_name_are_a_repository_on_the_hub(name, repo, revision):
    choice = choose_model(name)
    assert (choice.model.listing.repo, choice.model.listing.revision) == (repo, revision)
    assert choice.model.name == f"transformers:{name}"
    assert choice.file is None
    assert BackendName.parse(f"transformers:{name}@cuda:1").model == name


@pytest.mark.parametrize(
    ("name", "listing", "file"),
    [
        ("org/repo/m.gguf", HubListing("org/repo", "main", ("m.gguf",)), "m.gguf"),
        ("org/repo/q/m.gguf@v1", HubListing("org/repo", "v1", ("q/m.gguf",)), "q/m.gguf"),
    ],
)
def test_a_gguf_file_with_three_parts_is_on_the_hub(name, listing, file):
    choice = choose_model(name)
    assert (choice.model.listing, choice.file) == (listing, file)


def test_of_a_repository_only_what_a_model_needs_is_fetched_and_nothing_that_holds_programs():
    patterns = choose_model("org/model").model.listing.patterns

    def fetched(path):
        return any(fnmatchcase(path, pattern) for pattern in patterns)

    for path in (
        "config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "chat_template.jinja",
    ):
        assert fetched(path)
    for path in (
        "modeling_own.py",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "model.fp16.safetensors",
        "original/consolidated.safetensors",
        "model.gguf",
        "README.md",
    ):
        assert not fetched(path)


@pytest.mark.parametrize("name", ["llama", "a/b/c", "", "gguf", "o/r/m-00001-of-00003.gguf"])
def test_another_name_is_refused_with_what_can_be_named(name):
    with pytest.raises(UnknownModelError, match=r"smollm2-135m-instruct, the path of a folder"):
        TransformersLLM(name)


@pytest.mark.parametrize(
    "option",
    [
        {"context_tokens": 0},
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.5},
        {"repeat_penalty": 0},
        {"seed": -1},
        {"threads": 0},
        {"dtype": "int8"},
        {"dtype": ""},
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option):
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        TransformersLLM(**option)


def test_the_hook_describes_one_llm():
    (spec,) = evakit_backends()
    assert (spec.kind, spec.name) == ("llm", "transformers")
    assert spec.missing() is None
    assert spec.capabilities.devices == {"cpu", "cuda"}
    assert spec.capabilities.engines == {"torch"}
    assert spec.create(model="org/model").name == "transformers"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no.gguf", "There is no file .*no.gguf; correct"),
        ("no", "There is no folder .*no; correct"),
        ("", "holds no model: a config.json"),
        ("only-weights", "holds no model: a config.json"),
        ("only-config", "holds no model: a config.json"),
    ],
)
def test_files_that_are_not_there_are_one_sentence(tmp_path, name, sentence):
    for folder, file in (("only-weights", "model.safetensors"), ("only-config", "config.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
    llm = TransformersLLM(str(tmp_path / name))
    with pytest.raises(ModelError, match=sentence):
        llm.load_model(LoadContext())
    assert llm.vram_estimate(LoadContext()) is None


def test_files_that_were_not_fetched_are_named_with_the_command_that_does():
    with pytest.raises(ModelError, match="evakit models fetch transformers:smollm2-135m-instruct"):
        TransformersLLM().load_model(LoadContext())


def test_the_memory_of_a_gpu_is_estimated_from_the_sizes_of_the_weights(tmp_path):
    for name in ("config.json", "model-1.safetensors", "model-2.safetensors"):
        (tmp_path / name).write_bytes(bytes(500_000))
    llm = TransformersLLM(str(tmp_path))
    work = 100 * 2**20 + 50_000
    assert llm.vram_estimate(LoadContext()) == 1_000_000 + work
    source = find_source(choose_model(str(tmp_path)), LoadContext())
    assert source == Source(name=str(tmp_path), folder=tmp_path)
    assert estimate_vram(source, "float16", 2048) == 1_000_000 + work // 2
    assert estimate_vram(source, "float32", 4096) == 2_000_000 + work + 50_000


def test_how_much_a_gguf_file_becomes_is_not_guessed(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert TransformersLLM(str(tmp_path / "m.gguf")).vram_estimate(LoadContext()) is None
