"""Instruments: what the manager looks at the machine with; a test may hand it others.

What may not live here: how each thing is read (`reading.py`, `nvml.py`, `cuda.py`, `packages.py`),
and what it means.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from . import cuda, nvml
from .installed import Installed
from .inventory import Inventory
from .machine import Machine
from .packages import look_at_packages
from .reading import pin_device_order, take_inventory

__all__ = ["Instruments"]

_is_cuda_initialised = False  # as the last fork began
_forked_after_cuda = False

_FRESH: Final = 1.0  # seconds that an inventory is good for


class Instruments:
    """Reads the machine. Each of them blocks, for milliseconds where the driver is awake."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._installed: Installed | None = None
        self._inventory: Inventory | None = None
        self._taken_at = 0.0

    def machine(self, *, fresh: bool = False) -> Machine:
        """Return the machine; its GPUs as they were at most a second ago, or now if `fresh`.

        What is installed is read once a process, which has imported it by then.
        """
        with self._lock:
            pin_device_order()
            if self._installed is None:
                self._installed = look_at_packages()
            now = time.monotonic()
            if fresh or self._inventory is None or now - self._taken_at > _FRESH:
                self._inventory, self._taken_at = take_inventory(), now
            return Machine(inventory=self._inventory, installed=self._installed)

    def memory_used(self, uuid: str) -> int | None:
        """Return how many bytes of a GPU are in use, whoever's; None where it cannot be told."""
        return nvml.memory_used(uuid)

    def is_forked_after_cuda(self) -> bool:
        """Say whether this process was forked from one that had initialised CUDA: it works in no
        such child.
        """
        return _forked_after_cuda

    def active_contexts(self) -> frozenset[str] | None:
        """Return the UUIDs of the GPUs on which this process has an active context."""
        return cuda.active_contexts()


def _before_fork() -> None:
    # In the child CUDA answers as if it had never been initialised. That its library is loaded
    # tells nothing: NVML loads it too.
    global _is_cuda_initialised  # noqa: PLW0603 (it is a fact of the process)
    _is_cuda_initialised = cuda.is_initialised() is True


def _after_fork() -> None:
    global _forked_after_cuda  # noqa: PLW0603 (likewise)
    _forked_after_cuda = _forked_after_cuda or _is_cuda_initialised


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
