"""PlacementReport: what runs where, as text and as JSON.

What may not live here: finding it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from .inventory import Gpu, Inventory
from .lease import Lease
from .ledger import shown

__all__ = ["PlacementReport"]


def _copies(leases: Iterable[Lease]) -> tuple[dict[str, Any], ...]:
    return tuple(lease.to_json() for lease in leases)


@frozen(kw_only=True)
class PlacementReport:
    """What runs where at one moment."""

    inventory: Inventory
    leases: tuple[dict[str, Any], ...] = field(converter=_copies)
    """Each component, as JSON values; see `Lease.to_json`."""
    quarantined: Mapping[str, str]
    """GPUs that are not used any more, and why."""
    stuck_threads: int
    """Loads that never returned, each in a thread that cannot be stopped."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        driver = self.inventory.driver
        return {
            "gpus": [
                {
                    "uuid": gpu.uuid,
                    "name": gpu.name,
                    "device": None if gpu.cuda_index is None else f"cuda:{gpu.cuda_index}",
                    "memory_total_bytes": gpu.memory_total,
                    "memory_used_bytes": gpu.memory_used,
                    "utilization_percent": gpu.utilization,
                    "lost": gpu.lost,
                    "quarantined": self.quarantined.get(gpu.uuid),
                }
                for gpu in self.inventory.gpus
            ],
            "driver": None if driver is None else driver.version,
            "components": list(self.leases),
            "stuck_threads": self.stuck_threads,
        }

    def __str__(self) -> str:
        lines = [_gpu(gpu, self.quarantined.get(gpu.uuid)) for gpu in self.inventory.gpus]
        lines = lines or ["No NVIDIA GPU."]
        for lease in self.leases:
            lines.append(f"{lease['component']}: {lease['label']}")
            if lease["degraded"] or lease["trouble"]:
                lines.append(f"  because {lease['degraded'] or lease['trouble']}")
            proof = lease["proof"] or {"evidence": (), "verdict": None}
            lines += [f"  {e['strength']}: {e['says']}" for e in proof["evidence"]]
            if proof["verdict"]:
                lines.append(f"  so: {proof['verdict']}")
        if self.stuck_threads:
            lines.append(f"{self.stuck_threads} load(s) never returned.")
        return "\n".join(lines)


def _gpu(gpu: Gpu, quarantined: str | None) -> str:
    name = "hidden" if gpu.cuda_index is None else f"cuda:{gpu.cuda_index}"
    used = "?" if gpu.memory_used is None else shown(gpu.memory_used)
    total = "?" if gpu.memory_total is None else shown(gpu.memory_total)
    load = "?" if gpu.utilization is None else f"{gpu.utilization}"
    wrong = gpu.lost or quarantined
    end = f", not usable: {wrong}" if wrong else ""
    return f"{name} {gpu.name} ({gpu.uuid}): {used} of {total} in use, {load} % busy{end}"
