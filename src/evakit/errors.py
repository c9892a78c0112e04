"""Everything that can go wrong, as one tree.

::

    EvakitError
    ├── AudioError                 (ValueError)
    │   ├── AudioFormatError       not audio, or audio of a form that cannot be used
    │   └── EmptyAudioError        audio of no length
    ├── BackendError               .backend .stage .retryable
    │   ├── TranscriptionError
    │   ├── GenerationError
    │   │   └── ContextTooLongError
    │   ├── SynthesisError
    │   ├── DetectionError
    │   ├── BackendBusyError       its queue did not move in time
    │   ├── BackendTimeoutError    .seconds
    │   └── BackendUnavailableError
    ├── ConfigurationError         (ValueError)
    │   ├── UnknownOptionError
    │   ├── UnknownVoiceError
    │   └── UnknownLanguageError
    ├── ConversationBusyError      (RuntimeError) one turn at a time
    ├── ConversationClosedError    (RuntimeError) used after close, or after fork
    ├── DeviceError                .component .wanted .found .why .findings .fixes
    │   └── PlacementError         .proof
    │       ├── NoGpuError         there is none, or none that this program may see
    │       ├── DriverError        the driver is missing, too old, or does not answer
    │       ├── WheelFlavourError  the engine was built without the device
    │       ├── MissingLibraryError
    │       ├── ArchUnsupportedError
    │       ├── VramBudgetError    the model does not fit; says who holds the memory
    │       ├── SilentFallbackError  the engine went elsewhere without a word
    │       ├── PartialPlacementError
    │       ├── PlacementDrift     it was there, and is there no more
    │       └── GpuLostError       the GPU is gone, or no longer trusted
    ├── ModelError                 .model .retryable
    │   ├── UnknownModelError      (LookupError)
    │   ├── ModelUnavailableError  no source could deliver it
    │   └── ModelIntegrityError    its bytes are not the declared ones
    ├── PluginError                .distribution
    │   ├── PluginLoadError
    │   ├── DuplicateBackendError
    │   └── UnknownBackendError    (LookupError)
    └── StorageError               (OSError) a disk that is full, a folder that cannot be written

Silence, an empty transcript and an interrupted turn are values, not errors.
A message is one sentence that says what happened and what to do.
What may not live here: anything that names a particular backend, and anything that acts.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Any

__all__ = [
    "ArchUnsupportedError",
    "AudioError",
    "AudioFormatError",
    "BackendBusyError",
    "BackendError",
    "BackendTimeoutError",
    "BackendUnavailableError",
    "ConfigurationError",
    "ContextTooLongError",
    "ConversationBusyError",
    "ConversationClosedError",
    "DetectionError",
    "DeviceError",
    "DriverError",
    "DuplicateBackendError",
    "EmptyAudioError",
    "EvakitError",
    "GenerationError",
    "GpuLostError",
    "MissingLibraryError",
    "ModelError",
    "ModelIntegrityError",
    "ModelUnavailableError",
    "NoGpuError",
    "PartialPlacementError",
    "PlacementDrift",
    "PlacementError",
    "PluginError",
    "PluginLoadError",
    "SilentFallbackError",
    "StorageError",
    "SynthesisError",
    "TranscriptionError",
    "UnknownBackendError",
    "UnknownLanguageError",
    "UnknownModelError",
    "UnknownOptionError",
    "UnknownVoiceError",
    "VramBudgetError",
    "WheelFlavourError",
]


class EvakitError(Exception):
    """The root: catch this to catch everything that evakit raises on purpose."""

    retryable: bool = False
    """Whether the same call, made again, may succeed."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> Any:
        # Errors cross process borders (a backend may live in another process), and
        # the default way calls __init__ with positional arguments only.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class AudioError(EvakitError, ValueError):
    """Something is wrong with audio that was given to evakit."""


class AudioFormatError(AudioError):
    """The bytes are not audio, or the audio has a form that cannot be used here."""


class EmptyAudioError(AudioError):
    """The audio holds no samples."""


