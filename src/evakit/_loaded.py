"""LoadedBackend: a backend that is ready, as a Stack shows it.

What may not live here: loading it (`stack.py`).
"""

from __future__ import annotations

from attrs import field, frozen

from .abc import Backend
from .devices import Placement

__all__ = ["LoadedBackend"]


@frozen
class LoadedBackend:
    """A backend that is ready, and where it was found to be."""

    name: str
    """As it is known to the registry, or its class's name when an instance was passed."""
    model: str | None
    placement: Placement
    backend: Backend = field(repr=False)

    @property
    def device(self) -> str:
        """The device that was read back from the engine."""
        return str(self.placement)
