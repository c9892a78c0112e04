"""Backend names, specs and the registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.abc import LLM, Capabilities
from evakit.devices import is_device
from evakit.errors import (
    ConfigurationError,
    DuplicateBackendError,
    PluginLoadError,
    UnknownBackendError,
    UnknownOptionError,
)
from evakit.registry import KINDS, BackendName, BackendSpec, Registry
from evakit.testing import strategies as make


class Parrot(LLM):
    """Repeats what it hears."""

    def __init__(self, model="small", *, temperature=0.0):
        self.model_name = model
        self.temperature = temperature

    def reply(self, request):
        return None


def spec(name="parrot", kind="llm", factory=Parrot, **fields):
    return BackendSpec(kind=kind, name=name, factory=factory, **fields)


# --- names


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("whisper", ("whisper", None, None)),
        ("whisper:base", ("whisper", "base", None)),
        ("whisper@cuda", ("whisper", None, "cuda")),
        ("whisper:base@cuda:1", ("whisper", "base", "cuda:1")),
        ("ollama:qwen3:4b", ("ollama", "qwen3:4b", None)),
        ("ollama:qwen3:4b@cpu", ("ollama", "qwen3:4b", "cpu")),
        ("transformers:org/model@rev", ("transformers", "org/model@rev", None)),
        ("transformers:org/model@rev@auto", ("transformers", "org/model@rev", "auto")),
        (r"llamacpp:C:\models\m.gguf", ("llamacpp", r"C:\models\m.gguf", None)),
        ("x:m@GPU-8a5c-11@MIG-7", ("x", "m@GPU-8a5c-11", "MIG-7")),
        ("x:@cpu:", ("x", "@cpu:", None)),
        ("me@home", ("me@home", None, None)),
    ],
)
def test_a_backend_name_is_taken_apart(text, parts):
    parsed = BackendName.parse(text)
    assert (parsed.name, parsed.model, parsed.device) == parts
    assert str(parsed) == text


def can_be_written(name):
    """A model that ends like a device needs a device of its own behind it."""
    if name.device is not None:
        return True
    _, at, after = str(name).rpartition("@")
    return not (at and is_device(after))


@given(make.backend_names().filter(can_be_written))
def test_a_backend_name_survives_being_written(name):
    assert BackendName.parse(str(name)) == name


@given(st.text(min_size=1))
def test_any_text_is_a_name_that_survives_or_is_refused(text):
    try:
        assert str(BackendName.parse(text)) == text
    except ConfigurationError as error:
        assert "does not name a backend" in str(error)  # noqa: PT017 (it need not be raised)


@pytest.mark.parametrize("text", ["", ":base", "@cuda", "whisper:", "whisper:@cpu", ":@cpu"])
def test_a_name_with_a_part_missing_is_refused(text):
    with pytest.raises(ConfigurationError, match="write name, name:model or name:model@device"):
        BackendName.parse(text)


# --- specs


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ConfigurationError, match="'brain' is not a kind of backend; use stt, llm"):
        spec(kind="brain")


def test_a_backend_is_made_with_its_model_and_options():
    backend = spec().create("large", temperature=0.7)
    assert (backend.name, backend.model_name, backend.temperature) == ("parrot", "large", 0.7)
    assert spec().create().model_name == "small"


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(
        UnknownOptionError, match=r"no option 'temprature'; did you mean 'temperature'"
    ):
        spec().create(temprature=1)
    with pytest.raises(UnknownOptionError, match=r"no option 'zzz'; it has model, temperature\."):
        spec().create(zzz=1)


def test_a_backend_without_models_says_so():
    with pytest.raises(UnknownOptionError, match="parrot has no models to choose from"):
        spec(factory=lambda: Parrot()).create("large")  # noqa: PLW0108 (a factory without model=)


def test_a_factory_that_takes_anything_gets_anything():
    made = spec(factory=lambda **options: Parrot(str(sorted(options)))).create("large", depth=3)
    assert made.model_name == "['depth', 'model']"


def test_what_an_engine_needs_is_looked_for_and_not_imported():
    assert spec(requires=("json", "xml.dom")).missing() is None
    absent = spec(requires=("json", "no_such_engine", "no_such_package.engine"))
    assert absent.missing() == "no_such_engine, no_such_package.engine is not installed"


def test_what_is_missing_comes_with_the_command_that_fixes_it():
    registry = Registry()
    registry.add(spec(requires=("no_such_engine",)), distribution="evakit-parrot", version="1.0")
    assert registry.get("llm", "parrot").missing() == (
        "no_such_engine is not installed; install it with: pip install evakit-parrot"
    )


def test_lists_become_tuples_and_capabilities_have_defaults():
    made = spec(requires=["json"])
    assert made.requires == ("json",)
    assert made.capabilities == Capabilities()


# --- the registry


def test_backends_are_listed_by_kind_and_then_by_name():
    registry = Registry()
    for kind in reversed(KINDS):
        for name in ("b", "a"):
            registry.add(spec(name, kind))
    assert [(s.kind, s.name) for s in registry] == [(k, n) for k in KINDS for n in ("a", "b")]


def test_one_name_may_serve_several_kinds():
    registry = Registry()
    registry.add(spec(kind="llm"))
    registry.add(spec(kind="tts"))
    assert registry.get("tts", "parrot").kind == "tts"


def test_a_second_backend_of_one_name_names_both_distributions():
    registry = Registry()
    registry.add(spec(), distribution="first-parrot", version="1.0")
    with pytest.raises(DuplicateBackendError) as caught:
        registry.add(spec(), distribution="second-parrot", version="2.1")
    assert str(caught.value) == (
        "first-parrot 1.0 and second-parrot 2.1 both offer a llm named 'parrot'; "
        "uninstall one of them."
    )
    assert caught.value.distribution == "second-parrot"


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("llm", "parot", r"did you mean 'parrot'\?"),
        ("stt", "whisper", r"install the plugin evakit-whisper\."),
        ("tts", "zzz", r"installed are: none \(see 'evakit plugins'\)\."),
        ("llm", "zzz", r"installed are: parrot \(see 'evakit plugins'\)\."),
    ],
)
def test_an_unknown_backend_comes_with_a_hint(kind, name, hint):
    registry = Registry()
    registry.add(spec())
    with pytest.raises(UnknownBackendError, match=f"There is no {kind} named '{name}'; {hint}"):
        registry.get(kind, name)


@pytest.mark.parametrize(
    ("distribution", "kind", "name"),
    [
        ("evakit-whisper", "stt", "whisper"),
        ("evakit-whisper", "vad", "silero"),
        ("Evakit_Smart.Turn", "turn_detector", "smart-turn"),
        ("acme-speech", "tts", "acme"),
    ],
)
def test_a_broken_plugin_is_an_error_for_whoever_asks_for_its_backend(distribution, kind, name):
    registry = Registry()
    registry.add(spec())
    broken = PluginLoadError("It broke.", distribution=distribution)
    registry.add_broken(broken)
    with pytest.raises(PluginLoadError) as caught:
        registry.get(kind, name)
    assert caught.value is broken
    assert registry.get("llm", "parrot").name == "parrot"
    for other in ("evakit", "a", "isper"):
        with pytest.raises(UnknownBackendError, match=f"{distribution} could not be loaded"):
            registry.get("tts", other)
