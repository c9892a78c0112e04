"""What the machine showed, in words: the evidence of findings about it.

What may not live here: what it means.
"""

from __future__ import annotations

from ..inventory import Host, Inventory, NvmlFailure

__all__ = ["nodes", "said", "seen"]


def nodes(host: Host) -> tuple[str, ...]:
    """Return the device files that NVIDIA's driver for Linux made."""
    return tuple(node for node in host.device_nodes if node != "/dev/dxg")


def seen(inventory: Inventory) -> str:
    """Say what was looked at, and what it said."""
    host, failure = inventory.host, inventory.nvml
    parts = []
    if host.system == "linux":
        pci = ", ".join(host.nvidia_pci)
        parts.append(f"NVIDIA on the PCI bus: {pci or 'nothing'}")
        parts.append(f"kernel module: {host.kernel_driver or 'not loaded'}")
        parts.append(f"device files: {', '.join(host.device_nodes) or 'none'}")
    if failure is not None:
        parts.append(said(failure))
    elif inventory.driver is not None:
        parts.append(f"NVML: driver {inventory.driver.version}, {len(inventory.gpus)} GPUs")
    return "; ".join(parts) or f"nothing of NVIDIA's on {host.system} {host.machine}"


def said(failure: NvmlFailure) -> str:
    """Say what NVML answered."""
    if failure.code is None:
        return f"NVML was not asked: {failure.text}"
    return f"NVML error {failure.code}: {failure.text}"
