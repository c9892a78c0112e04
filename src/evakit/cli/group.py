"""The group of commands, ours and those of plugins, and the border where errors end.

What may not live here: what the commands do, and how things are printed.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, TextIO, cast

import click

from .._failures import ungrouped
from ..errors import EvakitError

__all__ = ["evakit", "run"]

ENTRY_POINT_GROUP: Final = "evakit.commands"

# Our commands, and the modules they live in.
_OURS: Final = {
    "ask": "ask",
    "chat": "chat",
    "config": "config",
    "demo": "ask",
    "doctor": "doctor",
    "models": "models",
    "new-plugin": "new_plugin",
    "plugins": "plugins",
    "say": "say",
    "transcribe": "transcribe",
}

# What to install for a command that a plugin of ours would bring.
_KNOWN: Final = {"serve": "evakit-server"}


class _Commands(click.Group):
    """Finds commands by name, ours first, each plugin's behind its own guard."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted({*_OURS, *(e.name for e in _from_plugins())})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _OURS:
            module = importlib.import_module(f".{_OURS[name]}", __package__)
            command: click.Command = getattr(module, name.replace("-", "_"))
            return command
        for entry_point in _from_plugins():
            if entry_point.name == name:
                return _load(entry_point)
        if name in _KNOWN:
            ctx.fail(f"The command {name!r} comes with the plugin {_KNOWN[name]}; install that.")
        return None


def _from_plugins() -> list[EntryPoint]:
    return [e for e in entry_points(group=ENTRY_POINT_GROUP) if e.name not in _OURS]


def _load(entry_point: EntryPoint) -> click.Command:
    """Return a plugin's command, or one that says why it cannot be had."""
    origin = entry_point.dist.name if entry_point.dist else entry_point.value
    try:
        command = entry_point.load()
    except Exception as error:  # noqa: BLE001 (foreign code; said when the command is called)
        reason = f"{type(error).__name__}: {error}"
    else:
        if isinstance(command, click.Command):
            return command
        reason = f"{entry_point.value} is not a click command"

    def refuse() -> None:
        raise click.ClickException(
            f"The command {entry_point.name!r} of {origin} could not be loaded ({reason}); "
            f"update it or uninstall it with: pip uninstall {origin}"
        )

    return click.Command(entry_point.name, callback=refuse, short_help=f"Broken: {reason}")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evakit-voice", prog_name="evakit")
@click.option("--debug", is_flag=True, help="Show what the engines and evakit log.")
def evakit(debug: bool) -> None:
    """Turn any program into a voice conversation.

    Start with `evakit demo`: it fetches three small models, hears a question and answers it.
    """
    if debug:
        layout = "%(relativeCreated)7.0f %(name)s %(message)s"
        logging.basicConfig(level=logging.DEBUG, format=layout)


class _Output:
    """Standard output; a failure to write to it, whoever writes, is an error of the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if isinstance(text, str) and not text:
            return 0  # click asks in this way whether it takes texts, and hears no other answer
        with self._failing():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Generator[None]:
        """Say that the output is full; not an error of ours, which `chat` would go on after."""
        try:
            yield
        except BrokenPipeError:
            self._give_up()
            raise
        except OSError as error:
            self._give_up()
            raise click.ClickException(
                f"Standard output cannot be written ({error.strerror or error}); free some space, "
                "or send it elsewhere."
            ) from error

    def _give_up(self) -> None:
        """Lead what is still to be written nowhere: Python would fail once more at its exit."""
        if isinstance(self._stream, io.TextIOWrapper):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 for a failure, 2 for wrong usage,
    130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name or a word that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _main(arguments)
    except EvakitError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except click.Abort:  # what click makes of Ctrl-C
        click.echo("\nInterrupted.", err=True)
        return 130
    except KeyboardInterrupt:
        click.echo("\nInterrupted.", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # `evakit models list | head`
        return 1
    return status if isinstance(status, int) else 0


def _main(arguments: list[str] | None) -> Any:
    """Run the command and see to it that all that it printed is written."""
    if sys.stdout is None:  # closed: what is printed goes nowhere
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            return _main(arguments)
    output = _Output(sys.stdout)
    with redirect_stdout(cast("TextIO", output)), ungrouped():
        status = evakit.main(arguments, prog_name="evakit", standalone_mode=False)
        output.flush()
        return status
