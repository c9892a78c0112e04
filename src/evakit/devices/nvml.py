"""Asking NVML, NVIDIA's management library, through `nvidia-ml-py`, which is imported when asked.

NVML answers without CUDA: it makes no context, takes no memory of a GPU and knows GPUs that this
process may not use. Every call finds NVML as it was and leaves it so (its `nvmlInit` counts), and
may be made from any thread. What a driver, a card or a container does not tell is None. What may
not live here: which GPUs this process sees, and deciding what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

from attrs import frozen

from .inventory import Driver, Gpu, GpuProcess, NvmlFailure

__all__ = ["UNKNOWN_UUID", "NvmlReading", "memory_used", "read_nvml", "utilization"]

UNKNOWN_UUID: Final = "GPU-????????-????-????-????-????????????"
"""The UUID of a GPU that does not tell it any more, as the driver writes it under `/proc`."""

_UNNAMED: Final = "unnamed GPU"

# https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
_NOT_SUPPORTED: Final = 3
_NO_PERMISSION: Final = 4
_LOST: Final = frozenset({15, 16})  # "GPU is lost", "GPU requires restart"
_PARTS: Final = ("Gpu", "Compute")  # a MIG instance is a compute instance of a GPU instance
_COMPUTE_MODES: Final = {0: "default", 2: "prohibited", 3: "exclusive"}


@frozen(kw_only=True)
class NvmlReading:
    """What NVML said, or why it could not be asked."""

    driver: Driver | None = None
    """None when NVML could not be asked."""
    failure: NvmlFailure | None = None
    """None when it could."""
    gpus: tuple[Gpu, ...] = ()
    """All that it knows, in its order, each followed by its MIG instances; which of them this
    process sees is not in it."""


def read_nvml() -> NvmlReading:
    """Ask for the driver and for every GPU: milliseconds where the driver is awake.

    Where nothing keeps it awake (no display, no program on a GPU, no persistence mode), waking it
    can take seconds.
    """
    nvml = _module()
    if nvml is None:
        text = "nvidia-ml-py is not installed"
        return NvmlReading(failure=NvmlFailure(code=None, text=text))
    try:
        with _opened(nvml):
            return NvmlReading(driver=_driver(nvml), gpus=_gpus(nvml))
    except nvml.NVMLError as error:
        return NvmlReading(failure=NvmlFailure(code=error.value, text=str(error)))


def memory_used(uuid: str) -> int | None:
    """Return the bytes in use on the GPU or MIG instance, whoever's; None where it is not told."""
    return _ask_one(uuid, lambda nvml, handle: getattr(_memory(nvml, handle), "used", None))


def utilization(uuid: str) -> int | None:
    """Return the percent of the last moment in which the GPU worked, whoever's work it was.

    The driver's moment is between a sixth of a second and a second. None where it is not told; a
    MIG instance never tells.
    """
    return _ask_one(uuid, _utilization)


def _module() -> Any:
    try:
        return import_module("pynvml")
    except ImportError:
        return None


