"""How the commands look: one console, progress bars, tables, JSON.

Results go to standard output, everything else to standard error, so that `--json` can be
piped. What may not live here: what is shown.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from ..models import Progress as FetchProgress

if TYPE_CHECKING:
    from .._loaded import LoadedBackend

__all__ = [
    "backend_json",
    "err",
    "fetch_bars",
    "json_option",
    "out",
    "print_json",
    "print_table",
    "working",
]

# Texts are data: what was heard may hold [brackets] and :colons:, which Rich would take for
# its own language. What is to look special is a Text.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def print_json(value: Any) -> None:
    """Print one JSON value on a line of its own."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def backend_json(loaded: LoadedBackend) -> dict[str, str | None]:
    """Return a loaded backend as JSON values, with where it runs and how that is known."""
    return {
        "name": loaded.name,
        "model": loaded.model,
        "device": loaded.device,
        "degraded": loaded.degraded,
        "verdict": None if loaded.proof is None else loaded.proof.verdict.value,
    }


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as wide as it needs to be."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table)


@contextmanager
def fetch_bars() -> Generator[FetchProgress]:
    """Show a bar for each model while it is fetched; nothing when nothing is."""
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=err,
        transient=False,
    )
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()  # models are fetched side by side, each in a thread

    def show(name: str, done: int, total: int | None) -> None:
        with lock:
            if name not in tasks:
                if not tasks:
                    bars.start()
                tasks[name] = bars.add_task(f"Fetching {name}", total=total)
            bars.update(tasks[name], completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            bars.stop()


@contextmanager
def working(what: str) -> Generator[Callable[[str], None]]:
    """Show that something is going on; call the result to say what."""
    with err.status(Text(what)) as status:
        yield lambda text: status.update(Text(text))
