"""Ledger: who holds how much of which GPU, and whether one more fits.

Pure bookkeeping over what it is told. What may not live here: reading memory, waiting, loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from .inventory import Gpu
from .lease import Lease

__all__ = ["CONTEXT_BYTES", "HEADROOM", "Admission", "Ledger", "shown"]

CONTEXT_BYTES: Final = 400 * 2**20
"""Bytes that the first model of a process takes beside its own: CUDA's context and the code of
its kernels, 300 to 500 MB with cuBLAS on a recent card."""
HEADROOM: Final = 0.15
"""The share by which an estimate may be too low."""


@frozen(kw_only=True)
class Admission:
    """Whether a model fits on a GPU, and the numbers that say so, in bytes."""

    gpu: Gpu
    needed: int
    available: int | None
    """None where the GPU's memory cannot be read: then everything fits."""
    why: str
    """For people, a clause without full stop."""

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.available is None or self.needed <= self.available

    @property
    def missing(self) -> int:
        """How many bytes are missing."""
        return 0 if self.available is None else max(0, self.needed - self.available)


class Ledger:
    """The leases of this process, GPU by GPU."""

    def __init__(self, budget: Mapping[str, int] | int | None = None) -> None:
        self._budget = budget
        self._leases: list[Lease] = []
        self._uses = 0

    @property
    def leases(self) -> tuple[Lease, ...]:
        """All that are held, the oldest first."""
        return tuple(self._leases)

    def add(self, lease: Lease) -> None:
        """Enter a lease."""
        self._leases.append(lease)
        self.touch(lease)

    def remove(self, lease: Lease) -> None:
        """Take a lease out; one that is not there is no error."""
        if lease in self._leases:
            self._leases.remove(lease)

    def touch(self, lease: Lease) -> None:
        """Note that a lease is used now."""
        self._uses += 1
        lease.used = self._uses

    def on(self, uuid: str) -> tuple[Lease, ...]:
        """Return the leases on a GPU."""
        return tuple(lease for lease in self._leases if lease.gpu and lease.gpu.uuid == uuid)

    def held(self, uuid: str) -> int:
        """Return how many bytes of a GPU the leases hold, as measured, else as reserved."""
        return sum(
            lease.reserved if lease.measured is None else lease.measured for lease in self.on(uuid)
        )

    def budget(self, uuid: str) -> int | None:
        """Return how many bytes of a GPU this process may hold; None when all that is free."""
        if isinstance(self._budget, Mapping):
            return self._budget.get(uuid)
        return self._budget

    def admit(self, gpu: Gpu, estimate: int, *, has_context: bool) -> Admission:
        """Say whether a model of `estimate` bytes fits on `gpu`, as it is now."""
        needed = round(estimate * (1 + HEADROOM)) + (0 if has_context else CONTEXT_BYTES)
        rooms = {"free": gpu.memory_free}
        budget = self.budget(gpu.uuid)
        if budget is not None:
            rooms["left of the budget"] = budget - self.held(gpu.uuid)
        known = {name: room for name, room in rooms.items() if room is not None}
        if not known:
            return Admission(gpu=gpu, needed=needed, available=None, why="its memory is unknown")
        name, room = min(known.items(), key=lambda item: item[1])
        total = "" if gpu.memory_total is None else f" of {shown(gpu.memory_total)}"
        why = f"it needs {shown(needed)} and {shown(room)}{total} are {name} on {gpu.name}"
        return Admission(gpu=gpu, needed=needed, available=room, why=why)

    def evictable(self, uuid: str) -> list[Lease]:
        """Return the leases on a GPU that may be evicted: lowest priority first, then the longest
        unused.
        """
        held = [lease for lease in self.on(uuid) if lease.evict and lease.request.evictable]
        return sorted(held, key=lambda lease: (lease.request.priority, lease.used))

    def holders(self, gpu: Gpu) -> str:
        """Name who holds the GPU's memory: ours by component, others by process."""
        ours = [
            f"{lease.request.component} ({shown(lease.measured or lease.reserved)})"
            for lease in self.on(gpu.uuid)
        ]
        others = [
            f"{p.name or 'a process'} {p.pid}"
            + ("" if p.memory is None else f" ({shown(p.memory)})")
            for p in gpu.processes or ()
        ]
        if gpu.processes is None and not ours:
            return "who holds it cannot be told here"
        told = [f"of this program: {', '.join(ours)}"] if ours else []
        told += [f"processes on the GPU: {', '.join(others)}"] if others else []
        return "; ".join(told) or "nobody that can be told"


def shown(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if abs(size) >= 2**30 else f"{size / 2**20:.0f} MiB"
