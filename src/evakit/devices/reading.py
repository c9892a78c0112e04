"""Taking the Inventory: host and NVML together, and which GPU is which for CUDA.

NVML and CUDA count differently. What `cuda:N` means is decided by `CUDA_VISIBLE_DEVICES` and
`CUDA_DEVICE_ORDER` at the moment at which CUDA is initialised in a process; from then on CUDA says
it itself. What may not live here: how each of them is read, and deciding what is wrong.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve

from . import cuda
from .host import read_host
from .inventory import Driver, Gpu, GpuProcess, Host, Inventory
from .nvml import read_nvml

__all__ = ["pin_device_order", "take_inventory", "visible_order"]

_ORDER: Final = "CUDA_DEVICE_ORDER"
_PCI: Final = "PCI_BUS_ID"

# Like strtol, CUDA reads the number that an entry begins with: "1st" is 1.
_NUMBER: Final = re.compile(r"\s*([+-]?)0*([0-9]{1,9})")

# https://docs.nvidia.com/datacenter/tesla/mig-user-guide/mig-device-names.html: "Starting with
# CUDA 12/R570, enumeration of a single compute instance per GPU instance is supported".
_MANY_INSTANCES: Final = 570


def pin_device_order(environ: MutableMapping[str, str] = os.environ) -> None:
    """See to it that CUDA will count this process's GPUs in the order of the PCI bus, as NVML does.

    Sets `CUDA_DEVICE_ORDER=PCI_BUS_ID` unless the variable is set, or CUDA has been initialised:
    that is when it reads the variable. Call it before an engine is loaded and before the inventory
    is taken; it costs microseconds.
    """
    if _ORDER not in environ and cuda.is_initialised() is False:
        environ[_ORDER] = _PCI


def take_inventory(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> Inventory:
    """Look at this machine and at its GPUs; loads no engine and makes no context.

    `cuda_index` is what CUDA itself says once it is initialised in this process, whatever the
    environment says by then. Before, it follows from `CUDA_VISIBLE_DEVICES`, see `visible_order`,
    provided that the order is known: it is when `CUDA_DEVICE_ORDER` is `PCI_BUS_ID` (see
    `pin_device_order`), when only one GPU works, and when the GPUs are named by UUID, which puts
    them into the order of their names. Otherwise CUDA will put "the fastest" first, by a rule that
    is not documented: then it is None for every GPU.

    Args:
        root: The folder in which `/proc`, `/sys`, `/dev` and the like are looked for.
        environ: The environment.

    """
    host = read_host(root, environ)
    reading = read_nvml()
    order = _order(host, reading.gpus, reading.driver)
    can_name = host.container is None and not host.is_wsl
    return Inventory(
        host=host,
        driver=reading.driver,
        nvml=reading.failure,
        gpus=[
            evolve(
                gpu,
                cuda_index=order.get(gpu.uuid),
                processes=_named(gpu.processes, root) if can_name else gpu.processes,
            )
            for gpu in reading.gpus
        ],
    )


def visible_order(
    value: str | None, gpus: Iterable[Gpu], *, driver: Driver | None = None
) -> dict[str, int]:
    """Return by UUID the N of `cuda:N` of each GPU and MIG instance that CUDA will show.

    `value` is that of `CUDA_VISIBLE_DEVICES`: None shows all, "" none. It is a list of numbers or
    of UUIDs, which may be cut short, by the kind of the first; the first entry that names nothing
    ends the list, and one that is there twice empties it. A GPU that is lost is not counted. A GPU
    that is divided shows the first compute instance of each of its GPU instances, never itself;
    with a driver before 570 a process sees one instance only, and then no other GPU.

    The rules are those of
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
    and of PyTorch, whose tests compare them with CUDA. That CUDA takes MIG instances in NVML's
    order is not documented; the proof of a placement looks at the UUID again.

    Args:
        value: The value of `CUDA_VISIBLE_DEVICES`; None when it is not set.
        gpus: All GPUs in the order of the PCI bus, each followed by its MIG instances.
        driver: The driver; None means one of 570 or later.

    """
    gpus = [gpu for gpu in gpus if gpu.lost is None]
    whole = [gpu for gpu in gpus if gpu.parent is None]
    if value is None:
        chosen = whole
    elif value.startswith("GPU-"):
        chosen = _by_name(value, {gpu.uuid: gpu for gpu in whole})
    elif value.startswith("MIG-"):
        chosen = _by_name(value, _instance_names(gpus))
    else:
        chosen = _by_number(value, whole)
    shown: dict[object, Gpu] = {}
    for device in (device for gpu in chosen for device in _devices(gpu, gpus)):
        shown.setdefault(_place(device), device)
    devices = list(shown.values())
    instances = [device for device in devices if device.parent is not None]
    if instances and _is_before(driver, _MANY_INSTANCES):
        devices = instances[:1]
    return {device.uuid: number for number, device in enumerate(devices)}


def _order(host: Host, gpus: Sequence[Gpu], driver: Driver | None) -> dict[str, int]:
    """Return by UUID the N of `cuda:N`, as far as it is known: see `take_inventory`."""
    if cuda.is_initialised() is not False:
        return {uuid: number for number, uuid in (cuda.devices() or {}).items()}
    value = host.visible_devices
    is_by_uuid = value is not None and value.startswith(("GPU-", "MIG-"))
    working = sum(gpu.parent is None and gpu.lost is None for gpu in gpus)
    if host.device_order == _PCI or is_by_uuid or working == 1:
        return visible_order(value, gpus, driver=driver)
    return {}


def _by_number(value: str, whole: Sequence[Gpu]) -> list[Gpu]:
    numbers: list[int] = []
    for entry in value.split(","):
        found = _NUMBER.match(entry)
        number = int(found[1] + found[2]) if found else -1
        if number < 0:
            break
        if number in numbers:
            return []
        numbers.append(number)
    usable = itertools.takewhile(lambda number: number < len(whole), numbers)
    return [whole[number] for number in usable]


def _by_name(value: str, names: Mapping[str, Gpu]) -> list[Gpu]:
    """Return what the UUIDs, or their unambiguous beginnings, in `value` name."""
    kind = value[:4]
    entries = list(itertools.takewhile(lambda entry: entry.startswith(kind), value.split(",")))
    if len(set(entries)) < len(entries):
        return []
    chosen: list[Gpu] = []
    for entry in entries:
        named = {gpu.uuid: gpu for name, gpu in names.items() if name.startswith(entry)}
        if len(named) != 1:
            break
        (gpu,) = named.values()
        if gpu in chosen:
            return []
        chosen.append(gpu)
    return chosen


def _instance_names(gpus: Iterable[Gpu]) -> dict[str, Gpu]:
    """Return the MIG instances by UUID, and by the name that drivers before 470 gave them."""
    names = {}
    for gpu in gpus:
        if gpu.parent is not None:
            names[gpu.uuid] = gpu
            if gpu.instance is not None:
                names[f"MIG-{gpu.parent}/{gpu.instance[0]}/{gpu.instance[1]}"] = gpu
    return names


def _devices(gpu: Gpu, gpus: Iterable[Gpu]) -> list[Gpu]:
    """Return what CUDA shows of a GPU that is chosen: itself, or its MIG instances."""
    if not gpu.has_mig:
        return [gpu]
    return [instance for instance in gpus if instance.parent == gpu.uuid]


def _place(device: Gpu) -> object:
    """Return what CUDA shows one device of: a GPU, or a GPU instance."""
    return device.uuid if device.instance is None else (device.parent, device.instance[0])


def _is_before(driver: Driver | None, release: int) -> bool:
    major = "" if driver is None else (driver.version or "").partition(".")[0]
    return major.isdecimal() and int(major) < release


def _named(processes: tuple[GpuProcess, ...] | None, root: Path) -> tuple[GpuProcess, ...] | None:
    if processes is None:
        return None
    return tuple(evolve(process, name=_program(process.pid, root)) for process in processes)


def _program(pid: int, root: Path) -> str | None:
    try:
        return (root / f"proc/{pid}/comm").read_text("utf-8", "replace").strip() or None
    except OSError:  # it has ended
        return None
