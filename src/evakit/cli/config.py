"""`evakit config`: what each setting is, and where that is from.

What may not live here: the settings, and which of them wins.
"""

from __future__ import annotations

import json
from typing import Any

import click

from ..settings import SETTINGS, Given, resolve
from .console import json_option, print_json, print_table
from .options import settings_options

__all__ = ["config"]


@click.command()
@settings_options(*SETTINGS)
@json_option
def config(as_json: bool, **choices: Any) -> None:
    """Show each setting, where it is from, and what it hides.

    Options win over the environment (EVAKIT_STT, ...), that over evakit.toml in this folder,
    and that over the defaults. With options it shows what a command would make of them.
    Option values of backends that read like secrets are not shown.
    """
    settings = resolve(choices, place="--{}")
    rows = []
    for name in SETTINGS:
        first, *hidden = settings.given(name)
        hides = [_data(name, given) for given in hidden if given.source != "default"]
        rows.append({"setting": name, **_data(name, first), "hides": hides})
    if as_json:
        print_json(rows)
        return
    print_table(
        ("setting", "value", "from", "hides"),
        [
            (
                row["setting"],
                _text(row["value"]),
                row["place"],
                "; ".join(f"{_text(h['value'])} ({h['place']})" for h in row["hides"]),
            )
            for row in rows
        ],
    )


def _data(name: str, given: Given) -> dict[str, Any]:
    value = SETTINGS[name].to_data(given.value)
    return {"value": value, "source": given.source, "place": given.place}


def _text(value: Any) -> str:
    """Write a value for people."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
