"""The manifest in a fetched model's folder: its files with their hashes, as they were checked.

It tells a changed declaration from the files that are here, and a listed repository's files
without asking the hub again. What may not live here: fetching, and trust in a damaged manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError
from .integrity import Expected
from .model import Model, _inside

__all__ = ["NAME", "read_manifest", "write_manifest"]

NAME: Final = ".evakit-model.json"


def write_manifest(folder: Path, model: Model, files: Iterable[Expected]) -> None:
    """Note what is in the folder.

    Raises:
        OSError: it cannot be written.

    """
    listing = model.listing
    content = {
        "model": model.name,
        "listing": None if listing is None else [str(listing), *listing.patterns],
        "files": [
            {"name": f.name, "size": f.size, "algorithm": f.algorithm, "digest": f.digest}
            for f in files
        ],
    }
    (folder / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path, model: Model) -> tuple[Expected, ...] | None:
    """Read what was noted; None when there is nothing, or it was noted of another listing."""
    try:
        content: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
        listing = model.listing
        if listing is not None and content["listing"] != [str(listing), *listing.patterns]:
            return None
        return tuple(
            Expected(_inside(f["name"]), int(f["size"]), str(f["digest"]), f["algorithm"])
            for f in content["files"]
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError, ConfigurationError):
        return None  # damaged: as good as none, the files are fetched or checked anew
