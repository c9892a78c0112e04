"""Which of CUDA's libraries the system's own loader finds, asked of what it reads itself.

On Linux that is `LD_LIBRARY_PATH` as it was when this process started, `/etc/ld.so.cache`, and the
folders that it always looks into; on Windows, `PATH`. What may not live here: loading any of
them, and the libraries that wheels bring.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from .library_names import KNOWN, file_name
from .site_packages import read_start

__all__ = ["environment_at_start", "found_by_loader", "names_in_cache"]

_CACHE: Final = Path("/etc/ld.so.cache")
# glibc's `dl-cache.h`: the newer form, alone or behind the older one.
_MAGIC: Final = b"glibc-ld.so.cache1.1"
_CACHE_HEADER: Final = struct.Struct("<20sI24x")  # up to the first entry; how many there are
_CACHE_ENTRY: Final = struct.Struct("<iII12x")  # for what, and where name and path are
# The kinds of library that a 64-bit process can load: those of x86-64, and of aarch64.
_CACHE_KINDS: Final = frozenset({0x0303, 0x0A03})
_LONGEST: Final = 4 << 20  # a list of 30 000 libraries, an environment of 2 MB

# Where glibc looks last of all, the folders of Debian among them.
_ALWAYS: Final = (
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
)


def found_by_loader(
    environ: Mapping[str, str] | None = None,
    *,
    names: Iterable[str] = KNOWN,
    system: str = sys.platform,
    cache: Path = _CACHE,
    always: Iterable[str] = _ALWAYS,
) -> tuple[str, ...]:
    """Return those of `names` that the loader finds by itself, without loading any.

    `environ` is the environment at the start of the process; None means that of this process.
    """
    names = tuple(names)
    if system == "win32":
        variables = os.environ if environ is None else environ
        folders = variables.get("PATH", "").split(";")
        cached: frozenset[str] = frozenset()
    elif system.startswith("linux"):
        variables = environment_at_start() if environ is None else environ
        # The loader takes an empty entry for the current folder; nobody means that one.
        folders = [*_split(variables.get("LD_LIBRARY_PATH", "")), *_conda(), *always]
        cached = names_in_cache(read_start(cache, _LONGEST) or b"", names)
    else:  # there is no CUDA
        return ()
    return tuple(
        name for name in names if name in cached or _is_in(folders, file_name(name, system))
    )


def environment_at_start() -> Mapping[str, str]:
    """Return the environment that this process was started with, which is what its loader knows.

    Where it cannot be read any more, it is the present one.
    """
    started = read_start(Path("/proc/self/environ"), _LONGEST)
    if not started:
        return os.environ
    pairs = (os.fsdecode(pair).partition("=") for pair in started.split(b"\0"))
    return {name: value for name, _, value in pairs if name}


def names_in_cache(cache: bytes, names: Iterable[str]) -> frozenset[str]:
    """Return those of `names` that the bytes of an `ld.so.cache` list, and whose files exist."""
    start = cache.find(_MAGIC)
    table = cache[start:] if start >= 0 else b""
    if len(table) < _CACHE_HEADER.size:
        return frozenset()
    wanted = {name.encode() for name in names}
    _, count = _CACHE_HEADER.unpack_from(table)
    end = min(_CACHE_HEADER.size + count * _CACHE_ENTRY.size, len(table))
    whole = end - (end - _CACHE_HEADER.size) % _CACHE_ENTRY.size
    found = set()
    for kind, key, value in _CACHE_ENTRY.iter_unpack(table[_CACHE_HEADER.size : whole]):
        if kind & 0xFFFF in _CACHE_KINDS and _text(table, key, 64) in wanted:
            path = _text(table, value, 4096)
            if os.path.exists(path):  # noqa: PTH110 (bytes); the list may be older than the files
                found.add(_text(table, key, 64).decode())
    return frozenset(found)


def _text(table: bytes, begin: int, longest: int) -> bytes:
    return table[begin : begin + longest].partition(b"\0")[0]


def _split(folders: str) -> list[str]:
    # Colons and, as `ld.so` has it, semicolons.
    return [folder for folder in folders.replace(";", ":").split(":") if folder]


def _conda() -> tuple[str, ...]:
    """Return the folder of a conda environment's libraries: its Python has it built in."""
    prefix = Path(sys.prefix)
    return (str(prefix / "lib"),) if (prefix / "conda-meta").is_dir() else ()


def _is_in(folders: Iterable[str], file: str) -> bool:
    return any(Path(folder, file).exists() for folder in folders if folder)
