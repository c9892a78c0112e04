"""Backend: what all kinds share, and BlockingBackend, which runs plain functions in threads.

What may not live here: anything that is true of one kind only.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from attrs import field, frozen

from .. import _threads
from ..devices import Device, Evidence, Strength, WarmUp
from ..devices.device import CPU, REMOTE
from ..devices.evidence import MODEL
from ..models import Model

__all__ = ["Backend", "BlockingBackend", "Capabilities", "LoadContext"]


def _copy(folders: Mapping[str, Path]) -> Mapping[str, Path]:
    return dict(folders)


@frozen(eq=False, repr=False)
class _Folders(Mapping[str, Path]):
    """Folders by model: as good as a dict to read and to pickle; nothing in it can be set."""

    _folders: Mapping[str, Path] = field(converter=_copy)

    def __getitem__(self, name: str) -> Path:
        return self._folders[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)

    def __repr__(self) -> str:
        return repr(self._folders)


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@frozen(kw_only=True)
class Capabilities:
    """What a backend can do, as data; each flag reads as a sentence about the backend."""

    devices: frozenset[str] = field(default=frozenset({"cpu"}), converter=_names)
    """Where it can run: `cpu`, `cuda`; `{"remote"}` for a service elsewhere."""
    engines: frozenset[str] = field(default=frozenset(), converter=_names)
    """The engines whose builds and libraries decide whether it can run on a GPU: `torch`,
    `onnxruntime`, `ctranslate2`, `llama.cpp`. They are looked at before anything is loaded."""
    serves_many_at_once: bool = False
    """Its engine takes several calls at a time. Where not, a `Blocking...` base serves one whole
    reply (LLM), clause (TTS) or utterance (STT) after the other, and nothing in between, so an
    engine may keep the state of the one at work; an ABC without such a base sees to it itself."""
    has_side_effects: bool = False
    """A call does more than compute; it is never made for a reply that may be dropped."""


@frozen(kw_only=True)
class LoadContext:
    """What a backend is given to load with."""

    device: Device = CPU
    """The exact device; never `auto`."""
    threads: int | None = None
    """How many CPU threads it may use; None leaves it to the backend."""
    models: Mapping[str, Path] = field(default={}, converter=_Folders)
    """For each model that the backend named in `models()`: the folder with its checked files."""
    offline: bool = False
    """Nothing may be fetched."""
    vram_bytes: int | None = None
    """How much of the GPU's memory it may take, where the engine can be held to it."""


class Backend(ABC):
    """An engine that does one kind of work.

    Constructing is cheap: no import of the engine, no file, no socket, no device. The loaded
    model is shared by all conversations and does not change; state lives in sessions.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    name: str = ""
    """The name under which it was asked for, for messages; evakit sets it."""
    model_name: str | None = None
    """The model it uses, for people; None when it has none."""
    in_stack: bool = False
    """Whether a Stack has loaded it; evakit sets it. One instance belongs to one Stack."""

    def models(self) -> tuple[Model, ...]:
        """Name the models that `load` needs; they are fetched and checked before it is called.

        Must not touch the disk or the network.
        """
        return ()

    async def load(self, context: LoadContext) -> None:
        """Make ready for work; called once, before the first session.

        Raises:
            BackendUnavailableError: its engine is not installed, or cannot be reached.
            ModelError: a model's files are missing or wrong.
            DeviceError: it cannot run on `context.device`.

        """

    async def unload(self) -> None:
        """Give everything back; also after `load` failed or was never called, and twice."""

    # Where it runs. `evakit.devices` decides that, in this order: `vram_estimate`, `load` on the
    # exact device, `warm_up`, `evidence`; then `quick_check` from time to time.

    probe: ClassVar[str | None] = None
    """A function that is called with a device's name, in a process of its own, before the first
    load on that GPU, and raises what is wrong; for an engine that ends the process where a library
    is missing. Written as `module:function`."""

    def vram_estimate(self, context: LoadContext) -> int | None:
        """Say how many bytes of a GPU's memory it will take, for its weights and its work.

        Looks at the sizes of files at most. None when it cannot be told.
        """
        del context
        return None

    async def warm_up(self) -> WarmUp | None:
        """Do real work with the loaded model, so that the first task is not the slowest and that
        where the work is done can be seen. None when there is no model.

        Raises:
            DeviceError: it does not work on the device that it was loaded for.
            BackendError: the engine failed.

        """
        return None

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where the loaded model is, as *seen* in the engine after real work, and what was
        looked at; cheap enough to be repeated. What was asked for is no evidence.
        """
        return (
            Evidence(
                kind=MODEL,
                strength=Strength.DECLARED,
                device=self.quick_check(),
                says="answers come from a server elsewhere"
                if self.capabilities.devices == {"remote"}
                else "runs in this process and holds no model",
            ),
        )

    def quick_check(self) -> Device:
        """Say where the loaded model is now, in less than a millisecond.

        Raises:
            DeviceError: it is not where it could work.

        """
        return REMOTE if self.capabilities.devices == {"remote"} else CPU


class BlockingBackend(Backend):
    """A backend whose engine blocks: write plain functions, evakit runs them in a thread."""

    _lane: _threads.Lane | None = None

    def load_model(self, context: LoadContext) -> None:
        """Import the engine and load the model; in a worker thread.

        Raises:
            BackendUnavailableError: its engine is not installed.
            ModelError: a model's files are missing or wrong.
            DeviceError: it cannot run on `context.device`.

        """

    def unload_model(self) -> None:
        """Give everything back; in a worker thread; calling it twice is fine."""

    def warm_up_model(self) -> WarmUp | None:
        """Do real work with the loaded model; in a worker thread. See `warm_up`."""
        return None

    async def load(self, context: LoadContext) -> None:
        """Run `load_model` in a worker thread."""
        # One lane a backend, for its engine's state: the cores of a CPU, or what a GPU can do at
        # a time, are shared out by the operating system and the driver.
        self._lane = None if self.capabilities.serves_many_at_once else _threads.Lane(self.name)
        await _threads.run(self._load, context, lane=self._lane, backend=self.name)

    def _load(self, context: LoadContext) -> None:
        self.load_model(context)
        if _threads.stop_asked():  # whoever waited was cancelled, or gave it up: nobody unloads it
            self.unload_model()
            _threads.check_cancelled()

    async def unload(self) -> None:
        """Run `unload_model` in a worker thread."""
        await _threads.run(self.unload_model, lane=self._lane, backend=self.name)

    async def warm_up(self) -> WarmUp | None:
        """Run `warm_up_model` in a worker thread."""
        return await _threads.run(self.warm_up_model, lane=self._lane, backend=self.name)
