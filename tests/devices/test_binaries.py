"""Shared libraries looked into without being loaded."""

from __future__ import annotations

import importlib.util
import struct
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native import compile_library

from evakit.devices.binaries import open_library, read_library

SOURCE = """
const char code[] __attribute__((section(".nv_fatbin"))) = "not a text: libcublas.so.99";
const char* first(void) { return "libcublas.so.12"; }
const char* second(void) { return "looking for libcudnn.so.9 in vain"; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library that needs another one and has texts and a section of its own."""
    folder = tmp_path_factory.mktemp("library")
    needed = compile_library(folder, "libneeded.so.7", "int nothing;")
    return compile_library(folder, "libmade.so.1", SOURCE, "-Wl,--no-as-needed", str(needed))


@pytest.fixture(scope="module")
def whole(library):
    return library.read_bytes()


def test_an_elf_file_says_what_it_needs_and_has(library):
    with open_library(library) as found:
        assert found.form == "ELF"
        assert found.needed[0] == "libneeded.so.7"
        assert {".nv_fatbin", ".dynamic", ".rodata"} <= found.sections


def test_its_constants_are_searched_and_nothing_else(library):
    with open_library(library) as found:
        assert found.text("libcublas.so.") == "libcublas.so.12"
        assert found.text("libcudnn") == "libcudnn.so.9 in vain"
        assert found.text("libneeded") is None
        assert found.text("libcublas.so.99") is None


def needed_by(content):
    """What a library needs, found the way the loader does it: through its segments."""
    at, size, count = struct.unpack_from("<32xQ14xHH", content)
    parts = [struct.unpack_from("<IIQQQQ", content, at + n * size) for n in range(count)]

    def place(address):
        return next(
            offset + address - start
            for kind, _, offset, start, _, length in parts
            if kind == 1 and start <= address < start + length
        )

    (dynamic,) = [part for part in parts if part[0] == 2]
    entries = struct.iter_unpack("<qQ", content[dynamic[2] : dynamic[2] + dynamic[5]])
    entries = list(takewhile(lambda entry: entry[0] != 0, entries))
    strings = place(dict(entries)[5])
    begins = [strings + value for tag, value in entries if tag == 1]
    return tuple(content[begin : content.index(b"\0", begin)].decode() for begin in begins)


@pytest.mark.parametrize("engine", ["onnxruntime", "ctranslate2", "xllamacpp"])
def test_real_libraries_are_read_as_the_loader_reads_them(engine):
    origin = Path(importlib.util.find_spec(engine).origin)
    libraries = [*origin.parent.rglob("*.so*"), *origin.parents[1].glob(f"{engine}.libs/*.so*")]
    assert libraries
    for path in libraries:
        with open_library(path) as found:
            assert found.form == "ELF"
            assert found.needed == needed_by(path.read_bytes())
            assert {".dynamic", ".dynstr", ".text"} <= found.sections


def test_a_library_without_a_list_of_sections_is_searched_as_a_whole(whole):
    stripped = bytearray(whole)
    stripped[40:48] = bytes(8)  # where they are
    stripped[60:64] = bytes(4)  # how many, and where their names are
    found = read_library(bytes(stripped))
    assert (found.needed, found.sections) == (None, frozenset())
    assert found.text("libcublas.so.12") == "libcublas.so.12"
    assert found.text("libneeded.so") == "libneeded.so.7"


def test_libraries_of_other_systems_are_searched_as_a_whole():
    found = read_library(b"MZ" + bytes(60) + b"nvcuda.dll\0")
    assert (found.form, found.needed, found.text("nvcuda")) == ("PE", None, "nvcuda.dll")
    assert read_library(bytes.fromhex("cafebabe") + bytes(9)).form == "Mach-O"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"x", "it is neither an ELF, a PE nor a Mach-O file"),
        (b"#!/bin/sh\n", "it is neither"),
        (b"\x7fELF", "it is an ELF file for another kind of processor"),
        (b"\x7fELF\x01\x01" + bytes(100), "for another kind of processor"),
        (b"\x7fELF\x02\x01", "it is not a whole ELF file"),
    ],
)
def test_what_is_no_library_is_said(tmp_path, content, says):
    path = tmp_path / "lib.so"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says), open_library(path):
        pytest.fail("it was read")


def test_a_file_that_is_missing_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError), open_library(tmp_path / "missing.so"):
        pytest.fail("it was read")


def changed(whole, offset, form, value):
    content = bytearray(whole)
    struct.pack_into(form, content, offset, value)
    return bytes(content)


def sections(whole):
    """Where the header of each section of some type is."""
    (start,) = struct.unpack_from("<Q", whole, 40)
    (count,) = struct.unpack_from("<H", whole, 60)
    return {
        struct.unpack_from("<4xI", whole, start + n * 64)[0]: start + n * 64 for n in range(count)
    }


def test_each_lie_of_a_file_is_found_out(whole):
    dynamic = sections(whole)[6]
    (entries,) = struct.unpack_from("<Q", whole, dynamic + 24)
    for lie in (
        changed(whole, 40, "<Q", 1 << 63),  # its sections are beyond its end
        changed(whole, 62, "<H", 60_000),  # their names are in one that it has not
        changed(whole, dynamic + 24, "<Q", 1 << 62),  # a section is beyond its end
        changed(whole, dynamic + 32, "<Q", 1 << 62),  # or ends there
        changed(whole, dynamic + 40, "<I", 60_000),  # the strings are in one that it has not
        changed(whole, dynamic, "<I", 1 << 31),  # a name is outside of the names
        changed(whole, entries + 8, "<Q", 1 << 40),  # a string is outside of the strings
    ):
        with pytest.raises(ValueError, match="it is not a whole ELF file"):
            read_library(lie)


NEEDED, OTHER, END = 1, 0x6FFFFFFF, 0


@pytest.mark.parametrize(
    ("tags", "count"),
    [
        ([NEEDED, OTHER, NEEDED], 2),
        ([NEEDED, END, NEEDED], 1),
        ([*[OTHER] * 100_000, NEEDED], 0),  # one without an end is not read for ever
    ],
)
def test_the_dynamic_section_is_read_to_its_end(whole, tags, count):
    at = sections(whole)[6]
    entries = b"".join(struct.pack("<qQ", tag, 1) for tag in tags)
    content = bytearray(changed(whole, at + 24, "<Q", len(whole)) + entries)
    struct.pack_into("<Q", content, at + 32, len(entries))
    assert len(read_library(bytes(content)).needed) == count


@settings(deadline=None)
@given(data=st.data())
def test_no_piece_of_a_library_and_no_change_to_it_is_more_than_a_value_error(whole, data):
    end = data.draw(st.integers(0, len(whole)))
    content = bytearray(whole[:end])
    for _ in range(data.draw(st.integers(0, 8))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_library(bytes(content))
    except ValueError:
        return
    assert found.form in {"ELF", "PE", "Mach-O"}
    assert found.text("libcublas") is None or found.text("libcublas").startswith("libcublas")