@contextmanager
def _opened(nvml: Any) -> Generator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _ask_one(uuid: str, question: Callable[[Any, Any], int | None]) -> int | None:
    nvml = _module()
    if nvml is None:
        return None
    try:
        with _opened(nvml):
            return question(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError:
        return None


def _ask(nvml: Any, function: str, *arguments: object) -> Any:
    """Return what NVML answers, None when it does not tell.

    An older distribution, `pynvml`, has a module of the same name with fewer functions.

    Raises:
        pynvml.NVMLError: the GPU that was asked is lost.

    """
    ask = getattr(nvml, function, None)
    if ask is None:
        return None
    try:
        return ask(*arguments)
    except nvml.NVMLError as error:
        if error.value in _LOST:
            raise
        return None
    except UnicodeDecodeError:  # nvidia-ml-py takes every name for UTF-8
        return None


def _driver(nvml: Any) -> Driver:
    # Of its two calls the one that says so where libcuda cannot be found; the other makes one up.
    number = _ask(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    return Driver(
        version=_ask(nvml, "nvmlSystemGetDriverVersion"),
        cuda=None if number is None else (number // 1000, number % 1000 // 10),
    )


def _gpus(nvml: Any) -> tuple[Gpu, ...]:
    gpus: list[Gpu] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            # A GPU that a container was not given is counted all the same:
            # https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
            if error.value != _NO_PERMISSION:
                gpus.append(Gpu(uuid=UNKNOWN_UUID, name=_UNNAMED, index=index, lost=str(error)))
            continue
        gpus += _gpu(nvml, handle, index)
    return tuple(gpus)


def _gpu(nvml: Any, handle: Any, index: int) -> list[Gpu]:
    """Return the GPU and its MIG instances."""
    uuid, name = UNKNOWN_UUID, _UNNAMED
    try:
        uuid = _ask(nvml, "nvmlDeviceGetUUID", handle) or uuid
        name = _ask(nvml, "nvmlDeviceGetName", handle) or name
        mig = _ask(nvml, "nvmlDeviceGetMigMode", handle)
        has_mig = mig is not None and mig[0] == 1  # now, not at next boot
        metrics = _metrics(nvml, handle)
        shared: dict[str, Any] = {
            "index": index,
            "compute_capability": _ask(nvml, "nvmlDeviceGetCudaComputeCapability", handle),
            "pci_bus": _pci_bus(_ask(nvml, "nvmlDeviceGetPciInfo", handle)),
            "compute_mode": _COMPUTE_MODES.get(_ask(nvml, "nvmlDeviceGetComputeMode", handle)),
        }
        is_integrated = (
            not has_mig and metrics["memory_total"] is None and _is_integrated(nvml, handle)
        )
        whole = Gpu(
            uuid=uuid,
            name=name,
            has_mig=has_mig,
            is_integrated=is_integrated,
            **shared,
            **metrics,
        )
        instances = _instances(nvml, handle, uuid, shared) if has_mig else []
    except nvml.NVMLError as error:
        return [Gpu(uuid=uuid, name=name, index=index, lost=str(error))]
    return [whole, *instances]


def _instances(nvml: Any, parent: Any, uuid: str, shared: dict[str, Any]) -> list[Gpu]:
    instances = []
    for slot in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", parent) or 0):
        handle = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", parent, slot)
        own = None if handle is None else _ask(nvml, "nvmlDeviceGetUUID", handle)
        if own is None:  # an empty slot, or one that was emptied just now
            continue
        parts = [_ask(nvml, f"nvmlDeviceGet{kind}InstanceId", handle) for kind in _PARTS]
        instances.append(
            Gpu(
                uuid=own,
                name=_ask(nvml, "nvmlDeviceGetName", handle) or _UNNAMED,
                parent=uuid,
                instance=None if None in parts else (parts[0], parts[1]),
                **shared,
                **_metrics(nvml, handle),
            )
        )
    return instances


def _metrics(nvml: Any, handle: Any) -> dict[str, Any]:
    memory = _memory(nvml, handle)
    return {
        "memory_total": getattr(memory, "total", None),
        "memory_free": getattr(memory, "free", None),
        "memory_used": getattr(memory, "used", None),
        "utilization": _utilization(nvml, handle),
        "processes": _processes(nvml, handle),
    }


def _memory(nvml: Any, handle: Any) -> Any:
    """Return NVML's total, free and used bytes, or None.

    The newer call, of driver 510, keeps apart what the driver holds for itself; in the older one
    that is used, though nobody uses it.
    """
    newer = [(nvml.nvmlMemory_v2,)] if hasattr(nvml, "nvmlMemory_v2") else []
    for version in (*newer, ()):
        memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle, *version)
        if memory is not None and memory.total:
            return memory
    return None


def _is_integrated(nvml: Any, handle: Any) -> bool:
    """Say whether the GPU has no memory of its own: NVML then has none to tell of.

    https://docs.nvidia.com/dgx/dgx-spark/known-issues.html: memory usage is "Not Supported".
    """
    try:
        return bool(nvml.nvmlDeviceGetMemoryInfo(handle).total == 0)
    except nvml.NVMLError as error:
        return bool(error.value == _NOT_SUPPORTED)


def _utilization(nvml: Any, handle: Any) -> int | None:
    rates = _ask(nvml, "nvmlDeviceGetUtilizationRates", handle)
    return None if rates is None else int(rates.gpu)


def _processes(nvml: Any, handle: Any) -> tuple[GpuProcess, ...] | None:
    """Return who computes on the GPU and who draws with it; who does both is in both lists."""
    computing = _ask(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", handle)
    if computing is None:
        return None
    drawing = _ask(nvml, "nvmlDeviceGetGraphicsRunningProcesses_v3", handle) or []
    memory: dict[int, int | None] = {}
    for process in (*computing, *drawing):
        memory[process.pid] = memory.get(process.pid) or process.usedGpuMemory
    return tuple(GpuProcess(pid=pid, memory=memory[pid]) for pid in sorted(memory))


def _pci_bus(info: Any) -> str | None:
    """Return the address as the kernel writes it, `0000:01:00.0`; NVML's domain is longer."""
    if info is None:
        return None
    domain, _, rest = info.busId.partition(":")
    return f"{int(domain, 16):04x}:{rest.lower()}"
