"""The `evakit` command: its group, and how failures end.

Each command is a module of its own, imported when it is asked for; further ones come from
plugins through the entry-point group `evakit.commands`. What may not live here: what the
commands do.
"""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command; the console script's entry point."""
    try:
        import click  # noqa: F401, PLC0415 (only whether it is there)
        import rich  # noqa: F401, PLC0415
    except ImportError as error:
        sys.exit(
            f"The evakit command needs {error.name}; install it with: "
            'pip install "evakit-voice[cli]"'
        )
    from .group import run  # noqa: PLC0415 (needs both)

    sys.exit(run())
