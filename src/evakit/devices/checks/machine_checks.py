"""What keeps every engine from the GPU, in the order in which it has to be cured.

What may not live here: what is about one engine, and what exactly is wrong with a driver
(`driver_checks.py`), a container or WSL (`guest_checks.py`), or a GPU that answers
(`gpu_checks.py`).
"""

from __future__ import annotations

from ...errors import NoGpuError
from ..finding import Finding, Remedy, Severity
from ..inventory import Host, Inventory, NvmlFailure
from ..machine import Machine
from .driver_checks import driver_failure, no_bindings, old_driver
from .driver_fixes import shell_command
from .gpu_checks import check_gpus
from .guest_checks import container, container_failure, container_remedies, wsl
from .nvml_codes import NO_LIBRARY, NOT_LOADED
from .seen import nodes, said, seen

__all__ = ["check_machine", "has_nvidia"]


def has_nvidia(inventory: Inventory) -> bool:
    """Say whether anything here points to a GPU of NVIDIA, be it one that cannot be used."""
    host, failure = inventory.host, inventory.nvml
    if inventory.gpus or inventory.driver or host.nvidia_pci or host.kernel_driver or host.is_tegra:
        return True
    if nodes(host):
        return True
    if failure is None:
        return False
    if failure.code is None:  # every WSL 2 has the file, be the GPU NVIDIA's or not
        return host.is_wsl and "/dev/dxg" in host.device_nodes
    # A library without a GPU can be left over, except in WSL, which needs none of its own.
    silent = {NO_LIBRARY} if host.is_wsl else {NO_LIBRARY, NOT_LOADED}
    return failure.code not in silent


def check_machine(machine: Machine, *, device: str = "cuda") -> tuple[Finding, ...]:
    """Return what is wrong with the machine for a model that is to run on `device`, worst first.

    `cuda`, `cuda:1` and a UUID ask for a GPU: where that cannot be used, something is found that
    is no mere warning. With `auto` a machine without any NVIDIA GPU is in order, and with `cpu`
    every machine is.
    """
    if device == "cpu":
        return ()
    inventory = machine.inventory
    is_required = device != "auto"
    if inventory.host.system == "darwin":
        return (_macos(inventory.host),) if is_required else ()
    if not has_nvidia(inventory):
        return (_no_gpu(inventory),) if is_required else ()
    if inventory.nvml is not None:
        found = _unreachable(machine, inventory.nvml, is_required=is_required)
        return () if found is None else (found,)
    if not inventory.gpus:
        return (_empty(inventory),)
    old = old_driver(machine)
    return (*([old] if old else ()), *check_gpus(inventory, device))


def _unreachable(machine: Machine, failure: NvmlFailure, *, is_required: bool) -> Finding | None:
    """There is, or may be, a GPU, and NVML did not answer."""
    inventory = machine.inventory
    host = inventory.host
    if host.is_tegra:  # older ones have none, and their GPU works
        return _jetson(failure) if is_required else None
    if host.is_wsl and host.container is None:
        return no_bindings(failure) if failure.code is None else wsl(inventory)
    found = None if host.container is None else container_failure(inventory, failure)
    return found or driver_failure(machine, failure)


def _macos(host: Host) -> Finding:
    return Finding(
        code="macos",
        severity=Severity.BLOCKER,
        what="macOS has no CUDA, so that no GPU of a Mac can be asked for as cuda",
        evidence=f"the system is {host.system} on {host.machine}",
        fix=[Remedy(what="ask for device 'auto' or 'cpu'")],
        error=NoGpuError,
    )


def _no_gpu(inventory: Inventory) -> Finding:
    """Nothing here is NVIDIA's, and a GPU is required."""
    host, failure = inventory.host, inventory.nvml
    if host.is_wsl and host.container is None:
        return wsl(inventory)
    if host.system != "linux" and failure is not None and failure.code is None:
        return no_bindings(failure)  # elsewhere only NVML tells
    guest = host.container is not None
    return Finding(
        code="no-gpu",
        severity=Severity.BLOCKER,
        what=f"this {'container' if guest else 'machine'} has no NVIDIA GPU",
        evidence=seen(inventory),
        fix=[
            *(container_remedies(host) if guest else ()),
            Remedy(what="ask for device 'auto' or 'cpu', or use a machine with an NVIDIA GPU"),
        ],
        error=NoGpuError,
    )


def _empty(inventory: Inventory) -> Finding:
    """NVML answers and knows no GPU."""
    if inventory.host.container is not None:
        return container(inventory)
    return Finding(
        code="no-gpu",
        severity=Severity.BLOCKER,
        what="NVIDIA's driver finds no GPU",
        evidence=seen(inventory),
        fix=[shell_command("read what the driver says of it", "sudo dmesg | grep NVRM")],
        error=NoGpuError,
    )


def _jetson(failure: NvmlFailure) -> Finding:
    return Finding(
        code="jetson-nvml",
        severity=Severity.UNKNOWN,
        what="this Jetson has no NVML, so that its GPU cannot be looked at",
        evidence=said(failure),
        fix=[Remedy(what="update to JetPack 6 or newer, or ask for device 'auto' or 'cpu'")],
        error=NoGpuError,
    )
