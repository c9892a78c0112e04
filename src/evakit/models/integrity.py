"""Expected: what a file must be, by size and hash, and whether the one on disk is that.

What may not live here: where files come from, and what happens to one that is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from .model import HubSource, ModelFile, WheelSource

__all__ = ["CHUNK", "Expected"]

CHUNK: Final = 1 << 18
"""Bytes that are read, hashed or written between two looks at whether to go on."""


@frozen
class Expected:
    """A file as it must be."""

    name: str
    """Its path inside the model's folder."""
    size: int
    """Bytes."""
    digest: str
    """Hexadecimal."""
    algorithm: Literal["sha256", "git-sha1"] = "sha256"
    """`git-sha1` is what the hub names for small files: SHA-1 of git's blob header and the file."""
    sources: tuple[HubSource | WheelSource, ...] = ()

    @classmethod
    def of(cls, file: ModelFile) -> Expected:
        """Expect a declared file."""
        return cls(file.name, file.size, file.sha256, sources=file.sources)

    def is_intact(self, path: Path, tick: Callable[[], None]) -> bool:
        """Say whether the file at `path` has this size and this hash; reads all of it.

        Raises:
            OSError: the file cannot be read.

        """
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.algorithm == "sha256":
            found = hashlib.sha256()
        else:
            # SHA-1 because git's names are made with it; the listing came over https.
            found = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
                tick()
        return found.hexdigest() == self.digest
