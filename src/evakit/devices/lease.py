"""Lease: one component on one device, from its reservation to its release.

What may not live here: deciding anything about it, which the manager does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum
from typing import Any, Protocol

from attrs import define, field

from .device import Device
from .evidence import MODEL, Evidence, Proof, Verdict, WarmUp
from .finding import Remedy
from .inventory import Gpu
from .request import Binding, DeviceRequest

__all__ = ["Evict", "Lease", "LeaseState", "Placeable"]

Evict = Callable[[], Awaitable[bool]]
"""Unloads a model where nobody uses it, and says whether it did."""


class Placeable(Protocol):
    """What the manager needs of a backend: `evakit.abc.Backend` has all of it."""

    @property
    def probe(self) -> str | None:
        """See `evakit.abc.Backend.probe`."""

    async def warm_up(self) -> WarmUp | None:
        """See `evakit.abc.Backend.warm_up`."""

    def evidence(self) -> Collection[Evidence]:
        """See `evakit.abc.Backend.evidence`."""

    def quick_check(self) -> Device:
        """See `evakit.abc.Backend.quick_check`."""

    async def unload(self) -> None:
        """See `evakit.abc.Backend.unload`."""


class LeaseState(StrEnum):
    """How far a lease has come."""

    LOADING = "loading"
    """Its memory is reserved, and its model on the way."""
    VERIFIED = "verified"
    """It is where it was asked for."""
    DEGRADED = "degraded"
    """It works, on the CPU, because no GPU could be had."""
    DRIFTED = "drifted"
    """It was proven, and is somewhere else now."""
    LOST = "lost"
    """Its GPU is gone."""
    RELEASED = "released"
    """It was given back."""


@define(eq=False)
class Lease:
    """One component on one device."""

    request: DeviceRequest
    backend: Placeable = field(repr=False)
    device: Device
    """The exact device that it was loaded on."""
    gpu: Gpu | None = None
    """The GPU, as it was before loading; None on the CPU and elsewhere."""
    state: LeaseState = LeaseState.LOADING
    reserved: int = 0
    """Bytes of the GPU's memory that it was admitted with."""
    measured: int | None = None
    """Bytes that the GPU's use grew by; None where that cannot be read."""
    proof: Proof | None = None
    """What is known of where it is; None while it loads, and of what works elsewhere."""
    warm_up: WarmUp | None = None
    degraded: str | None = None
    """Why it is on the CPU though a GPU was preferred; None when it is where it was to be."""
    fix: tuple[Remedy, ...] = ()
    """What would cure that."""
    trouble: str | None = None
    """Why it drifted or was lost."""
    evict: Evict | None = field(default=None, repr=False)
    """Unloads it where nobody uses it, and says whether it did; None when it may not be."""
    has_hung: bool = False
    """Whether its load did not return in time; it may still be at work."""
    used: int = 0
    """The higher, the later it was used."""

    @property
    def is_on_gpu(self) -> bool:
        """Whether it is proven to be on a GPU. Nothing else may be called one."""
        return (
            self.state is LeaseState.VERIFIED
            and self.proof is not None
            and self.proof.verdict is Verdict.PROVEN
            and self.device.is_gpu
        )

    @property
    def place(self) -> str:
        """Where it runs: rendered from the proof, never from the request."""
        if self.request.binding is Binding.REMOTE:
            return "remote"
        if self.state in {LeaseState.DRIFTED, LeaseState.LOST}:
            return self.state.value
        return self.device.name if self.is_on_gpu else "cpu"

    @property
    def label(self) -> str:
        """Where it runs, for people, who are told why too.

        For one, `cuda:0`, `cpu`, `cpu (degraded)` or `cpu (by design)`.
        """
        if self.place != "cpu":
            return self.place
        if self.request.binding is Binding.BY_DESIGN:
            return "cpu (by design)"
        return "cpu (degraded)" if self.degraded else "cpu"

    @property
    def seen(self) -> str:
        """What its place is known from, for people: the evidence about the model itself."""
        pieces = () if self.proof is None else self.proof.evidence
        return "; ".join(piece.says for piece in pieces if piece.kind == MODEL)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "component": self.request.component,
            "policy": self.request.policy.value,
            "wanted": self.request.device.name,
            "binding": self.request.binding.value,
            "state": self.state.value,
            "device": self.place,
            "label": self.label,
            "gpu": None if self.gpu is None else {"uuid": self.gpu.uuid, "name": self.gpu.name},
            "reserved_bytes": self.reserved,
            "measured_bytes": self.measured,
            "warm_up": None if self.warm_up is None else str(self.warm_up),
            "degraded": self.degraded,
            "trouble": self.trouble,
            "fix": [remedy.to_json() for remedy in self.fix],
            "proof": None if self.proof is None else self.proof.to_json(),
        }
