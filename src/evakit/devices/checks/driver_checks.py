"""What is wrong with NVIDIA's driver: rows 9, 11 and 12 of the table.

What may not live here: containers and WSL, whose driver is their host's.
"""

from __future__ import annotations

from ...errors import DriverError, GpuLostError
from ..finding import Finding, Remedy, Severity
from ..inventory import Host, Inventory, NvmlFailure
from ..machine import Machine
from .driver_fixes import install_driver, shell_command, sign_module, update_driver
from .floors import driver_floor, driver_supports
from .nvml_codes import LOST, MISMATCH, NO_LIBRARY, NOT_LOADED, RESET
from .seen import said, seen
from .wheel_fixes import install

__all__ = ["driver_failure", "no_bindings", "old_driver", "restart"]


def driver_failure(machine: Machine, failure: NvmlFailure) -> Finding:
    """Return why NVML does not answer, where that is no container's and no WSL's fault."""
    inventory = machine.inventory
    host = inventory.host
    has_module = host.kernel_driver is not None
    if failure.code == NOT_LOADED:
        return _not_loaded(inventory)
    if failure.code == MISMATCH:
        return _mismatch(inventory)
    if failure.code in {LOST, RESET}:
        return _lost(inventory)
    if host.nvidia_pci and not has_module and host.container is None:
        return _missing(
            inventory,
            "there is an NVIDIA GPU, and NVIDIA's driver is not loaded",
            install_driver(is_secure_boot=host.is_secure_boot),
        )
    if failure.code == NO_LIBRARY:
        what = "NVIDIA's kernel module is there, and the driver's libraries are not"
        return _missing(inventory, what, [update_driver(machine)])
    return no_bindings(failure) if failure.code is None else _unknown(inventory)


def old_driver(machine: Machine) -> Finding | None:
    """Return the finding about a driver that is too old for every engine; None when it is not."""
    driver = machine.inventory.driver
    if driver is None or machine.inventory.host.is_tegra:
        return None
    if driver_supports(driver, (12, 0)) is not False:
        return None
    newest = "" if driver.cuda is None else f", supports CUDA {driver.cuda[0]}.{driver.cuda[1]}"
    return Finding(
        code="driver-too-old",
        severity=Severity.BLOCKER,
        what="NVIDIA's driver is too old for every engine",
        evidence=f"driver {driver.version}{newest}; CUDA 12 needs {driver_floor((12, 0))}",
        fix=[update_driver(machine)],
        error=DriverError,
    )


def no_bindings(failure: NvmlFailure) -> Finding:
    """Return the finding that NVML cannot be asked from Python."""
    return Finding(
        code="nvml-missing",
        severity=Severity.UNKNOWN,
        what="the GPUs cannot be looked at, since nvidia-ml-py is not installed",
        evidence=said(failure),
        fix=[install("nvidia-ml-py", what="install it")],
        error=DriverError,
    )


def restart(host: Host) -> Remedy:
    """Return how to restart the machine, or that of the container."""
    command = "shutdown /r /t 0" if host.system == "windows" else "sudo reboot"
    where = "machine" if host.container is None else "machine that the container runs on"
    return Remedy(what=f"restart the {where}", shell=command)


def _missing(inventory: Inventory, what: str, fix: list[Remedy]) -> Finding:
    return Finding(
        code="driver-missing",
        severity=Severity.BLOCKER,
        what=what,
        evidence=seen(inventory),
        fix=fix,
        error=DriverError,
    )


def _not_loaded(inventory: Inventory) -> Finding:
    fix = [shell_command("load the kernel module", "sudo modprobe nvidia")]
    if inventory.host.is_secure_boot:
        fix.insert(0, sign_module())
    return Finding(
        code="driver-not-loaded",
        severity=Severity.BLOCKER,
        what="NVIDIA's driver is installed, and its kernel module is not loaded",
        evidence=seen(inventory),
        fix=[*fix, *install_driver()],
        error=DriverError,
    )


def _mismatch(inventory: Inventory) -> Finding:
    return Finding(
        code="driver-mismatch",
        severity=Severity.BLOCKER,
        what="NVIDIA's driver was updated, and its old kernel module is still loaded",
        evidence=seen(inventory),
        fix=[
            restart(inventory.host),
            shell_command(
                "or load the module anew, while nothing uses the GPU",
                "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia",
            ),
        ],
        error=DriverError,
    )


def _lost(inventory: Inventory) -> Finding:
    return Finding(
        code="gpu-lost",
        severity=Severity.BLOCKER,
        what="the GPU does not answer any more",
        evidence=seen(inventory),
        fix=[
            restart(inventory.host),
            shell_command("read why it was lost", "sudo dmesg | grep -i xid"),
        ],
        error=GpuLostError,
    )


def _unknown(inventory: Inventory) -> Finding:
    return Finding(
        code="nvml-unknown",
        severity=Severity.UNKNOWN,
        what="NVIDIA's driver does not answer, and does not say why",
        evidence=seen(inventory),
        fix=[
            shell_command("see what NVIDIA's own tool says", "nvidia-smi"),
            restart(inventory.host),
        ],
        error=DriverError,
    )
