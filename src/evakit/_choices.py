"""How a user says which backend, and the unloaded backend that is meant by it.

What may not live here: loading, fetching, voices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from .abc import LLM, STT, TTS, VAD, Backend, TurnDetector
from .devices import Device, choose_device
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
    """A backend by name, with options; made by `backend`."""

    name: str
    options: Mapping[str, Any] = field(factory=dict)


def backend(name: str, **options: Any) -> BackendChoice:
    """Name a backend and set its options: `backend("piper:joe", rate=1.2)`."""
    return BackendChoice(name, options)


BackendLike = str | BackendChoice | Backend | None
"""A backend by name, by name with options, as an instance; None leaves the stage out."""


@frozen
class Chosen:
    """A backend that was made and is not loaded, and the device that it is meant for."""

    backend: Backend
    device: Device


def create(kind: str, asked: BackendLike, registry: Registry, device: str | None) -> Chosen | None:
    """Make the backend that was asked for; `device` holds where its name says none.

    Raises:
        BackendUnavailableError: its engine is not installed.
        ConfigurationError: what was asked for is no backend of that kind, or has no such option.
        DeviceError: the device cannot be had.
        PluginError: nothing offers it, or its plugin cannot be loaded.

    """
    if asked is None:
        return None
    if isinstance(asked, Backend):
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
        new = asked
    else:
        if isinstance(asked, str):
            asked = BackendChoice(asked)
        if not isinstance(asked, BackendChoice):
            raise ConfigurationError(
                f"{kind}= takes a name, evakit.backend(...), an instance or None, "
                f"not {type(asked).__name__}."
            )
        name = BackendName.parse(asked.name)
        spec = registry.get(kind, name.name)
        missing = spec.missing()
        if missing:
            raise BackendUnavailableError(
                f"{name.name} cannot be used: {missing}.", backend=name.name, stage=kind
            )
        new = spec.create(name.model, **asked.options)
        device = name.device or device
    supported = new.capabilities.devices
    return Chosen(new, choose_device(device, component=new.name, supported=supported))
