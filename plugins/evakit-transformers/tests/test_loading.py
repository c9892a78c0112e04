"""Loading: files that are no model, the type of the numbers, limits, and what is given back."""

from __future__ import annotations

import json
import shutil
import weakref
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from evakit.abc import LoadContext
from evakit.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ModelError,
    VramBudgetError,
)
from evakit_transformers import TransformersLLM, _loading
from evakit_transformers._source import Source


@pytest.fixture
def copied(tiny, tmp_path):
    """A copy of the tiny model that may be damaged."""
    shutil.copytree(tiny, tmp_path / "m")
    return tmp_path / "m"


def refused(folder, error, match):
    llm = TransformersLLM(str(folder), threads=1)
    llm.name = "transformers"
    with pytest.raises(error, match=match) as caught:
        llm.load_model(LoadContext())
    assert "\n" not in str(caught.value)
    assert llm.evidence() == ()
    return caught.value


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_weights_that_end_early_are_refused(copied):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    refused(copied, ModelError, r"could not load .*m \(.*\); the files are damaged or incomplete")


def test_weights_that_are_not_there_are_refused_and_not_made_up(copied):
    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    refused(copied, ModelError, r"1 of its weights are not there, model\.layers\.1\.self_attn\.q_p")


def test_weights_of_another_shape_are_refused(copied):
    change(copied / "config.json", intermediate_size=96)
    refused(copied, ModelError, "could not load")


def test_a_configuration_that_is_no_json_is_refused(copied):
    (copied / "config.json").write_text("{")
    refused(copied, ModelError, "could not load")


def test_an_unknown_architecture_is_refused(copied):
    change(copied / "config.json", model_type="nobody-knows-it", architectures=["NobodyKnowsIt"])
    refused(copied, ModelError, "an architecture that this release does not know")


def test_weights_that_may_hold_programs_are_not_loaded(copied):
    weights = copied / "model.safetensors"
    torch.save(load_file(weights), copied / "pytorch_model.bin")
    weights.unlink()
    refused(copied, ModelError, r"holds no model: .*\.safetensors")
    with pytest.raises(ModelError, match="could not load"):
        load_on("cpu", copied)  # as from the hub, where nobody looks into the folder before


def test_code_that_comes_with_a_model_is_not_run(copied, tmp_path):
    ran = tmp_path / "ran"
    (copied / "own.py").write_text(
        f"open({str(ran)!r}, 'w')\nclass Own: pass\nclass OwnConfig: pass"
    )
    change(
        copied / "config.json",
        model_type="own",
        auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"},
    )
    refused(copied, ModelError, "could not load")
    assert not ran.exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_code_that_a_model_would_have_from_the_hub_is_not_fetched(copied, key):
    change(copied / "config.json", **{key: "somebody/own-attention"})
    refused(copied, ModelError, r"asks for the programs in somebody/own-attention, which are not")


def test_a_model_without_a_chat_template_is_refused(copied):
    (copied / "chat_template.jinja").unlink()
    refused(copied, ModelError, "has no chat template; use a model that was made for conversations")


def test_a_chat_template_with_a_mistake_is_refused(copied):
    (copied / "chat_template.jinja").write_text("{% for")
    refused(copied, ModelError, r"chat template that cannot be used \(TemplateSyntaxError")


