"""What is installed, as the folders of `sys.path` have it: distributions and import packages.

The names of the folders tell name and version, which `importlib.metadata` parses a file each for:
that takes more than ten times as long. What may not live here: anything about an engine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["Distribution", "Package", "Site", "find_package", "look_at_sites", "read_start"]

# https://packaging.python.org/en/latest/specifications/recording-installed-packages/
_FOLDER: Final = re.compile(r"(?P<name>[A-Za-z0-9].*)-(?P<version>[^-]+)\.dist-info")
# What is longer is no list of files; that of PyTorch, the longest, has 2 MB.
_LONGEST: Final = 16 << 20


@frozen
class Distribution:
    """An installed distribution."""

    name: str
    """In its normal form: `onnxruntime-gpu`."""
    version: str
    folder: Path
    """Its `.dist-info`."""
    packages: frozenset[str]
    """The import packages that it says it brings; not every builder lets it say so."""

    def has_files_in(self, folder: str) -> bool | None:
        """Say whether it has files in `folder`, `onnxruntime/capi`; None when it has no list."""
        # Joined with `/` on every system; an entry with a comma in it would be in quotes.
        prefix = f"{folder}/".encode()
        record = read_start(self.folder / "RECORD", _LONGEST)
        return None if record is None else record.startswith(prefix) or b"\n" + prefix in record


@frozen
class Site:
    """One folder of `sys.path`."""

    folder: Path
    distributions: tuple[Distribution, ...]
    entries: frozenset[str]
    """The names of all that is in it."""


@frozen
class Package:
    """An import package that is there, or of which something is there."""

    name: str
    folder: Path | None
    """None when what is left of it has no `__init__.py`: Python imports it as an empty one."""
    owners: tuple[Distribution, ...]
    """The distributions of the same folder of `sys.path` that have files in it."""


def look_at_sites(path: Sequence[str]) -> tuple[Site, ...]:
    """Return what is in the folders of `path`, in its order, each once."""
    sites: dict[Path, Site] = {}
    for entry in path:
        site = _look(entry)
        if site is not None:
            sites.setdefault(site.folder, site)
    return tuple(sites.values())


def _look(entry: str) -> Site | None:
    try:
        folder = Path(entry).absolute()
        entries = frozenset(os.listdir(folder))  # noqa: PTH208 (names only, in one call)
    except (OSError, ValueError):
        return None  # a zip, or no folder that can be: Python passes it over too
    found = (_distribution(folder, entry) for entry in sorted(entries))
    return Site(folder, tuple(one for one in found if one is not None), entries)


def _distribution(folder: Path, entry: str) -> Distribution | None:
    match = _FOLDER.fullmatch(entry)
    if match is None:
        return None
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    packages = read_start(folder / entry / "top_level.txt", 1 << 16) or b""
    return Distribution(
        name,
        match["version"],
        folder / entry,
        frozenset(packages.decode(errors="replace").split()),
    )


def find_package(
    sites: Iterable[Site], name: str, *, core: str | None = None, prefixes: Sequence[str] = ()
) -> Package | None:
    """Return the import package `name` as Python would find it; None when there is none.

    Who has files in `core`, a folder of it, owns it. Only distributions that declare it, that have
    its name, or a name that begins with it or with one of `prefixes`, are asked.
    """
    remains: Package | None = None
    for site in sites:
        owners = _owners(site, name, core or name, (f"{name}-", *prefixes))
        folder = site.folder / name
        if name in site.entries and (folder / "__init__.py").is_file():
            return Package(name, folder, owners)
        # Where nothing is installed, it is somebody's folder that happens to have the name.
        if owners or (name in site.entries and site.distributions and folder.is_dir()):
            remains = remains or Package(name, None, owners)
    return remains


def _owners(
    site: Site, package: str, core: str, prefixes: tuple[str, ...]
) -> tuple[Distribution, ...]:
    owners = []
    for one in site.distributions:
        declared = one.name == package or package in one.packages
        if declared or one.name.startswith(prefixes):
            has_files = one.has_files_in(core)
            if has_files or (has_files is None and declared):
                owners.append(one)
    return tuple(owners)


def read_start(path: Path, limit: int) -> bytes | None:
    """Return the first `limit` bytes of a file; None when it is not there or cannot be read."""
    try:
        with path.open("rb") as file:
            # As much is reserved as is asked for. Files of the kernel say that they have nothing.
            return file.read(min(os.fstat(file.fileno()).st_size or limit, limit))
    except OSError:
        return None
