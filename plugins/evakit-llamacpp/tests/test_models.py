"""Which model a name means, and files that are no models."""

from __future__ import annotations

import struct

import pytest

from evakit.errors import ConfigurationError, ModelError, UnknownModelError
from evakit.models import HubListing
from evakit.registry import BackendName
from evakit_llamacpp import LlamaCppLLM, evakit_backends
from evakit_llamacpp._gguf import check_gguf
from evakit_llamacpp._models import SMOLLM2, choose_model


def test_without_a_name_the_starter_model_is_used():
    llm = LlamaCppLLM()
    assert llm.models() == (SMOLLM2,)
    assert llm.model_name == "smollm2-135m-instruct"
    assert SMOLLM2.starter


@pytest.mark.parametrize(
    "name", ["/m/a.gguf", "./a/b/c.gguf", "~/a/b/c.gguf", "a.gguf", "m/a.GGUF", r"C:\m\a.gguf"]
)
def test_a_path_is_a_file_on_this_disk_and_nothing_is_fetched(name):
    assert LlamaCppLLM(name).models() == ()


@pytest.mark.parametrize(
    ("name", "listing", "file"),
    [
        ("org/repo/m.gguf", HubListing("org/repo", "main", ("m.gguf",)), "m.gguf"),
        ("org/repo/q/m.gguf@v1", HubListing("org/repo", "v1", ("q/m.gguf",)), "q/m.gguf"),
        (
            "org/re.po/m-00001-of-00003.gguf",
            HubListing("org/re.po", "main", ("m-*-of-00003.gguf",)),
            "m-00001-of-00003.gguf",
        ),
    ],
)
def test_a_name_of_three_parts_is_on_the_hub(name, listing, file):
    choice = choose_model(name)
    assert choice.model.listing == listing
    assert choice.model.name == f"llamacpp:{name}"
    assert choice.file == file
    assert BackendName.parse(f"llamacpp:{name}").model == name


@pytest.mark.parametrize("name", ["llama", "org/repo", "model.bin", "", "gguf"])
def test_another_name_is_refused_with_what_can_be_named(name):
    with pytest.raises(UnknownModelError, match=r"smollm2-135m-instruct, the path of a \.gguf"):
        LlamaCppLLM(name)


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
        {"parallel": 0},
        {"cache_mib": -1},
    ],
)
def test_a_number_that_makes_no_sense_is_refused(option):
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        LlamaCppLLM(**option)


def test_the_hook_describes_one_llm():
    (spec,) = evakit_backends()
    assert (spec.kind, spec.name, spec.requires) == ("llm", "llamacpp", ("xllamacpp",))
    assert spec.create(model="smollm2-135m-instruct").name == "llamacpp"


HEADER = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a GGUF model"),
        (b"\x89PNG" + bytes(100), "is not a GGUF model"),
        (HEADER[:10], "ends after 10 bytes"),
        (b"GGUF" + struct.pack("<I", 99) + HEADER[8:], "version 99"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        check_gguf(path, model="m")


def test_a_missing_file_and_a_folder_are_refused_with_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="There is no file"):
        check_gguf(tmp_path / "m.gguf", model="m")
    with pytest.raises(ModelError, match="could not be read"):
        check_gguf(tmp_path, model="m")