class BackendError(EvakitError):
    """A backend failed; `__cause__` is the engine's own exception."""

    stage = "backend"

    def __init__(
        self, message: str, *, backend: str, stage: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.backend = backend
        """The name under which the backend was asked for."""
        self.stage = stage or type(self).stage
        """`stt`, `llm`, `tts`, `vad` or `turn_detector`."""
        self.retryable = retryable


class TranscriptionError(BackendError):
    """Speech could not be turned into text."""

    stage = "stt"


class GenerationError(BackendError):
    """No reply could be generated, or it stopped half way."""

    stage = "llm"


class ContextTooLongError(GenerationError):
    """One message alone is longer than what the model can read."""


class SynthesisError(BackendError):
    """Text could not be turned into speech, or came back as silence."""

    stage = "tts"


class DetectionError(BackendError):
    """Speech, or the end of a turn, could not be judged."""

    stage = "vad"


class BackendBusyError(BackendError):
    """Others were using the backend for longer than the caller was willing to wait."""


class BackendTimeoutError(BackendError):
    """The backend did not answer in time."""

    def __init__(
        self, message: str, *, backend: str, seconds: float, stage: str | None = None
    ) -> None:
        super().__init__(message, backend=backend, stage=stage, retryable=True)
        self.seconds = seconds
        """How long it was waited for."""


class BackendUnavailableError(BackendError):
    """The backend cannot be used here and now: not installed, no network, no key."""


class ConfigurationError(EvakitError, ValueError):
    """An argument or a setting makes no sense."""


class UnknownOptionError(ConfigurationError):
    """A backend has no option of that name."""


class UnknownVoiceError(ConfigurationError):
    """No such voice, or the voice does not speak the language that was asked for."""


class UnknownLanguageError(ConfigurationError):
    """The language is not one that the chosen backends know."""


class ConversationBusyError(EvakitError, RuntimeError):
    """A conversation was asked for a second turn while one is running."""


class ConversationClosedError(EvakitError, RuntimeError):
    """A conversation or stack was used after it was closed, or in a forked child."""


class DeviceError(EvakitError):
    """A device that was asked for is not there, or the model is not on it."""

    def __init__(
        self,
        message: str,
        *,
        component: str | None = None,
        wanted: str | None = None,
        found: str | None = None,
        why: str | None = None,
        findings: Iterable[object] = (),
        fixes: Iterable[object] = (),
    ) -> None:
        super().__init__(message)
        self.component = component
        """The backend it is about, or None when the machine is meant."""
        self.wanted = wanted
        """The device that was asked for."""
        self.found = found
        """Where the model was observed to be; None when it was not loaded."""
        self.why = why
        """The reason alone, without what was asked for and what to do."""
        self.findings = tuple(findings)
        """What was found on the machine that explains it, each an `evakit.devices.Finding`."""
        self.fixes = tuple(fixes)
        """What to do, most promising first, each an `evakit.devices.Remedy`."""


class PlacementError(DeviceError):
    """A model could not be put, or kept, where it was asked for."""

    def __init__(self, message: str, *, proof: object = None, **about: Any) -> None:
        super().__init__(message, **about)
        self.proof = proof
        """What was observed, an `evakit.devices.Proof`; None when nothing was loaded."""


class NoGpuError(PlacementError):
    """There is no GPU, or none that this program is allowed to see."""


class DriverError(PlacementError):
    """The GPU's driver is missing, too old, or does not answer."""


class WheelFlavourError(PlacementError):
    """The engine that is installed was built without support for the device."""


class MissingLibraryError(PlacementError):
    """A library that the engine needs on the device is not there, or there twice."""


class ArchUnsupportedError(PlacementError):
    """The engine that is installed has no code for this generation of GPUs."""


class VramBudgetError(PlacementError):
    """The model does not fit into the memory of the GPU that may be used."""


class SilentFallbackError(PlacementError):
    """The engine loaded the model somewhere else, and did not say so."""


class PartialPlacementError(PlacementError):
    """Only a part of the model's work is done where it was asked for."""


class PlacementDrift(PlacementError):  # noqa: N818 (its name in the design)
    """A model is no longer where it was proven to be."""


class GpuLostError(PlacementError):
    """The GPU is gone, or a load that hangs has made it unusable until the next start."""


class ModelError(EvakitError):
    """A model's files are missing, wrong or unknown."""

    def __init__(self, message: str, *, model: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.model = model
        """The name of the model."""
        self.retryable = retryable


class UnknownModelError(ModelError, LookupError):
    """Nothing installed declares a model of that name."""


class ModelUnavailableError(ModelError):
    """None of a model's sources could deliver it."""


class ModelIntegrityError(ModelError):
    """A file's size or SHA-256 is not the declared one; it is not used."""


class PluginError(EvakitError):
    """Something is wrong with a plugin."""

    def __init__(self, message: str, *, distribution: str | None = None) -> None:
        super().__init__(message)
        self.distribution = distribution
        """The installed distribution that the plugin came with, when it is known."""


class PluginLoadError(PluginError):
    """A plugin could not be imported or registered; `__cause__` says why."""


class DuplicateBackendError(PluginError):
    """Two distributions offer a backend of one kind under one name."""


class UnknownBackendError(PluginError, LookupError):
    """No installed plugin offers a backend of that name."""


class StorageError(EvakitError, OSError):
    """A file could not be written: the disk is full, or the folder is read-only."""
