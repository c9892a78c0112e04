"""Every hook that a plugin can implement.

Mark an implementation with `evakit.hookimpl`. What may not live here: finding and calling
plugins, which `plugins.py` and `_observers.py` do.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from .events import Event
from .registry import BackendSpec

__all__ = ["evakit_backends", "evakit_observe", "hookimpl"]

hookspec = pluggy.HookspecMarker("evakit")
hookimpl = pluggy.HookimplMarker("evakit")


@hookspec
def evakit_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Describe the backends that this plugin offers.

    Called once for each discovery, on the caller's thread, in no particular order.
    Must not import an engine, open a file or a socket, or touch a device.
    Returns descriptions; those of all plugins are collected; None or nothing is fine.
    Two backends of one kind with one name are a `DuplicateBackendError`.
    Discovered: yes, through the entry-point group `evakit`.
    """


@hookspec
def evakit_observe(event: Event, conversation_id: str) -> None:
    """Look at something that has just happened in a turn.

    Called on the event loop's thread after `event` was queued for the user; return within
    a millisecond. `conversation_id` is the same for all turns of a conversation.
    The return value is ignored. An exception is logged and counted; the turn goes on.
    Must be a plain function; a coroutine function is refused.
    Discovered: no. Observers hear people speak: pass them as `observers=[...]`.
    """
