"""Plugins: from entry points to a Registry, each behind its own guard.

One broken plugin never breaks the host: its error is kept and raised when one of its
backends is asked for. What may not live here: a global registry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final

import pluggy

from . import hookspecs
from .errors import DuplicateBackendError, EvakitError, PluginLoadError
from .registry import BackendSpec, Registry

__all__ = ["ENTRY_POINT_GROUP", "discover"]

ENTRY_POINT_GROUP: Final = "evakit"
_log = logging.getLogger(__name__)


def discover(plugins: Iterable[object] = ()) -> Registry:
    """Return the backends of all installed plugins and of `plugins`, hook implementations given
    as objects or modules.

    A plugin that cannot be imported or registered is kept as `Registry.broken`.

    Raises:
        DuplicateBackendError: two plugins offer a backend of one kind under one name.
        PluginLoadError: one of the given `plugins` has no hooks, or hooks that do not exist.

    """
    registry = Registry()
    seen: set[tuple[str, str]] = set()
    for distribution in distributions():
        for entry_point in distribution.entry_points:
            if entry_point.group != ENTRY_POINT_GROUP:
                continue
            name = distribution.metadata["Name"]
            if (name, entry_point.name) in seen:  # the same distribution, twice on sys.path
                continue
            seen.add((name, entry_point.name))
            _add_installed(registry, distribution, entry_point)
    for plugin in plugins:
        for spec in _backends(plugin, type(plugin).__name__):
            registry.add(spec)
    return registry


def _add_installed(registry: Registry, distribution: Distribution, entry_point: EntryPoint) -> None:
    name, version = distribution.metadata["Name"], distribution.version
    try:
        for spec in _backends(entry_point.load(), name):
            registry.add(spec, distribution=name, version=version)
    except DuplicateBackendError:
        raise
    except Exception as error:  # noqa: BLE001 (importing foreign code; kept and raised on use)
        _log.debug("Plugin %s %s could not be loaded", name, version, exc_info=error)
        reason = str(error) if isinstance(error, EvakitError) else f"{type(error).__name__}: {error}"
        kept = PluginLoadError(
            f"The plugin {name} {version} could not be loaded ({reason}); "
            f"update it or uninstall it with: pip uninstall {name}",
            distribution=name,
        )
        kept.__cause__ = error
        registry.add_broken(kept)


def _backends(plugin: object, name: str) -> list[BackendSpec]:
    """Ask one plugin, in a manager of its own, so that no other plugin can be in the way."""
    manager = pluggy.PluginManager("evakit")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginLoadError(f"{name}: {error}", distribution=name) from error
    if not manager.get_hookcallers(plugin):
        raise PluginLoadError(
            f"{name} implements no hook of evakit; decorate one with @evakit.hookimpl.",
            distribution=name,
        )
    return [spec for specs in manager.hook.evakit_backends() for spec in specs or ()]
