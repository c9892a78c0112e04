"""Writes docs/reference/cli.md from the command's own help: `python docs/write_cli.py`.

A test compares the page with what this makes. What may not live here: help texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from evakit.cli.group import evakit

PAGE: Final = Path(__file__).parent / "reference" / "cli.md"
_WIDTH: Final = 90  # characters

_ABOUT: Final = """\
# The command

Made from the command's own help (`python docs/write_cli.py`).

Results go to standard output, everything else to standard error. The exit status is 0, 1 for a
failure (one sentence says which), 2 for wrong usage, 130 after Ctrl-C. `NAME` of a backend is
`name[:model][@device]`. Plugins add commands through the entry-point group `evakit.commands`.

With `--json`:

- `doctor` prints one object: `device` (what was asked for), `exit_code`, `findings` (each with
  `code`, `severity`, `what`, `evidence`, `fix`, `engine` and `error`, the first being the one to
  cure first), `usable` (the engines that nothing keeps from the GPU), `trials` (with `--deep`: what
  was loaded, `label`, `proof` and `warm_up`, and `on_cpu` beside what ran on a GPU) and `machine`.
  Its exit status is 0 when all is well, 1 when something was found, and 2 when something could not
  be told.
- `ask` and `demo` print one object: `heard`, `language`, `reply`, `audio` (the file's path),
  `input_s`, `timings` (`transcription_s`, `first_token_s`, `first_audio_s`, `total_s`: delays from
  the end of the input, with the models loaded; null where a stage did not run), and `backends` (for
  each stage `name`, `model`, `device`, `degraded`, which is why a GPU that was preferred is not
  used, and `verdict`, what is proven of that).
- `transcribe` prints one object a line: `path` as given, `text`, `language`, `input_s`, `elapsed_s`
  (loading not counted).
- `say` prints one object: `audio`, `duration_s`, `first_audio_s`, `elapsed_s`, and `backend`, as
  `ask` does.
- `config` prints an array: `setting`, its `value` as TOML would have it (null for none, `***` for a
  secret), its `source` (`argument`, `environment`, `file` or `default`), the `place` where it
  stands, and what it `hides`, each with `value`, `source` and `place`.
- `chat` prints one object a line: `said`, `reply`, `played` (the part that counts as played),
  `interrupted`, `speech_s` (null without speech), `timings`; for a line that failed `said` and
  `error`. Nothing is played then; speech is made where `--output` asks for it.
- `new-plugin` prints one object: `distribution`, `kind`, `backend`, `folder`, `files` (paths in
  it), and `next`, the commands to go on with.
- `plugins` prints an array: `kind`, `name`, `distribution`, `version`, `available`, and the
  `reason` when it is not.
- `models list` prints an array: `name`, `kind`, `path` (null when it is not here), `bytes`,
  `licence`, `languages`, `source`.
"""


def page() -> str:
    """Return the page."""
    return _ABOUT + "".join(_sections(evakit, "evakit"))


def _sections(command: click.Command, name: str) -> list[str]:
    context = click.Context(
        command,
        info_name=name,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    sections = [f"\n## {name}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        # Ours only: what plugins of this environment add is theirs to document.
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and (found.callback or found).__module__.startswith("evakit."):
                sections += _sections(found, f"{name} {child}")
    return sections


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
