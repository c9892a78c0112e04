"""Folders: where the models are on disk, under names that every system allows.

::

    <home>/models/<model>/       complete, checked models; a half one is never here
    <home>/partial/<model>/      what is being fetched, kept for continuing it
    <home>/locks/<model>.lock    held by the process that fetches

What may not live here: what is in the folders.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import platformdirs

from ..errors import StorageError

__all__ = ["Folders", "folder_name", "megabytes", "storage", "write_all"]

_PLAIN: Final = re.compile(r"([a-z0-9_]{1,40}):([a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?)")
_READABLE: Final = 60  # characters of a long name that its folder shows


def folder_name(model: str) -> str:
    """Name the folder of a model: readable, different for each, allowed on every system.

    `whisper:base` gives `whisper--base`. Other names, whose capitals or signs some systems do
    not keep apart or do not allow, end with `~` and a part of their SHA-256.
    """
    plain = _PLAIN.fullmatch(model)
    if plain:
        return f"{plain[1]}--{plain[2]}"
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", model.replace(":", "--", 1))[:_READABLE]
    mark = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{readable.strip('.-') or 'model'}~{mark}"


def megabytes(n_bytes: int) -> str:
    """Write a number of bytes for people."""
    return f"{n_bytes / 1e6:,.1f} MB"


@contextmanager
def storage(path: Path) -> Generator[None]:
    """Turn what the disk refuses inside the block into a `StorageError` that names `path`."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written or read ({error.strerror or error}); free some space, "
            "allow access, or set EVAKIT_HOME to another folder."
        ) from error


def write_all(file: io.FileIO, data: bytes) -> None:
    """Write all of `data`; a disk that is nearly full takes a part of it, then refuses."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


class Folders:
    """The folders of all models under one home."""

    def __init__(self, home: Path | None) -> None:
        if home is None:
            named = os.environ.get("EVAKIT_HOME")
            # Not Path.expanduser, which fails for an unknown user.
            home = (
                Path(os.path.expanduser(named))  # noqa: PTH111
                if named
                else platformdirs.user_cache_path("evakit")
            )
        self.home = Path(home)

    def model(self, name: str) -> Path:
        """Name the folder of a complete model."""
        return self.home / "models" / folder_name(name)

    def partial(self, name: str) -> Path:
        """Name the folder of a model that is being fetched."""
        return self.home / "partial" / folder_name(name)

    def lock(self, name: str) -> Path:
        """Name the file that is locked while a model is fetched."""
        return self.home / "locks" / f"{folder_name(name)}.lock"

    def need(self, n_bytes: int, model: str) -> None:
        """Refuse to begin what the disk has no room for.

        Raises:
            StorageError: less than `n_bytes` are free.

        """
        with storage(self.home):
            free = shutil.disk_usage(self.home).free
        if n_bytes > free:
            raise StorageError(
                f"{model} needs {megabytes(n_bytes)} more and {self.home} has {megabytes(free)} "
                "free; free some space or set EVAKIT_HOME to a folder on another disk."
            )
