"""LoadedBackend: a backend that is ready, as a Stack shows it.

What may not live here: loading it (`stack.py`).
"""

from __future__ import annotations

from attrs import field, frozen

from .abc import Backend
from .devices import Lease, Proof

__all__ = ["LoadedBackend"]


@frozen
class LoadedBackend:
    """A backend that is ready, and where it was found to be."""

    name: str
    """As it is known to the registry, or its class's name when an instance was passed."""
    model: str | None
    lease: Lease
    backend: Backend = field(repr=False)

    @property
    def device(self) -> str:
        """Where it runs, for programs.

        `cpu`, `remote`, `cuda:0` if that is proven, or `drifted` or `lost`.
        """
        return self.lease.place

    @property
    def label(self) -> str:
        """Where it runs, for people, who are told why too.

        As `device`, or `cpu (degraded)` or `cpu (by design)`.
        """
        return self.lease.label

    @property
    def proof(self) -> Proof | None:
        """What was seen of where it is, and what that amounts to; None of what works elsewhere."""
        return self.lease.proof

    @property
    def degraded(self) -> str | None:
        """Why it is on the CPU though a GPU was preferred; None when it is where it was to be."""
        return self.lease.degraded
