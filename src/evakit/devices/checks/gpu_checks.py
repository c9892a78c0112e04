"""What keeps a GPU that answers from being used: hidden, lost, divided, kept for one, or full.

Rows 12, 13, 18 and 20 of the table. What may not live here: drivers, and engines.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import evolve

from ...errors import GpuLostError, NoGpuError, VramBudgetError
from ..finding import Finding, Remedy, Severity
from ..inventory import Gpu, GpuProcess, Host, Inventory
from .driver_checks import restart
from .driver_fixes import shell_command

__all__ = ["check_gpus", "check_memory"]

_LEAST: Final = 2**30  # bytes: CUDA's context and the smallest of our models
_FULL: Final = 0.95  # of the memory: what is asked for from there on may come from main memory
_MPS: Final = "nvidia-cuda-mps"  # shares one exclusive GPU between programs


def check_gpus(inventory: Inventory, device: str) -> tuple[Finding, ...]:
    """Return what is wrong with the GPUs for `device`: `auto`, `cuda`, `cuda:1` or a UUID.

    Where that GPU cannot be used, one of them is no mere warning.
    """
    is_any = device in {"auto", "cuda"}
    asked = inventory.visible if is_any else tuple(filter(None, [inventory.find(device)]))
    found = [*_lost(inventory, device), *_undivided(inventory), *_hidden(inventory)]
    kept = [finding for gpu in asked for finding in _kept(gpu)]
    if len(kept) < len(asked):  # another will do
        kept = [evolve(finding, severity=Severity.WARNING) for finding in kept]
    found += [*kept, *(finding for gpu in asked for finding in check_memory(inventory, gpu))]
    if not asked and all(finding.severity is Severity.WARNING for finding in found):
        found.append(_no_such_gpu(device, inventory))
    return tuple(sorted(found, key=lambda finding: finding.severity is Severity.WARNING))


def check_memory(
    inventory: Inventory, gpu: Gpu, *, needed: int | None = None
) -> tuple[Finding, ...]:
    """Return what is wrong with the memory of `gpu` for a model that needs `needed` bytes.

    Without a model it is only warned that there is little left.
    """
    total, free = gpu.memory_total, gpu.memory_free
    if not total or free is None:
        return ()
    if _spills(inventory.host, gpu) and total - free >= _FULL * total:
        return (_spill(gpu, total, free),)
    if free >= (_LEAST if needed is None else needed):
        return ()
    holders = ", ".join(map(_holder, gpu.processes or ())) or "unknown, the driver names none"
    wanted = "" if needed is None else f", and {_size(needed)} are needed"
    return (
        Finding(
            code="vram-taken",
            severity=Severity.WARNING if needed is None else Severity.BLOCKER,
            what=f"there is hardly any memory left on {_name(gpu)}",
            evidence=f"{_size(free)} of {_size(total)} are free{wanted}; held by: {holders}",
            fix=[
                shell_command(
                    "end what holds the memory, or choose a smaller model or budget",
                    f"nvidia-smi -i {gpu.uuid} --query-compute-apps=pid,name,used_memory "
                    "--format=csv",
                )
            ],
            error=VramBudgetError,
        ),
    )


def _spills(host: Host, gpu: Gpu) -> bool:
    """Say whether what does not fit goes to main memory without a word."""
    return host.system == "windows" or host.is_wsl or gpu.is_integrated


def _spill(gpu: Gpu, total: int, free: int) -> Finding:
    fix = [Remedy(what="lower the budget, or choose a smaller model")]
    if not gpu.is_integrated:
        fix.insert(
            0,
            Remedy(
                what="in NVIDIA's control panel set 'CUDA - Sysmem Fallback Policy' to 'Prefer "
                "No Sysmem Fallback'"
            ),
        )
    return Finding(
        code="vram-spill",
        severity=Severity.WARNING,
        what=f"{_name(gpu)} is full, and models that do not fit slow down without an error",
        evidence=f"{_size(total - free)} of {_size(total)} are in use, and "
        + ("it shares the main memory" if gpu.is_integrated else "Windows moves the rest there"),
        fix=fix,
        error=VramBudgetError,
    )


def _size(number: int) -> str:
    return f"{number / 2**20:.0f} MiB"


def _name(gpu: Gpu) -> str:
    return gpu.name if gpu.cuda_index is None else f"cuda:{gpu.cuda_index} ({gpu.name})"


def _names(gpus: Collection[Gpu]) -> str:
    return ", ".join(f"{_name(gpu)} {gpu.uuid}" for gpu in gpus) or "none"


def _holder(process: GpuProcess) -> str:
    size = "" if process.memory is None else f" with {_size(process.memory)}"
    return f"{process.name or 'process'} {process.pid}{size}"


def _lost(inventory: Inventory, device: str) -> list[Finding]:
    return [
        Finding(
            code="gpu-lost",
            severity=Severity.BLOCKER
            if not inventory.visible or _is(gpu, device)
            else Severity.WARNING,
            what=f"{gpu.name} does not answer any more",
            evidence=f"{gpu.uuid}: {gpu.lost}",
            fix=[
                restart(inventory.host),
                shell_command("read why it was lost", "sudo dmesg | grep -i xid"),
            ],
            error=GpuLostError,
        )
        for gpu in inventory.gpus
        if gpu.lost is not None
    ]


def _is(gpu: Gpu, device: str) -> bool:
    return device == f"cuda:{gpu.cuda_index}" or (
        not device.startswith("cuda") and gpu.uuid.startswith(device)
    )


def _undivided(inventory: Inventory) -> list[Finding]:
    """GPUs that are to be used in parts, and have none: nothing runs on the whole of them."""
    parents = {gpu.parent for gpu in inventory.gpus}
    return [
        Finding(
            code="mig-empty",
            severity=Severity.WARNING if inventory.visible else Severity.BLOCKER,
            what=f"{gpu.name} is in MIG mode and has no instances",
            evidence=f"{gpu.uuid} has MIG enabled, and NVML lists no instance of it",
            fix=[
                shell_command("leave MIG mode", f"sudo nvidia-smi -i {gpu.index} -mig 0"),
                shell_command(
                    "or make an instance of a PROFILE, which nvidia-smi mig -lgip lists",
                    f"sudo nvidia-smi mig -i {gpu.index} -cgi PROFILE -C",
                ),
            ],
            error=NoGpuError,
        )
        for gpu in inventory.gpus
        if gpu.has_mig and gpu.lost is None and gpu.uuid not in parents
    ]


def _hidden(inventory: Inventory) -> list[Finding]:
    """GPUs that work, and that this process may not see."""
    host, value = inventory.host, inventory.host.visible_devices
    working = [gpu for gpu in inventory.gpus if gpu.lost is None and not gpu.has_mig]
    if not working:
        return []
    if not inventory.visible:
        is_by_number = value is None or not value.startswith(("GPU-", "MIG-"))
        is_ordered = host.device_order == "PCI_BUS_ID" or len(working) == 1
        is_none = value is not None and value.strip() in {"", "-1"}
        if value is None or (is_by_number and not is_ordered and not is_none):
            return [_no_order(inventory)]
        return [_hiding(inventory, value)]
    seen = [gpu for gpu in inventory.gpus if gpu.cuda_index is not None]
    # Of MIG instances CUDA may show fewer than are named.
    if value is None or "MIG-" in value or len(value.split(",")) <= len(seen):
        return []
    return [_hiding(inventory, value)]


def _set(host: Host, name: str, value: str) -> str:
    """Return the command that sets a variable, or takes it away."""
    if host.system == "windows":
        return f"set {name}={value}"
    return f"export {name}={value}" if value else f"unset {name}"


def _hiding(inventory: Inventory, value: str) -> Finding:
    unset = _set(inventory.host, "CUDA_VISIBLE_DEVICES", "")
    return Finding(
        code="gpu-hidden",
        severity=Severity.WARNING if inventory.visible else Severity.BLOCKER,
        what="CUDA_VISIBLE_DEVICES names GPUs that are not there, which hides those after them"
        if inventory.visible
        else "CUDA_VISIBLE_DEVICES hides every GPU from this program",
        evidence=f"CUDA_VISIBLE_DEVICES={value!r}; visible are: {_names(inventory.visible)}; "
        f"there are {len(inventory.gpus)}",
        fix=[
            shell_command("let it see them", unset),
            Remedy(
                what="find out who sets it: a systemd unit, a .env file, the image, a plugin of "
                "pytest, or the scheduler that gave the GPU to somebody else"
            ),
        ],
        error=NoGpuError,
    )


def _no_order(inventory: Inventory) -> Finding:
    command = _set(inventory.host, "CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return Finding(
        code="device-order",
        severity=Severity.UNKNOWN,
        what="it cannot be told which GPU is cuda:0",
        evidence=f"CUDA_DEVICE_ORDER={inventory.host.device_order!r} with "
        f"{len(inventory.gpus)} GPUs",
        fix=[shell_command("have CUDA count them as NVML does", command)],
        error=NoGpuError,
    )


def _no_such_gpu(device: str, inventory: Inventory) -> Finding:
    hidden = [gpu for gpu in inventory.gpus if gpu.cuda_index is None and not gpu.has_mig]
    return Finding(
        code="no-such-gpu",
        severity=Severity.BLOCKER,
        what=f"this program sees no GPU that is {device}, or more than one",
        evidence=f"visible are: {_names(inventory.visible)}; hidden are: {_names(hidden)}",
        fix=[Remedy(what="name a visible one, or write 'cuda' for any")],
        error=NoGpuError,
    )


def _kept(gpu: Gpu) -> list[Finding]:
    """A GPU that takes one program only, or none."""
    mode = gpu.compute_mode
    holders = gpu.processes or ()
    if mode not in {"exclusive", "prohibited"}:
        return []
    if mode == "exclusive" and any((p.name or "").startswith(_MPS) for p in holders):
        return []
    is_closed = mode == "prohibited"
    return [
        Finding(
            code="compute-mode",
            # Those who only draw on it do not count, and cannot be told from the others.
            severity=Severity.BLOCKER if is_closed else Severity.WARNING,
            what=f"{_name(gpu)} lets {'no' if is_closed else 'only one'} program compute",
            evidence=f"compute mode {mode}; used by "
            + (", ".join(map(_holder, holders)) or "nobody that the driver names"),
            fix=[
                shell_command(
                    "share it between programs", f"sudo nvidia-smi -i {gpu.index} -c DEFAULT"
                ),
                Remedy(what="or end the program that has it"),
            ],
            error=NoGpuError,
        )
    ]