def test_a_chat_template_is_kept_from_the_program_it_runs_in(copied):
    (copied / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    refused(copied, ModelError, r"chat template that cannot be used \(SecurityError")


def test_a_folder_without_a_tokenizer_is_refused(copied):
    for file in copied.glob("tokenizer*"):
        file.unlink()
    refused(copied, (ModelError, BackendUnavailableError), "could not load|needs a package")


def test_a_package_that_a_model_needs_is_named(copied, monkeypatch):
    def absent(**_):
        raise ImportError("this model requires sentencepiece.\nInstall it.")

    monkeypatch.setattr(_loading.AutoTokenizer, "from_pretrained", absent)
    refused(
        copied, BackendUnavailableError, r"not installed \(ImportError: .*sentencepiece\); inst"
    )


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\x89PNG" + bytes(100)])
def test_a_file_that_is_no_gguf_is_refused(tmp_path, content):
    (tmp_path / "m.gguf").write_bytes(content)
    refused(tmp_path / "m.gguf", ModelError, r"could not load .*m\.gguf \(")


def test_a_gguf_file_that_ends_early_is_refused(tiny_gguf, tmp_path):
    (tmp_path / "m.gguf").write_bytes(tiny_gguf.read_bytes()[:-50_000])
    refused(tmp_path / "m.gguf", ModelError, r"could not load .*m\.gguf \(")


# --- context


@pytest.mark.parametrize(
    ("trained", "asked", "context"),
    [(8192, None, 4096), (1024, None, 1024), (None, None, 4096), (None, 9000, 9000), (99, 99, 99)],
)
def test_a_context_is_what_was_asked_for_or_4096_where_the_model_can(trained, asked, context):
    assert _loading._context(trained, asked, "m") == context


def test_more_context_than_the_model_was_trained_for_is_refused(tiny):
    llm = TransformersLLM(str(tiny), context_tokens=2000)
    with pytest.raises(ConfigurationError, match=r"2000, but .* was trained for 1024"):
        llm.load_model(LoadContext())
    assert llm.evidence() == ()


# --- numbers


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16", "float16"])
def test_the_numbers_have_the_type_that_was_asked_for(loaded, ask, dtype):
    llm = loaded(dtype=dtype)
    model = llm._loaded.engine._model
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype or "float32")}
    assert ask(llm, "hello", max_tokens=3)


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), "float16"), ((8, 0), "bfloat16"), ((8, 9), "bfloat16"), ((12, 0), "bfloat16")],
)
def test_on_a_gpu_the_type_is_one_that_it_computes_in(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert _loading._dtype("cuda:0") == dtype


# --- a GPU's memory, on a torch that acts as if it had one


@pytest.fixture
def gpu(monkeypatch):
    """What is asked of torch.cuda, whose GPU has 1000 bytes, 100 of them in use."""
    card = SimpleNamespace(allocated=0, fraction=None)

    def limit(fraction, device):
        card.fraction = (fraction, device)

    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, **_: ones(*shape))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 100)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: card.allocated)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(total_memory=1000)
    )
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 9))
    return card


@pytest.mark.parametrize(("vram", "fraction"), [(400, 0.5), (5000, 1.0), (None, 1.0)])
def test_torch_is_held_to_the_memory_that_may_be_taken(gpu, vram, fraction):
    _loading._limit("cuda:1", vram)
    assert gpu.fraction == (fraction, "cuda:1")


def load_on(device, folder, vram_bytes=None):
    return _loading.load(
        Source(name="tiny", folder=folder),
        backend="transformers",
        device=device,
        dtype=None,
        context_tokens=None,
        threads=1,
        vram_bytes=vram_bytes,
    )


def test_a_gpu_is_asked_for_exactly_and_what_it_took_is_measured(gpu, tiny, monkeypatch):
    asked = {}
    real = _loading.AutoModelForCausalLM.from_pretrained

    def onto(**given):
        asked.update(given)
        gpu.allocated = 700
        return real(**given | {"device_map": {"": "cpu"}})

    monkeypatch.setattr(_loading.AutoModelForCausalLM, "from_pretrained", onto)
    engine = load_on("cuda:1", tiny, vram_bytes=400).engine
    assert asked["device_map"] == {"": "cuda:1"}
    assert asked["dtype"] is torch.bfloat16
    assert asked["local_files_only"] is True
    assert asked["trust_remote_code"] is False
    assert engine.reading().grown == {"cuda:1": 700}
    assert gpu.fraction == (0.5, "cuda:1")
    engine.close()
    assert gpu.fraction == (1.0, "cuda:1")


def test_a_limit_that_the_program_has_set_is_left_alone(gpu, tiny, monkeypatch):
    real = _loading.AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(
        _loading.AutoModelForCausalLM,
        "from_pretrained",
        lambda **given: real(**given | {"device_map": {"": "cpu"}}),
    )
    load_on("cuda:1", tiny).engine.close()
    assert gpu.fraction is None


def test_a_model_that_does_not_fit_is_said_as_such_and_leaves_nothing(gpu, tiny, monkeypatch):
    held = []

    def full(**_):
        half_loaded = torch.zeros(1000)
        held.append(weakref.ref(half_loaded))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(_loading.AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(VramBudgetError, match="memory that may be used is full") as caught:
        load_on("cuda:1", tiny, vram_bytes=400)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert held[0]() is None
    assert gpu.fraction == (1.0, "cuda:1")


def test_a_model_that_turns_out_to_be_unusable_is_let_go(copied, monkeypatch):
    (copied / "chat_template.jinja").unlink()
    made = []
    real = _loading.Engine

    def kept(model, *args, **kwargs):
        made.append(weakref.ref(model))
        return real(model, *args, **kwargs)

    monkeypatch.setattr(_loading, "Engine", kept)
    error = refused(copied, ModelError, "has no chat template")
    assert error.__traceback__ is not None
    assert made[0]() is None
