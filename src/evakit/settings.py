"""Settings: the one schema that arguments, the command line, the environment and `evakit.toml`
share, and which of them wins.

`Settings` is the table of them. What may not live here: how a value is read
(`_settings_values.py`), how the file is (`_settings_file.py`), and what settings bring about.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Final

from attrs import field, frozen

from ._choices import BackendLike
from ._settings_file import FILE_NAME, VARIABLE, SettingsFile, find_file
from ._settings_values import (
    BackendSetting,
    DeviceSetting,
    LanguageSetting,
    NameSetting,
    PromptSetting,
    Setting,
)
from .errors import ConfigurationError, DeviceError, EvakitError

__all__ = [
    "DEFAULT_SYSTEM",
    "ENTRY_POINT_GROUP",
    "SETTINGS",
    "UNSET",
    "Given",
    "Setting",
    "Settings",
    "Unset",
    "from_text",
    "resolve",
    "section",
]

DEFAULT_SYSTEM: Final = (
    "You are a friendly voice assistant. Your words are spoken aloud: answer in one or two "
    "short, complete sentences of plain text, without lists or markup."
)
"""The system prompt of a conversation that is given none."""

ENTRY_POINT_GROUP: Final = "evakit.settings"
"""Where a plugin names the section of `evakit.toml` that is its own: `server = "evakit_server"`."""

_PREFIX: Final = "EVAKIT_"
# Known variables that are no settings; the first is read in models/folders.py.
_OTHER_VARIABLES: Final = ("EVAKIT_HOME", VARIABLE)


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET
"""An argument that was not given, so that the environment, `evakit.toml` or the default decides.

