"""The error tree: as drawn, picklable, and each with its sentence."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from evakit import errors
from evakit.errors import BackendTimeoutError, ContextTooLongError, EvakitError

# What each family of errors is made with, besides its sentence.
ARGUMENTS = {
    errors.BackendTimeoutError: {"backend": "whisper", "seconds": 2.5},
    errors.BackendError: {"backend": "whisper", "stage": "stt", "retryable": True},
    errors.DeviceError: {"component": "whisper", "wanted": "cuda:0", "found": "cpu"},
    errors.ModelError: {"model": "whisper:base", "retryable": True},
    errors.PluginError: {"distribution": "evakit-whisper"},
    errors.EvakitError: {},
}
CLASSES = [getattr(errors, name) for name in errors.__all__]


def make(kind):
    family = next(base for base in ARGUMENTS if issubclass(kind, base))
    return kind("It broke; mend it.", **ARGUMENTS[family])


def drawn_tree():
    """The tree of the docstring: (name, parent, built-in bases, attributes)."""
    parents = {-1: None}
    for line in errors.__doc__.split("::", 1)[1].splitlines():
        found = re.match(r"( *(?:[│ ]+)?(?:[├└]── )?)(\w+(?:Error|Drift))\b(.*)", line)
        if not found:
            continue
        prefix, name, rest = found.groups()
        depth = (len(prefix) - 4) // 4
        parents = {d: n for d, n in parents.items() if d < depth} | {depth: name}
        builtins = re.search(r"\((\w+)\)", rest)
        yield (
            name,
            parents[depth - 1],
            {builtins.group(1)} if builtins else set(),
            set(re.findall(r" \.(\w+)", rest)),
        )


def test_the_drawn_tree_is_the_real_one():
    drawn = {name: (parent, bases) for name, parent, bases, _ in drawn_tree()}
    real = {}
    for kind in CLASSES:
        ours = [base.__name__ for base in kind.__bases__ if issubclass(base, EvakitError)]
        others = {b.__name__ for b in kind.__bases__ if not issubclass(b, EvakitError)}
        real[kind.__name__] = (ours[0] if ours else None, others - {"Exception"})
    assert drawn == real


def test_the_drawn_attributes_are_the_real_ones():
    for name, parent, _, attributes in drawn_tree():
        kind = getattr(errors, name)
        inherited = set(vars(make(getattr(errors, parent)))) if parent else set()
        assert attributes == set(vars(make(kind))) - inherited, name


def test_every_error_is_public_and_in_order():
    found = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, EvakitError)
    ]
    assert sorted(found) == errors.__all__


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_is_its_sentence_and_survives_pickling(kind):
    error = make(kind)
    assert str(error) == "It broke; mend it."
    assert isinstance(error, EvakitError)
    error.add_note("seen twice")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 (our own bytes)
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert twin.retryable == error.retryable


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_means(kind):
    assert kind.__doc__


def test_trying_again_is_no_use_unless_an_error_says_so():
    assert not EvakitError("Broken.").retryable
    assert not ContextTooLongError("Too long.", backend="llamacpp").retryable
    assert BackendTimeoutError("Too slow.", backend="groq", seconds=3).retryable


def test_a_stage_follows_from_the_kind_of_error():
    assert errors.TranscriptionError("x", backend="whisper").stage == "stt"
    assert errors.SynthesisError("x", backend="piper").stage == "tts"
    assert errors.DetectionError("x", backend="smart-turn", stage="turn_detector").stage == (
        "turn_detector"
    )


def test_the_usual_built_in_classes_catch_them():
    for kind, builtin in [
        (errors.AudioFormatError, ValueError),
        (errors.UnknownVoiceError, ValueError),
        (errors.UnknownBackendError, LookupError),
        (errors.StorageError, OSError),
        (errors.ConversationClosedError, RuntimeError),
    ]:
        with pytest.raises(builtin):
            raise make(kind)


def test_an_error_without_a_sentence_is_empty_text():
    assert str(EvakitError()) == ""
