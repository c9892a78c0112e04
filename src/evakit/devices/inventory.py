"""Inventory: what this machine is and which GPUs it has, as data.

GPUs are known by their UUID: NVML counts them in the order of the PCI bus and CUDA, unless told
otherwise, fastest first, and what a program may see is a selection. What may not live here:
reading any of it (`host.py`, `nvml.py`), importing an engine, and deciding what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

__all__ = ["Driver", "Gpu", "GpuProcess", "Host", "Inventory", "NvmlFailure"]


def _all(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@frozen(kw_only=True)
class Host:
    """What `/proc`, `/sys`, `/dev` and the environment say. Nothing in it needs a driver."""

    system: str
    """`linux`, `darwin` or `windows`."""
    machine: str
    """`x86_64`, `aarch64`, `arm64`."""
    nvidia_pci: tuple[str, ...] = field(default=(), converter=_all)
    """The PCI addresses of NVIDIA's display and 3D devices."""
    kernel_driver: str | None = None
    """The version of NVIDIA's kernel module that is loaded; None when none is."""
    container: str | None = None
    """`docker`, `podman`, `kubernetes`, `lxc` or `container`; None outside of one."""
    device_nodes: tuple[str, ...] = field(default=(), converter=_all)
    """NVIDIA's device files that are there: `/dev/nvidiactl`, `/dev/nvidia0`, `/dev/dxg`."""
    is_wsl: bool = False
    """Linux inside of Windows, where the driver is that of Windows."""
    is_tegra: bool = False
    """A Jetson, whose GPU shares the main memory and has wheels of its own."""
    visible_devices: str | None = None
    """`CUDA_VISIBLE_DEVICES`; None when it is not set, "" when it is set to nothing."""
    device_order: str | None = None
    """`CUDA_DEVICE_ORDER`; None when it is not set."""
    is_secure_boot: bool | None = None
    """Whether only signed kernel modules may be loaded; None when it cannot be told."""


@frozen(kw_only=True)
class NvmlFailure:
    """Why NVML could not be asked."""

    code: int | None
    """NVML's own code: 9 no driver, 12 no library, 15 GPU lost, 18 mismatch, 999 unknown; None
    when `nvidia-ml-py` is not installed."""
    text: str


@frozen(kw_only=True)
class GpuProcess:
    """A process that has memory of a GPU. Inside a container the number is the host's."""

    pid: int
    memory: int | None
    """Bytes; None where it cannot be told."""
    name: str | None = None
    """The program, where `/proc` knows the number."""


@frozen(kw_only=True)
class Gpu:
    """One GPU, or one MIG instance of a GPU. Sizes are bytes; None is what cannot be told."""

    uuid: str
    """`GPU-...` or `MIG-...`."""
    name: str
    index: int
    """Its number in NVML's order, that of the PCI bus; a MIG instance has its parent's."""
    cuda_index: int | None = None
    """Its CUDA number for this process; None when it may not be seen."""
    compute_capability: tuple[int, int] | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    memory_used: int | None = None
    utilization: int | None = None
    """Percent of the last moment in which anything ran."""
    pci_bus: str | None = None
    parent: str | None = None
    """The UUID of the GPU that a MIG instance is a part of; None for a whole GPU."""
    instance: tuple[int, int] | None = None
    """The numbers of the GPU instance and the compute instance that a MIG instance consists of;
    a program sees one compute instance of each GPU instance."""
    has_mig: bool = False
    """Whether it is divided into MIG instances: then nothing runs on the whole of it."""
    compute_mode: str | None = None
    """`default`, `exclusive` or `prohibited`."""
    processes: tuple[GpuProcess, ...] | None = None
    """Who uses it; None where that cannot be told (WSL, MIG)."""
    is_integrated: bool = False
    """Whether its memory is the main memory."""
    lost: str | None = None
    """Why it does not answer any more; None when it does."""


@frozen(kw_only=True)
class Driver:
    """NVIDIA's driver, as NVML knows it."""

    version: str | None = None
    """`580.95.05`."""
    cuda: tuple[int, int] | None = None
    """The newest CUDA that it supports, `(13, 0)`."""


@frozen(kw_only=True)
class Inventory:
    """The machine at one moment."""

    host: Host
    driver: Driver | None = None
    """None when there is none, or it does not answer."""
    nvml: NvmlFailure | None = None
    """Why the GPUs could not be asked for; None when they were."""
    gpus: tuple[Gpu, ...] = field(default=(), converter=_all)
    """All of them, in NVML's order, those that may not be seen too; a GPU is followed by its MIG
    instances."""

    @property
    def visible(self) -> tuple[Gpu, ...]:
        """Those that this process may use, in the order of their CUDA numbers."""
        seen = [gpu for gpu in self.gpus if gpu.cuda_index is not None and gpu.lost is None]
        return tuple(sorted(seen, key=lambda gpu: gpu.cuda_index or 0))

    def find(self, device: str) -> Gpu | None:
        """Return the visible GPU that `cuda:N` or a UUID names; a UUID may be cut short."""
        for gpu in self.visible:
            if device == f"cuda:{gpu.cuda_index}":
                return gpu
        named = [gpu for gpu in self.visible if gpu.uuid.startswith(device)]
        return named[0] if len(named) == 1 else None
