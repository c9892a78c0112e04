"""What a forked child inherits and cannot use: the engines of its parent.

Their threads are not in the child, and what would free them waits for those threads, or aborts
the process. So the child never frees them. What may not live here: refusing to use them.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final
from weakref import WeakSet

__all__ = ["leak", "leak_in_children"]

_engines: Final[WeakSet[object]] = WeakSet()


def leak_in_children(engine: object) -> None:
    """See to it that a forked child never frees `engine`, nor anything that it refers to."""
    _engines.add(engine)


def leak(value: object) -> None:
    """Never free `value`, nor anything that it refers to, not even at the interpreter's exit.

    For what cannot be freed in a forked child; its memory goes with the process.
    """
    # A count too many. Whatever refers to it from within Python is cleared at the exit.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _after_fork() -> None:
    for engine in list(_engines):
        leak(engine)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
