"""Registry: which backends there are, by kind and name, and how a backend is named.

What may not live here: finding plugins (`plugins.py`), loading backends (`stack.py`).
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

from attrs import evolve, field, frozen

from .abc import Backend, Capabilities
from .devices import is_device
from .errors import (
    ConfigurationError,
    DuplicateBackendError,
    EvakitError,
    PluginLoadError,
    UnknownBackendError,
    UnknownOptionError,
)
from .models import Model
from .voices import Voice

__all__ = ["KINDS", "BackendName", "BackendSpec", "Registry"]

KINDS: Final = ("stt", "llm", "tts", "vad", "turn_detector")

# What to install for a name that nothing installed offers.
_KNOWN: Final = {
    ("stt", "whisper"): "evakit-whisper",
    ("vad", "silero"): "evakit-whisper",
    ("llm", "llamacpp"): "evakit-llamacpp",
    ("llm", "transformers"): "evakit-transformers",
    ("tts", "piper"): "evakit-piper",
}


@frozen
class BackendName:
    """A backend as people write it: `name[:model][@device]`."""

    name: str
    model: str | None = None
    device: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        r"""Take a name apart.

        The device is what follows the last `@` if it reads like one, the model all that follows
        the first `:`, so that `qwen3:4b`, `org/model@revision` and `C:\model` survive.

        Raises:
            ConfigurationError: there is no name in it.

        """
        rest, device = text, None
        before, at, after = text.rpartition("@")
        if at and is_device(after):
            rest, device = before, after
        name, colon, model = rest.partition(":")
        if not name or (colon and not model):
            raise ConfigurationError(
                f"{text!r} does not name a backend; write name, name:model or name:model@device."
            )
        return cls(name, model or None, device)

    def __str__(self) -> str:
        return (
            self.name
            + (f":{self.model}" if self.model else "")
            + (f"@{self.device}" if self.device else "")
        )


@frozen(kw_only=True)
class BackendSpec:
    """A backend as its plugin describes it; making one imports and touches nothing."""

    kind: str = field()
    """`stt`, `llm`, `tts`, `vad` or `turn_detector`."""
    name: str
    """Unique for its kind."""
    factory: Callable[..., Backend]
    """Called with `model=` (a str, when one is named) and the user's options as keywords."""
    capabilities: Capabilities = field()
    """What it can do, for `evakit plugins`; by default what a `factory` that is a class says."""
    voices: tuple[Voice, ...] = field(default=(), converter=tuple[Voice, ...])
    """The voices that a TTS is known to have, for whoever lists them without making it."""
    models: tuple[Model, ...] = field(default=(), converter=tuple[Model, ...])
    """The models that it can name beforehand; listed by `evakit models`."""
    requires: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    """Modules that its engine needs; looked for, never imported, to say whether it is available."""
    description: str = ""
    distribution: str | None = None
    """The installed distribution that it comes with; filled in at discovery."""
    version: str | None = None
    """That distribution's version; filled in at discovery."""

    @capabilities.default
    def _of_the_class(self) -> Capabilities:
        stated = getattr(self.factory, "capabilities", None)
        return stated if isinstance(stated, Capabilities) else Capabilities()

    @kind.validator
    def _known_kind(self, _attribute: object, value: str) -> None:
        if value not in KINDS:
            raise ConfigurationError(f"{value!r} is not a kind of backend; use {', '.join(KINDS)}.")

    def missing(self) -> str | None:
        """Say why it cannot be used, or None when its engine is installed."""
        absent = [m for m in self.requires if not _is_installed(m)]
        if not absent:
            return None
        fix = f"; install it with: pip install {self.distribution}" if self.distribution else ""
        return f"{', '.join(absent)} is not installed{fix}"

    def create(self, model: str | None = None, /, **options: Any) -> Backend:
        """Make an unloaded backend; `model` may be given as an option too.

        Raises:
            ConfigurationError: the model is given twice.
            UnknownOptionError: the backend has no such option; names the nearest.

        """
        if model is not None and "model" in options:
            raise ConfigurationError(
                f"{self.name} is given two models, {model!r} in its name and {options['model']!r} "
                "as an option; leave one out."
            )
        arguments = options if model is None else {"model": model, **options}
        known = inspect.signature(self.factory).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
        for name in arguments:
            if name in known or takes_any:
                continue
            if name == "model":
                raise UnknownOptionError(
                    f"{self.name} has no models to choose from; write {self.name!r} alone."
                )
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}."
            raise UnknownOptionError(f"{self.name} has no option {name!r}; {hint}")
        try:
            backend = self.factory(**arguments)
        except EvakitError:
            raise
        except (TypeError, ValueError) as error:  # an option of another type, which it compared
            raise ConfigurationError(
                f"{self.name} cannot be made with the options {', '.join(options) or 'given'} "
                f"({error}); see the types that its README names."
            ) from error
        backend.name = self.name
        return backend


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # the parent package of a dotted name is absent
        return False


