"""`evakit plugins`: every backend that is known, and why one cannot be used.

What may not live here: discovery.
"""

from __future__ import annotations

import click

from ..plugins import discover
from .console import json_option, out, print_json, print_table

__all__ = ["plugins"]


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """List every backend: kind, name, where it comes from, and whether it can be used."""
    registry = discover()
    rows: list[dict[str, str | bool | None]] = []
    runs_on: list[str] = []
    for spec in registry:
        missing = spec.missing()
        runs_on.append(", ".join(sorted(spec.capabilities.devices)))
        rows.append(
            {
                "kind": spec.kind,
                "name": spec.name,
                "distribution": spec.distribution,
                "version": spec.version,
                "available": missing is None,
                "reason": missing,
            }
        )
    for error in registry.broken:
        runs_on.append("-")
        rows.append(
            {
                "kind": None,
                "name": None,
                "distribution": error.distribution,
                "version": None,
                "available": False,
                "reason": str(error),
            }
        )
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print("No plugin is installed; ours are evakit-whisper, -llamacpp and -piper.")
        return
    print_table(
        ("kind", "name", "plugin", "version", "runs on", "available"),
        [
            (
                str(row["kind"] or "-"),
                str(row["name"] or "-"),
                str(row["distribution"] or "-"),
                str(row["version"] or "-"),
                devices,
                "yes" if row["available"] else f"no: {row['reason']}",
            )
            for row, devices in zip(rows, runs_on, strict=True)
        ],
    )
