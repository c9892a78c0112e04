"""`python -m evakit.devices.probe MODULE:FUNCTION DEVICE`: tries an engine in a process of its own.

For engines that end their process where a library is missing. What may not live here: deciding
when that is worth a process, and what its end means (`probing.py`).
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import NoReturn

__all__ = ["main"]


def main(arguments: list[str]) -> NoReturn:
    """Call the function with the device; print what it raised as JSON and exit with 1, or 0."""
    target, device = arguments
    module, _, function = target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(device)
    except Exception as error:  # noqa: BLE001 (told to whoever started this process)
        text = getattr(error, "why", None) or str(error)
        print(json.dumps({"kind": type(error).__name__, "text": text}))  # noqa: T201
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