class Registry:
    """The backends that are known, and the plugins that could not be loaded."""

    def __init__(self) -> None:
        self._specs: dict[tuple[str, str], BackendSpec] = {}
        self._broken: list[PluginLoadError] = []
        self._disputed: dict[tuple[str, str], DuplicateBackendError] = {}

    def add(
        self, spec: BackendSpec, *, distribution: str | None = None, version: str | None = None
    ) -> None:
        """Add a backend.

        Raises:
            DuplicateBackendError: another distribution offers one of that kind and name.

        """
        if distribution is not None:
            spec = evolve(spec, distribution=distribution, version=version)
        other = self._specs.get((spec.kind, spec.name))
        if other is not None:
            raise DuplicateBackendError(
                f"{_origin(other)} and {_origin(spec)} both offer a {spec.kind} named "
                f"{spec.name!r}; uninstall one of them.",
                distribution=spec.distribution,
            )
        self._specs[spec.kind, spec.name] = spec

    def add_broken(self, error: PluginLoadError) -> None:
        """Keep the error of a plugin that could not be loaded, for whoever asks for it."""
        self._broken.append(error)

    def add_disputed(self, kind: str, name: str, error: DuplicateBackendError) -> None:
        """Keep the error of a name that two plugins claim, for whoever asks for it."""
        self._disputed[kind, name] = error

    @property
    def broken(self) -> tuple[PluginLoadError | DuplicateBackendError, ...]:
        """Why plugins could not be loaded, and which claim the same name."""
        return (*self._broken, *self._disputed.values())

    def __iter__(self) -> Iterator[BackendSpec]:
        usable = (spec for key, spec in self._specs.items() if key not in self._disputed)
        return iter(sorted(usable, key=lambda s: (KINDS.index(s.kind), s.name)))

    def get(self, kind: str, name: str) -> BackendSpec:
        """Return the backend of that kind and name.

        Raises:
            DuplicateBackendError: two plugins offer it.
            PluginLoadError: the plugin that may offer it could not be loaded.
            UnknownBackendError: nothing installed offers it; names what is near.

        """
        if (kind, name) in self._disputed:
            raise self._disputed[kind, name]
        spec = self._specs.get((kind, name))
        if spec is not None:
            return spec
        for error in self._broken:
            plugin = _canonical_name(error.distribution or "").removeprefix("evakit-")
            if f"-{_canonical_name(name)}-" in f"-{plugin}-" or (
                _KNOWN.get((kind, name)) == f"evakit-{plugin}"
            ):
                raise error
        names = [n for k, n in self._specs if k == kind]
        near = difflib.get_close_matches(name, names, n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif (kind, name) in _KNOWN:
            hint = f"install the plugin {_KNOWN[kind, name]}."
        else:
            hint = f"installed are: {', '.join(sorted(names)) or 'none'} (see 'evakit plugins')."
        broken = ", ".join(sorted({e.distribution or "a plugin" for e in self._broken}))
        note = f" ({broken} could not be loaded; 'evakit plugins' says why.)" if broken else ""
        raise UnknownBackendError(f"There is no {kind} named {name!r}; {hint}{note}")


def _canonical_name(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it: `My_Plugin` is `my-plugin`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _origin(spec: BackendSpec) -> str:
    return " ".join(filter(None, (spec.distribution, spec.version))) or "a plugin of this program"
