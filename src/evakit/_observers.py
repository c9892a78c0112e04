"""Observers: what is told of each event, and may not disturb it.

What may not live here: discovering observers. They hear people speak, so they are passed.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable

import pluggy

from . import hookspecs
from ._logging import about, logger
from .errors import ConfigurationError
from .events import Event

__all__ = ["Observers"]

_log = logger(__name__)


class Observers:
    """The observers of one conversation, each held apart from the others."""

    def __init__(self, observers: Iterable[object]) -> None:
        if not isinstance(observers, Iterable):
            raise ConfigurationError(
                f"observers= is a list of observers, not {type(observers).__name__}; pass [yours]."
            )
        # One manager each: pluggy stops at the first implementation that raises.
        self._managers = [(_name(o), _manager(o)) for o in observers]
        self.failures = 0
        """How often an observer raised."""

    def notify(self, event: Event, conversation_id: str) -> None:
        """Tell each observer; one that fails is logged and counted."""
        with about(conversation_id):
            for name, manager in self._managers:
                try:
                    manager.hook.evakit_observe(event=event, conversation_id=conversation_id)
                except (Exception, SystemExit) as error:  # noqa: BLE001 (a foreign function must not end the turn)
                    self.failures += 1
                    # Neither the message nor the traceback, which may quote what was said.
                    frame = traceback.extract_tb(error.__traceback__)[-1]
                    _log.error(
                        "Conversation %s: observer %s failed with %s at %s:%s; the turn goes on",
                        conversation_id,
                        name,
                        type(error).__name__,
                        frame.filename,
                        frame.lineno,
                    )


class _Function:
    """A plain function as an observer."""

    def __init__(self, function: object) -> None:
        self._function = function

    @hookspecs.hookimpl
    def evakit_observe(self, event: Event, conversation_id: str) -> None:
        self._function(event, conversation_id)  # type: ignore[operator]


def _name(observer: object) -> str:
    return getattr(observer, "__qualname__", type(observer).__qualname__)


def _manager(observer: object) -> pluggy.PluginManager:
    name = _name(observer)
    hook = getattr(observer, "evakit_observe", observer)
    if inspect.iscoroutinefunction(hook):
        raise ConfigurationError(
            f"The observer {name} is a coroutine function, which nobody would await; "
            "make it a plain function."
        )
    if hook is observer:
        if not callable(observer):
            raise ConfigurationError(
                f"{observer!r:.80} is not an observer; pass a function of (event, "
                "conversation_id), or an object with a hook evakit_observe."
            )
        observer = _Function(observer)
    manager = pluggy.PluginManager("evakit")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(observer, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise ConfigurationError(f"The observer {name} cannot be used: {error}") from error
    if not manager.get_hookcallers(observer):
        raise ConfigurationError(
            f"The observer {name} has a method evakit_observe without @evakit.hookimpl; add it."
        )
    return manager
