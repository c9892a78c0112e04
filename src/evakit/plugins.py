"""Plugins: from entry points to a Registry, each behind its own guard.

One broken plugin never breaks the host: its error is kept and raised when one of its
backends is asked for. What may not live here: a global registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final

import pluggy

from . import hookspecs
from ._logging import logger
from .errors import DuplicateBackendError, EvakitError, PluginLoadError
from .registry import BackendSpec, Registry, _canonical_name

__all__ = ["ENTRY_POINT_GROUP", "discover"]

ENTRY_POINT_GROUP: Final = "evakit"
_log = logger(__name__)


def discover(plugins: Iterable[object] = ()) -> Registry:
    """Return the backends of all installed plugins and of `plugins`, hook implementations given
    as objects or modules.

    A plugin that cannot be imported or registered, and a name that two installed plugins claim,
    are kept as `Registry.broken` and raised when they are asked for.

    Raises:
        DuplicateBackendError: one of the given `plugins` offers what an installed one does.
        PluginLoadError: one of the given `plugins` has no hooks, or hooks that do not exist.

    """
    registry = Registry()
    seen: set[str] = set()
    for distribution in distributions():
        entry_points = _entry_points(registry, distribution)
        if not entry_points:
            continue
        name = _canonical_name(_name(distribution))
        if name in seen:  # the same distribution, twice on sys.path: the first is imported
            continue
        seen.add(name)
        for entry_point in entry_points:
            _add_installed(registry, distribution, entry_point)
    for plugin in plugins:
        for spec in _backends(plugin, getattr(plugin, "__name__", type(plugin).__name__)):
            registry.add(spec)
    return registry


def _name(distribution: Distribution) -> str:
    """Return the name of a distribution, which damaged metadata may lack."""
    return _field(distribution, "Name") or "a distribution without a name"


def _field(distribution: Distribution, field: str) -> str | None:
    metadata = distribution.metadata
    return metadata[field] if field in metadata else None  # noqa: SIM401 (it has no get)


def _entry_points(registry: Registry, distribution: Distribution) -> list[EntryPoint]:
    try:
        return [e for e in distribution.entry_points if e.group == ENTRY_POINT_GROUP]
    except Exception as error:  # noqa: BLE001 (damaged metadata; kept and shown)
        name = _name(distribution)
        _keep(registry, error, name, "", f"its entry points cannot be read: {error}")
        return []


def _add_installed(registry: Registry, distribution: Distribution, entry_point: EntryPoint) -> None:
    name, version = _name(distribution), _field(distribution, "Version")
    try:
        specs = _backends(entry_point.load(), name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (foreign code; kept and raised on use)
        reason = (
            str(error) if isinstance(error, EvakitError) else f"{type(error).__name__}: {error}"
        )
        _keep(registry, error, name, version or "", reason.rstrip("."))
        return
    for spec in specs:
        try:
            registry.add(spec, distribution=name, version=version)
        except DuplicateBackendError as error:  # whoever asks for that name is told
            registry.add_disputed(spec.kind, spec.name, error)


def _keep(registry: Registry, error: BaseException, name: str, version: str, reason: str) -> None:
    plugin = f"{name} {version}".rstrip()
    _log.debug("Plugin %s could not be loaded", plugin, exc_info=error)
    kept = PluginLoadError(
        f"The plugin {plugin} could not be loaded ({reason}); "
        f"update it, or uninstall it with: pip uninstall {name}",
        distribution=name,
    )
    kept.__cause__ = error
    registry.add_broken(kept)


def _backends(plugin: object, name: str) -> list[BackendSpec]:
    """Ask one plugin, in a manager of its own, so that no other plugin can be in the way."""
    manager = pluggy.PluginManager("evakit")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginLoadError(f"{name}: {error}", distribution=name) from error
    if not manager.get_hookcallers(plugin):
        raise PluginLoadError(
            f"{name} implements no hook of evakit; decorate one with @evakit.hookimpl.",
            distribution=name,
        )
    specs = [spec for specs in manager.hook.evakit_backends() for spec in specs or ()]
    for spec in specs:
        if not isinstance(spec, BackendSpec):
            raise PluginLoadError(
                f"{name} describes a backend by {spec!r:.80}; return evakit.BackendSpec objects "
                "from evakit_backends.",
                distribution=name,
            )
    return specs
