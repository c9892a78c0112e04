"""Machine: the inventory and what is installed, together; what every check looks at.

What may not live here: reading either of them, and deciding what is wrong.
"""

from __future__ import annotations

from attrs import frozen

from .installed import Installed
from .inventory import Inventory

__all__ = ["Machine"]


@frozen(kw_only=True)
class Machine:
    """A machine at one moment, and what is installed in this environment of it."""

    inventory: Inventory
    installed: Installed