None is given: no such stage, no voice or language named, no system prompt.
"""


@frozen
class Given:
    """A value of a setting, and where it was given."""

    value: Any
    source: str
    """`argument`, `environment`, `file` or `default`."""
    place: str
    """What to look at, for people: `EVAKIT_STT`, or a file and line."""


@frozen
class _Source:
    """Where values come from: what it gives, and where each of them stands."""

    kind: str
    values: Mapping[str, Any]
    at: SettingsFile | str
    """The file, or how a setting is written there: `{0}` is its name, `{1}` that in capitals."""

    def place(self, name: str) -> str:
        if isinstance(self.at, SettingsFile):
            return self.at.place(name)
        return self.at.format(name, name.upper())


_BACKEND: Final = "the name of a backend or a table with its name and options"

SETTINGS: Final[Mapping[str, Setting]] = {
    setting.name: setting
    for setting in (
        BackendSetting("stt", "What hears.", "whisper:base", _BACKEND),
        BackendSetting("llm", "What thinks.", "llamacpp", _BACKEND),
        BackendSetting("tts", "What speaks.", "piper", _BACKEND),
        NameSetting("voice", "Who speaks.", None, "the name of a voice"),
        LanguageSetting("language", "What is spoken, such as fr.", (), "a tag or a list of tags"),
        DeviceSetting("device", "Where the models run.", "auto", "the name of a device"),
        PromptSetting("system", "The system prompt.", DEFAULT_SYSTEM, "a text"),
    )
}
"""The schema: each setting by its name."""


@frozen(kw_only=True)
class Settings:
    """The value of each setting, as it holds for a stack and its conversations; made by
    `resolve`.
    """

    stt: BackendLike
    llm: BackendLike
    tts: BackendLike
    voice: str | None
    language: tuple[str, ...]
    """Empty when any."""
    device: str | None
    system: str | None
    _sources: tuple[_Source, ...] = field(repr=False, eq=False)

    def given(self, name: str) -> tuple[Given, ...]:
        """Return the values of a setting with where each stands: first what holds, then what that
        hides, the default at last.
        """
        return tuple(
            Given(source.values[name], source.kind, source.place(name))
            for source in self._sources
            if name in source.values
        )

    @contextmanager
    def explaining(self, *names: str) -> Generator[None]:
        """Add to an error of the block where the settings `names` stand that the program itself
        did not give.
        """
        try:
            yield
        except EvakitError as error:
            places = [
                f"{name} is set in {given.place}"
                for name in names
                for given in self.given(name)[:1]
                if given.source in {"environment", "file"}
                and (name != "device" or isinstance(error, DeviceError))
            ]
            told = f" ({'; '.join(places)}.)"
            if places and not str(error).endswith(told):  # an error may be raised again
                error.args = (f"{error}{told}", *error.args[1:])
            raise


def resolve(arguments: Mapping[str, Any] | None = None, *, place: str = "{}=") -> Settings:
    """Decide each setting: argument, else environment, else `evakit.toml`, else default.

    `arguments` are values by the settings' names, of which those that are `UNSET` count as not
    given; `place` is how one is written where it was given, `{}` standing for its name. All
    values are checked, those that are hidden too.

    Raises:
        ConfigurationError: a value makes no sense, a key or variable is unknown, or the file
            cannot be read; says where.
        UnknownLanguageError: a language is no tag.

    """
    return _decide(
        _given(arguments or {}, place),
        _environment(),
        _file(find_file()),
        _Source("default", {n: s.default for n, s in SETTINGS.items()}, "default"),
    )


def from_text(name: str, text: str, *, place: str) -> Any:
    """Return the argument that `text` means, given for the setting `name` at `place`.

    Raises:
        ConfigurationError: it makes no sense; says the place.
        UnknownLanguageError: a language is no tag.

    """
    setting = SETTINGS[name]
    with _telling(place):
        return setting.check(setting.from_data(setting.from_text(text)))


def section(name: str) -> Mapping[str, Any]:
    """Return the table `name` of `evakit.toml`, which belongs to a plugin; empty when absent.

    The plugin declares it, as an entry point of that name in the group `evakit.settings`, so that
    it is known wherever the plugin is installed. What the entry point leads to is not loaded.

    Raises:
        ConfigurationError: it is no table, or the file cannot be read.

    """
    file = find_file()
    table = {} if file is None else file.values.get(name, {})
    if file is not None and not isinstance(table, Mapping):
        raise ConfigurationError(f"{file.place(name)}: {name} is a table; write [{name}].")
    return table


def _decide(*sources: _Source) -> Settings:
    values = {
        name: next(source.values[name] for source in sources if name in source.values)
        for name in SETTINGS
    }
    return Settings(**values, sources=sources)


def _given(arguments: Mapping[str, Any], place: str) -> _Source:
    given = {name: value for name, value in arguments.items() if value is not UNSET}
    for name in given:
        if name not in SETTINGS:
            raise ConfigurationError(f"There is no setting {name!r}; {_instead(name)}")
    values = {name: SETTINGS[name].check(value) for name, value in given.items()}
    return _Source("argument", values, place)


def _environment() -> _Source:
    known = {_PREFIX + name.upper(): name for name in SETTINGS}
    values = {}
    for variable in os.environ:
        if not variable.upper().startswith(_PREFIX):
            continue
        text = os.environ.get(variable)  # another thread may have removed it
        if variable not in known:
            if variable not in _OTHER_VARIABLES:
                _refuse_misspelt(variable, (*known, *_OTHER_VARIABLES))
        elif text:  # set to nothing is not set, as elsewhere
            if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
                raise ConfigurationError(f"{variable} is not UTF-8; set it to plain text.")
            values[known[variable]] = from_text(known[variable], text, place=variable)
    return _Source("environment", values, f"{_PREFIX}{{1}}")


def _refuse_misspelt(variable: str, known: Iterable[str]) -> None:
    """Refuse a variable that reads like one of ours; others may begin with our name and be fine.

    A service named `evakit` has `EVAKIT_SERVICE_HOST` put into each container by Kubernetes.
    """
    name = variable.upper()
    longer = [k for k in known if name.startswith(f"{k}_")]
    rest = [k.removeprefix(_PREFIX) for k in known]
    near = longer[0] if longer else _near(name.removeprefix(_PREFIX), rest)
    if near and not any(name.startswith(f"{_PREFIX}{s.upper()}_") for s in _sections()):
        raise ConfigurationError(
            f"The environment variable {variable} is no setting; did you mean "
            f"{_PREFIX}{near.removeprefix(_PREFIX)}?"
        )


def _file(file: SettingsFile | None) -> _Source:
    values = {}
    if file is not None:
        unknown = file.values.keys() - SETTINGS.keys()
        for key in sorted(unknown - _sections()) if unknown else ():
            raise ConfigurationError(
                f"{file.place(key)}: there is no setting {key!r:.60}; {_instead(key)}"
            )
        for name, setting in SETTINGS.items():
            if name in file.values:
                with _telling(partial(file.place, name)):
                    values[name] = setting.check(setting.from_data(file.values[name]))
    return _Source("file", values, file or FILE_NAME)


def _sections() -> set[str]:
    return {entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)}


def _near(name: str, known: Iterable[str]) -> str | None:
    """Return what is nearest; of those that are equally near, what is as long: difflib finds `stt`
    and `system` equally near to `sst`.
    """

    def distance(near: str) -> tuple[float, int]:
        return -difflib.SequenceMatcher(None, near, name).ratio(), abs(len(near) - len(name))

    return min(difflib.get_close_matches(name, known), key=distance, default=None)


def _instead(name: str) -> str:
    near = _near(name.lower(), SETTINGS)
    return f"did you mean {near!r}?" if near else f"there are {', '.join(SETTINGS)}."


@contextmanager
def _telling(place: str | Callable[[], str]) -> Generator[None]:
    """Begin the message of what is raised with the place where the value stands."""
    try:
        yield
    except EvakitError as error:
        error.args = (f"{place if isinstance(place, str) else place()}: {error}", *error.args[1:])
        raise
