"""The kinds of settings: what a value may be, in a program, in a text and in a file.

A value passes through three forms, each source entering where it speaks: the text of an
environment variable or option, data as TOML has it, an argument as Python has it. What may not
live here: which settings there are, and where values come from.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ._choices import BackendChoice, backend
from .devices import is_device
from .errors import ConfigurationError
from .registry import BackendName
from .voices import normalize_languages

__all__ = [
    "BackendSetting",
    "DeviceSetting",
    "LanguageSetting",
    "NameSetting",
    "PromptSetting",
    "Setting",
]


@frozen
class Setting:
    """A setting: what it is called, what it is, and how its values are read."""

    name: str
    about: str
    """What it is, for people, as a sentence."""
    default: Any
    """Its value when nothing gives one."""
    takes: str
    """What it may be, for people: `the name of a voice`."""

    def from_text(self, text: str) -> Any:
        """Turn the text of an environment variable or option into data as TOML has it.

        Raises:
            ConfigurationError: it cannot be read.

        """
        return text

    def from_data(self, data: Any) -> Any:
        """Turn data as TOML has it into an argument.

        Raises:
            ConfigurationError: it is none of what the setting takes.

        """
        return None if _is_none(data) else data

    def check(self, argument: Any) -> Any:
        """Turn an argument of a program into the setting's value.

        Raises:
            ConfigurationError: it is none of what the setting takes.

        """
        if argument is not None and not (isinstance(argument, str) and argument):
            raise self.refusal(argument)
        return argument

    def to_data(self, value: Any) -> Any:
        """Return a value as JSON can have it, secrets hidden."""
        return value

    def refusal(self, value: object) -> ConfigurationError:
        """Return the error for a value that is none of what the setting takes."""
        return ConfigurationError(f"{self.name} takes {self.takes}, not {_kind(value)}.")


class NameSetting(Setting):
    """A setting whose value is a name, or None."""


class PromptSetting(Setting):
    """A setting whose value is a text, which may be empty, or None."""

    def check(self, argument: Any) -> Any:
        return argument if argument == "" else super().check(argument)


class DeviceSetting(Setting):
    """A setting whose value is the name of a device, or None."""

    def check(self, argument: Any) -> Any:
        if isinstance(argument, str) and not is_device(argument):
            raise ConfigurationError(
                f"{argument!r} is not a device; write 'auto', 'cpu', 'cuda', 'cuda:0' or a GPU's "
                "UUID."
            )
        return super().check(argument)


class LanguageSetting(Setting):
    """A setting whose value is a tuple of language tags, empty for any."""

    def from_text(self, text: str) -> Any:
        return text if _is_none(text) else [tag.strip() for tag in text.split(",")]

    def check(self, argument: Any) -> Any:
        if argument is None:
            return ()
        if not isinstance(argument, Sequence) or isinstance(argument, bytes):
            raise self.refusal(argument)
        return normalize_languages(argument)

    def to_data(self, value: Any) -> Any:
        return list(value) or None


class BackendSetting(Setting):
    """A setting whose value is a backend as a program may give it, or None."""

    def from_text(self, text: str) -> Any:
        if not text.lstrip().startswith("{"):
            return text
        try:
            data = tomllib.loads(f"table = {text}")
        except (ValueError, RecursionError):
            data = {}
        if data.keys() != {"table"}:  # it is not shown, for it may hold a secret
            raise ConfigurationError(
                f"{self.name} holds a table that is not TOML; write a name, or a table on one "
                'line: {name = "...", option = 1}.'
            )
        return data["table"]

    def from_data(self, data: Any) -> Any:
        if isinstance(data, str):
            return super().from_data(data)
        if not isinstance(data, Mapping):
            raise self.refusal(data)
        options = dict(data)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ConfigurationError(
                f'{self.name} is a table without the name of a backend; add name = "...".'
            )
        return backend(name, **options)

    def check(self, argument: Any) -> Any:
        name = argument.name if isinstance(argument, BackendChoice) else argument
        if isinstance(name, str):
            BackendName.parse(name)
        return argument  # what else it may be is decided where it is made (`_choices.create`)

    def to_data(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        if not isinstance(value, BackendChoice):
            return getattr(value, "__name__", type(value).__name__)
        name = self.to_data(value.name)
        return {"name": name, **value.shown_options()} if value.options else name


def _is_none(data: object) -> bool:
    """Say whether it is how text and TOML, which have no None, write it."""
    return isinstance(data, str) and data.lower() == "none"


_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "a boolean"),  # before the integers, of which Python counts it as one
    (int, "an integer"),
    (float, "a float"),
    (Mapping, "a table"),
    (Sequence, "a list"),
    (dt.date, "a date"),
    (dt.time, "a time"),
)


def _kind(value: object) -> str:
    """Say what kind of thing a value is, in words that fit TOML and Python; never the value."""
    if value == "":
        return "an empty text"
    if isinstance(value, str):
        return "a text"
    return next(
        (said for kind, said in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}"
    )
