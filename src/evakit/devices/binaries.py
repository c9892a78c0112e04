"""Shared libraries looked into without being loaded: what they need, and what stands in them.

Only the tables of a file are read, and its constants searched, so that a library of 100 MB costs a
millisecond. Whatever a file claims is checked against its size. What may not live here: what any
of it means (`packages.py`).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["SharedLibrary", "open_library", "read_library"]

Bytes = bytes | mmap.mmap

_MACH_O: Final = tuple(
    bytes.fromhex(magic)
    for magic in ("cffaedfe", "cefaedfe", "feedfacf", "feedface", "cafebabe", "cafebabf")
)
# ELF, as in the generic ABI: a 64-bit file's header, its sections, its dynamic entries.
_HEADER: Final = struct.Struct("<16xHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_ENTRY: Final = struct.Struct("<qQ")
_64_LITTLE_ENDIAN: Final = b"\x02\x01"  # x86-64 and aarch64; CUDA runs on no other
_NOTHING_IN_FILE: Final = 8  # a section's type: it has no bytes in the file
_DYNAMIC: Final = 6
_END: Final = 0  # tags of dynamic entries
_NEEDED: Final = 1
_LONGEST: Final = 4096  # a name or a message that is longer is none
_MOST_ENTRIES: Final = 4096  # a library has fewer than a hundred


@frozen(kw_only=True)
class SharedLibrary:
    """What a file says of itself; `text` reads on in it."""

    form: str
    """`ELF`, `PE` or `Mach-O`."""
    needed: tuple[str, ...] | None
    """The libraries that the loader loads with it; None where that was not looked at."""
    sections: frozenset[str]
    """The names of its sections; empty where they were not looked at."""
    _data: Bytes
    _constants: range

    def text(self, start: str) -> str | None:
        """Return the first of its constants that begins with `start`; None when none does.

        `libcublas.so.` finds `libcublas.so.12`. What comes before it does not matter.
        """
        begin = self._data.find(start.encode(), self._constants.start, self._constants.stop)
        if begin < 0:
            return None
        return _text(self._data, begin)


@contextmanager
def open_library(path: Path) -> Generator[SharedLibrary]:
    """Look into the shared library at `path` while the block runs.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a shared library, or not a whole one.

    """
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise ValueError("it is empty")  # which cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield read_library(data)


def read_library(data: Bytes) -> SharedLibrary:
    """Read what the bytes of a shared library say.

    Raises:
        ValueError: they are not a shared library, or not a whole one.

    """
    start = data[:4]
    everything = range(len(data))
    if start == b"\x7fELF":
        try:
            return _read_elf(data)
        except struct.error as error:
            raise ValueError(f"it is not a whole ELF file: {error}") from error
    if start[:2] == b"MZ":
        return SharedLibrary(
            form="PE", needed=None, sections=frozenset(), data=data, constants=everything
        )
    if start in _MACH_O:
        return SharedLibrary(
            form="Mach-O", needed=None, sections=frozenset(), data=data, constants=everything
        )
    raise ValueError("it is neither an ELF, a PE nor a Mach-O file")


@frozen
class _Section:
    name: int
    """Where its name is, in the section of the names."""
    type: int
    link: int
    """The number of the section that it refers to: for the dynamic one, that of its strings."""
    bytes: range


def _read_elf(data: Bytes) -> SharedLibrary:
    if data[4:6] != _64_LITTLE_ENDIAN:
        raise ValueError("it is an ELF file for another kind of processor")
    header = _HEADER.unpack(data[: _HEADER.size])
    offset, size, count, names = header[5], header[10], header[11], header[12]
    if not count:  # they may be stripped; then all that can be done is to search all of it
        return SharedLibrary(
            form="ELF", needed=None, sections=frozenset(), data=data, constants=range(len(data))
        )
    sections = [_section(data, offset + number * size) for number in range(count)]
    strings = _at(sections, names).bytes
    named = {_string(data, strings, section.name): section for section in sections}
    constants = named[".rodata"].bytes if ".rodata" in named else range(len(data))
    return SharedLibrary(
        form="ELF",
        needed=_needed(data, sections),
        sections=frozenset(named),
        data=data,
        constants=constants,
    )


def _section(data: Bytes, offset: int) -> _Section:
    name, kind, _, _, start, size, link, *_ = _SECTION.unpack(data[offset : offset + _SECTION.size])
    if kind == _NOTHING_IN_FILE:
        size = 0
    if start + size > len(data):
        raise ValueError("it is not a whole ELF file: it ends within a section")
    return _Section(name, kind, link, range(start, start + size))


def _at(sections: list[_Section], number: int) -> _Section:
    if number >= len(sections):
        raise ValueError("it is not a whole ELF file: it refers to a section that it has not")
    return sections[number]


def _needed(data: Bytes, sections: list[_Section]) -> tuple[str, ...]:
    found = []
    for section in sections:
        if section.type != _DYNAMIC:
            continue
        strings = _at(sections, section.link).bytes
        for at in section.bytes[:: _ENTRY.size][:_MOST_ENTRIES]:
            tag, value = _ENTRY.unpack(data[at : at + _ENTRY.size])
            if tag == _END:
                break
            if tag == _NEEDED:
                found.append(_string(data, strings, value))
    return tuple(found)


def _string(data: Bytes, strings: range, offset: int) -> str:
    if offset >= len(strings):
        raise ValueError("it is not a whole ELF file: a name lies outside of its names")
    return _text(data, strings.start + offset)


def _text(data: Bytes, begin: int) -> str:
    """Return the text from `begin` to the zero that ends it."""
    end = data.find(b"\0", begin, begin + _LONGEST)
    return data[begin : begin + _LONGEST if end < 0 else end].decode(errors="replace")
