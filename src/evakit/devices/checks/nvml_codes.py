"""NVML's own numbers for what went wrong (nvml.h, nvmlReturn_t), as data.

What may not live here: what they mean for a machine.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BLOCKED", "LOST", "MISMATCH", "NOT_LOADED", "NO_LIBRARY", "RESET", "UNKNOWN"]

NOT_LOADED: Final = 9
NO_LIBRARY: Final = 12
LOST: Final = 15
RESET: Final = 16
"""The GPU works again after a restart."""
BLOCKED: Final = 17
"""The device files were taken away by the system."""
MISMATCH: Final = 18
UNKNOWN: Final = 999
