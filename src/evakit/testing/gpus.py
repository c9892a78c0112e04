"""A simulated machine with GPUs, and models that live on it: for tests without a GPU.

The machine is handed to a `DeviceManager` in place of its instruments; its models take memory, open
contexts and show evidence as real ones do, and can be told to misbehave. What may not live here:
engines, and anything of pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import anyio
from attrs import define, evolve, field

from ..abc import Capabilities, LoadContext
from ..devices import (
    Device,
    Driver,
    Evidence,
    Gpu,
    Host,
    Installed,
    Inventory,
    Machine,
    NvmlFailure,
    Strength,
    WarmUp,
)
from ..devices.device import CPU
from ..devices.evidence import MODEL
from ..devices.instruments import Instruments
from ..errors import DeviceError, GpuLostError
from .fakes import ToneTTS

__all__ = ["PlacedTTS", "SimulatedMachine", "SimulatedModel", "rtx_4090"]

GIB = 2**30


def rtx_4090(number: int = 0, *, total: int = 48 * GIB) -> Gpu:
    """Return a GPU with nothing on it."""
    return Gpu(
        uuid=f"GPU-{number:08x}-1111-2222-3333-444444444444",
        name="NVIDIA GeForce RTX 4090",
        index=number,
        cuda_index=number,
        compute_capability=(8, 9),
        memory_total=total,
        memory_free=total,
        memory_used=0,
        utilization=0,
        pci_bus=f"00000000:{number + 1:02x}:00.0",
        compute_mode="default",
        processes=(),
    )


class SimulatedMachine(Instruments):
    """A machine with `gpus`, a driver for CUDA 13, and no engine that its builds could rule out."""

    def __init__(self, *gpus: Gpu, inventory: Inventory | None = None) -> None:
        super().__init__()
        host = Host(
            system="linux",
            machine="x86_64",
            nvidia_pci=[f"0000:{gpu.index + 1:02x}:00.0" for gpu in gpus],
            kernel_driver="580.95.05" if gpus else None,
            device_nodes=["/dev/nvidiactl", *(f"/dev/nvidia{gpu.index}" for gpu in gpus)]
            if gpus
            else (),
        )
        driver = Driver(version="580.95.05", cuda=(13, 0)) if gpus else None
        self._simulated = inventory or Inventory(host=host, driver=driver, gpus=gpus)
        self.used = {gpu.uuid: gpu.memory_used or 0 for gpu in self._simulated.gpus}
        """Bytes in use on each GPU, by UUID; a test may change them, as other programs do."""
        self.contexts: set[str] = set()
        """The GPUs on which this process has an active context."""
        self.vanished: set[str] = set()
        """GPUs that the driver does not list any more."""
        self.is_forked = False
        """Whether this process was forked from one that had initialised CUDA."""
        self.lost: dict[str, str] = {}
        """GPUs that do not answer any more, and why."""

    def machine(self, *, fresh: bool = False) -> Machine:
        """Return the machine as it is now."""
        del fresh
        gpus = [
            evolve(
                gpu,
                memory_used=self.used[gpu.uuid],
                memory_free=(gpu.memory_total or 0) - self.used[gpu.uuid],
                lost=self.lost.get(gpu.uuid),
            )
            for gpu in self._simulated.gpus
            if gpu.uuid not in self.vanished
        ]
        return Machine(inventory=evolve(self._simulated, gpus=gpus), installed=Installed())

    def fail(self, failure: NvmlFailure | None) -> None:
        """Have the driver answer with `failure`, or again when it is None."""
        self._simulated = evolve(self._simulated, nvml=failure)

    def memory_used(self, uuid: str) -> int | None:
        """Return how many bytes are in use; of a GPU that is lost, it cannot be told."""
        return None if uuid in self.lost else self.used[uuid]

    def is_forked_after_cuda(self) -> bool:
        """Return what was set."""
        return self.is_forked

    def active_contexts(self) -> frozenset[str] | None:
        """Return the GPUs with an active context."""
        return frozenset(self.contexts)

    def find(self, device: Device) -> Gpu:
        """Return the GPU of that name, also when it is lost.

        Raises:
            DeviceError: there is none.

        """
        for gpu in self._simulated.gpus:
            if device.name == f"cuda:{gpu.cuda_index}":
                return gpu
        raise DeviceError(f"There is no {device} on this simulated machine; it has {self.used}.")


@define(kw_only=True, eq=False)
class SimulatedModel:
    """A model of `size` bytes on a simulated machine. What it does wrong can be set."""

    machine: SimulatedMachine
    size: int = GIB
    goes_to: Device | None = None
    """Where it goes without a word, whatever was asked for."""
    share: float | None = None
    """The share of its work that is done there; the rest is done on the CPU."""
    shows: Callable[[Iterable[Evidence]], Iterable[Evidence]] = field(default=tuple)
    """What it makes of its evidence."""
    opens_context: bool = True
    takes_memory: bool = True
    gives_memory_back: bool = True
    works: bool = True
    """Whether its warm-up gives anything."""
    hangs: bool = False
    fails: Exception | None = None
    loads: list[Device] = field(factory=list)
    """The devices that it was loaded on, one after the other."""
    unloads: int = 0
    device: Device | None = None
    probe: ClassVar[str | None] = None

    async def load(self, device: Device, vram_bytes: int | None = None) -> None:
        """Load it."""
        del vram_bytes
        if device.name in {"auto", "cuda"}:
            raise DeviceError(f"{device} is no exact device; say which one.")
        self.loads.append(device)
        if self.hangs:
            await anyio.sleep_forever()
        if self.fails is not None and device.is_gpu:
            raise self.fails
        self.device = self.goes_to or device
        if self.device.is_gpu:
            gpu = self.machine.find(self.device)
            if self.opens_context:
                self.machine.contexts.add(gpu.uuid)
            if self.takes_memory:
                self.machine.used[gpu.uuid] += self.size

    async def warm_up(self) -> WarmUp | None:
        """Do some work."""
        return WarmUp(seconds=0.25, amount=2.0, unit="s of audio") if self.works else None

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where its work is done."""
        if self.device is None:
            return ()
        seen = [
            Evidence(
                kind=MODEL,
                strength=Strength.OBSERVED,
                device=self.device,
                says=f"the output of a run is on {self.device}",
                share=self.share,
            )
        ]
        if self.share is not None:
            rest = Evidence(
                kind=MODEL,
                strength=Strength.OBSERVED,
                device=CPU,
                says=f"{1 - self.share:.0%} of the run was on the CPU",
                share=1 - self.share,
            )
            seen.append(rest)
        return tuple(self.shows(seen))

    def quick_check(self) -> Device:
        """Say where it is now."""
        if self.device is None:
            raise GpuLostError("The model is not loaded.")
        return self.device

    async def unload(self) -> None:
        """Give it back."""
        self.unloads += 1
        device, self.device = self.device, None
        if device is not None and device.is_gpu and self.takes_memory and self.gives_memory_back:
            uuid = self.machine.find(device).uuid
            self.machine.used[uuid] -= self.size


class PlacedTTS(ToneTTS):
    """The tone of `ToneTTS`, from a model that can be on a GPU of a simulated machine."""

    capabilities = Capabilities(devices={"cpu", "cuda"})

    def __init__(self, model: SimulatedModel) -> None:
        super().__init__()
        self.model = model

    def vram_estimate(self, context: LoadContext) -> int | None:
        """Return the model's size."""
        del context
        return self.model.size

    async def load(self, context: LoadContext) -> None:
        """Load the model."""
        await self.model.load(context.device, context.vram_bytes)

    async def warm_up(self) -> WarmUp | None:
        """Have the model do some work."""
        return await self.model.warm_up()

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where the model's work is done."""
        return self.model.evidence()

    def quick_check(self) -> Device:
        """Say where the model is now."""
        return self.model.quick_check()

    async def unload(self) -> None:
        """Give the model back."""
        await self.model.unload()
