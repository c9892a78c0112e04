"""How a user says which backend, and the unloaded backend that is meant by it.

What may not live here: loading, fetching, voices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from ._functions import from_function
from .abc import LLM, STT, TTS, VAD, Backend, TurnDetector
from .devices import DeviceRequest, bind
from .errors import BackendUnavailableError, ConfigurationError
from .registry import BackendName, Registry

__all__ = ["BackendChoice", "BackendLike", "Chosen", "backend", "create"]

_KINDS: Final[dict[str, type[Backend]]] = {
    "stt": STT,
    "llm": LLM,
    "tts": TTS,
    "vad": VAD,
    "turn_detector": TurnDetector,
}


@frozen
class BackendChoice:
    """A backend by name or as a function, with options; made by `backend`."""

    name: str | Callable[..., Any]
    options: Mapping[str, Any] = field(factory=dict, repr=lambda options: f"{_shown(options)}")

    def shown_options(self) -> Mapping[str, Any]:
        """Return the options as they may be printed: what reads like a secret is hidden."""
        return {name: _shown(value, name) for name, value in self.options.items()}


_SECRET: Final = re.compile("key|token|passw|passphrase|secret|credential|auth", re.IGNORECASE)
_LOGIN: Final = re.compile("(?<=://)[^/@]*@")  # of an address


def _shown(value: Any, name: str = "") -> Any:
    """Return a value as it may be printed, `name` being the option's that it is."""
    counts = name.lower().endswith("tokens") and isinstance(value, int | float)
    if _SECRET.search(name) and not counts and value is not None:
        return "***"
    if isinstance(value, Mapping):
        return {key: _shown(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner, name) for inner in value]
    if isinstance(value, int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _LOGIN.sub("***@", str(value))


def backend(name: str | Callable[..., Any], /, **options: Any) -> BackendChoice:
    """Name a backend and set its options: `backend("piper:joe", rate=1.2)`.

    Of a function: `name`, by which messages call it, and `timeout`, the seconds that a piece of
    its answer is waited for (60). An STT's also `sample_rate`, in hertz, of what it hears (16000).
    """
    return BackendChoice(name, options)


BackendLike = str | BackendChoice | Backend | Callable[..., Any] | None
"""A backend by name, by name with options, as an instance, or as a plain function; None leaves
the stage out."""


@frozen
class Chosen:
    """A backend that was made and is not loaded, and what is asked for as its device."""

    backend: Backend
    request: DeviceRequest


def create(kind: str, asked: BackendLike, registry: Registry, device: str | None) -> Chosen | None:
    """Make the backend that was asked for; `device` holds where its name says none.

    Raises:
        BackendUnavailableError: its engine is not installed.
        ConfigurationError: what was asked for is no backend of that kind, or has no such option.
        DeviceError: a GPU is asked for in the name of a backend that cannot use any.
        PluginError: nothing offers it, or its plugin cannot be loaded.

    """
    if asked is None:
        return None
    by_name = False
    if isinstance(asked, Backend):
        new = _checked(kind, asked)
    else:
        choice = asked if isinstance(asked, BackendChoice) else BackendChoice(asked)
        if isinstance(choice.name, str):
            name = BackendName.parse(choice.name)
            new = _by_name(kind, name, choice.options, registry)
            device, by_name = name.device or device, name.device is not None
        elif callable(choice.name):
            new = from_function(kind, choice.name, **choice.options)
        else:
            raise ConfigurationError(
                f"{kind}= takes a name, evakit.backend(...), an instance, a function or None, "
                f"not {type(choice.name).__name__}."
            )
    supported = new.capabilities.devices
    return Chosen(new, bind(device, component=new.name, supported=supported, by_name=by_name))


def _checked(kind: str, asked: Backend) -> Backend:
    """Return an instance of the user's that can be used here."""
    if not isinstance(asked, _KINDS[kind]):
        raise ConfigurationError(
            f"{kind}= was given a {type(asked).__name__}, which is not a "
            f"{_KINDS[kind].__name__}; pass a name or a {_KINDS[kind].__name__}."
        )
    if asked.in_stack:
        raise ConfigurationError(
            f"This {type(asked).__name__} is loaded in another Stack already; share that Stack "
            "between the conversations, or make another instance."
        )
    asked.name = asked.name or type(asked).__name__
    return asked


def _by_name(
    kind: str, name: BackendName, options: Mapping[str, Any], registry: Registry
) -> Backend:
    spec = registry.get(kind, name.name)
    missing = spec.missing()
    if missing:
        raise BackendUnavailableError(
            f"{name.name} cannot be used: {missing}.", backend=name.name, stage=kind
        )
    return spec.create(name.model, **options)
