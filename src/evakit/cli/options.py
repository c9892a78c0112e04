"""The options that are settings: one an entry of the schema, without defaults of their own.

What may not live here: which settings there are, and which of them wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from ..settings import SETTINGS, UNSET, Setting, from_text

__all__ = ["settings_options"]

F = TypeVar("F", bound=Callable[..., Any])

_METAVARS: Final = {"language": "TAG", "device": "auto|cpu|cuda", "system": "TEXT"}
# What stands for a default that is no text, or too long a one.
_DEFAULTS: Final = {"voice": "the tts's own", "language": "any", "system": "a short one"}


def settings_options(*names: str) -> Callable[[F], F]:
    """Add an option for each of the settings `names`; a command gets their values by name.

    One that is left out is UNSET, so that the environment, `evakit.toml` or the default decides.
    """

    def add(command: F) -> F:
        for name in reversed(names):
            command = _option(SETTINGS[name])(command)
        return command

    return add


def _option(setting: Setting) -> Callable[[F], F]:
    def read(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Any:
        return UNSET if text is None else from_text(setting.name, text, place=f"--{setting.name}")

    return click.option(
        f"--{setting.name}",
        metavar=_METAVARS.get(setting.name, "NAME"),
        callback=read,
        help=f"{setting.about}  [default: {_DEFAULTS.get(setting.name, setting.default)}]",
    )
