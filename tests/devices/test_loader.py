"""Which of CUDA's libraries the system's loader finds by itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import compile_library, run

from evakit.devices import loader
from evakit.devices.library_names import KNOWN
from evakit.devices.loader import environment_at_start, found_by_loader, names_in_cache

NOWHERE = Path("/nonexistent/ld.so.cache")
X86_64, AARCH64, I386 = 0x0303, 0x0A03, 0x0003
HEADER = 48


def cache(*entries: tuple[str, Path | str, int], before: bytes = b"") -> bytes:
    """An `ld.so.cache`: a name, a path and for what kind of program, each."""
    strings, table = b"", b""
    start = HEADER + 24 * len(entries)
    for name, path, kind in entries:
        key = start + len(strings)
        strings += name.encode() + b"\0"
        table += struct.pack("<iIIIQ", kind, key, start + len(strings), 0, 0)
        strings += os.fsencode(path) + b"\0"
    head = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", len(entries), len(strings), 2, 0)
    return before + head + table + strings


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "libcublas.so.12"
    path.write_bytes(b"")
    return path


def test_it_finds_what_is_in_the_cache(library):
    content = cache(
        ("libcublas.so.12", library, X86_64),
        ("libcublas.so.13", "/nonexistent/libcublas.so.13", X86_64),
        ("libc.so.6", library, X86_64),
    )
    assert names_in_cache(content, KNOWN) == {"libcublas.so.12"}


def test_a_cache_may_begin_with_an_older_one(library):
    content = cache(("libcublas.so.12", library, AARCH64), before=b"ld.so-1.7.0\0" + bytes(52))
    assert names_in_cache(content, KNOWN) == {"libcublas.so.12"}


def test_a_library_for_32_bits_is_not_found(library):
    assert names_in_cache(cache(("libcublas.so.12", library, I386)), KNOWN) == frozenset()


def test_the_cache_is_read_as_ldconfig_writes_it(tmp_path):
    ldconfig = shutil.which("ldconfig", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    compile_library(tmp_path, "libcublas.so.12", "int nothing;")
    (tmp_path / "ld.so.conf").write_text(f"{tmp_path}\n")
    made = tmp_path / "cache"
    subprocess.run(
        [ldconfig, "-X", "-C", made, "-f", tmp_path / "ld.so.conf"], check=True, capture_output=True
    )
    assert "libcublas.so.12" in names_in_cache(made.read_bytes(), KNOWN)
    assert names_in_cache(made.read_bytes(), ["libc.so.6"]) == {"libc.so.6"}
    assert "libcublas.so.12" in found_by_loader({}, cache=made, always=())


@given(st.data())
def test_a_broken_cache_is_no_error_and_lists_no_other_names(data):
    whole = bytearray(
        cache(("libcublas.so.12", sys.executable, X86_64), ("libcudnn.so.9", "/", X86_64))
    )
    for _ in range(data.draw(st.integers(0, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert names_in_cache(content, KNOWN) <= set(KNOWN)


def test_a_cache_that_claims_to_be_longer_than_it_is_is_read_to_its_end(library):
    content = bytearray(cache(("libcublas.so.12", library, X86_64)))
    struct.pack_into("<I", content, 20, 0xFFFFFFFF)
    assert "libcublas.so.12" in names_in_cache(bytes(content), KNOWN)


def test_it_finds_what_is_in_the_folders_of_the_environment(library):
    environ = {"LD_LIBRARY_PATH": f"/nonexistent:{library.parent}"}
    assert found_by_loader(environ, cache=NOWHERE, always=()) == ("libcublas.so.12",)
    environ = {"LD_LIBRARY_PATH": f"{library.parent};/nonexistent:"}
    assert found_by_loader(environ, cache=NOWHERE, always=()) == ("libcublas.so.12",)
    assert found_by_loader({}, cache=NOWHERE, always=()) == ()


def test_it_finds_what_is_where_it_always_looks(library):
    found = found_by_loader({}, cache=NOWHERE, always=[str(library.parent)])
    assert found == ("libcublas.so.12",)


def test_an_empty_folder_in_the_environment_is_not_the_current_one(library, monkeypatch):
    (library.parent / "cublas64_12.dll").write_bytes(b"")
    monkeypatch.chdir(library.parent)
    assert found_by_loader({"LD_LIBRARY_PATH": ":"}, cache=NOWHERE, always=()) == ()
    assert found_by_loader({"PATH": ";"}, system="win32") == ()


def test_the_python_of_a_conda_environment_looks_into_its_libraries(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libcudnn.so.9").write_bytes(b"")
    monkeypatch.setattr(loader.sys, "prefix", str(tmp_path))
    assert found_by_loader({}, cache=NOWHERE, always=()) == ()
    (tmp_path / "conda-meta").mkdir()
    assert found_by_loader({}, cache=NOWHERE, always=()) == ("libcudnn.so.9",)


def test_windows_looks_along_its_path_for_other_names(tmp_path):
    for name in ("cublas64_12.dll", "cudnn64_9.dll", "libcublas.so.13"):
        (tmp_path / name).write_bytes(b"")
    found = found_by_loader({"PATH": f"C:\\nothing;{tmp_path}"}, system="win32")
    assert found == ("libcublas.so.12", "libcudnn.so.9")


def test_there_is_no_cuda_on_macos(library):
    environ = {"LD_LIBRARY_PATH": str(library.parent)}
    assert found_by_loader(environ, system="darwin", always=[str(library.parent)]) == ()


def test_what_the_environment_says_later_comes_too_late(tmp_path):
    compile_library(tmp_path, "libcublas.so.11", "int nothing;")
    code = """
import ctypes, json, os, sys
from evakit.devices.loader import found_by_loader

def loads():
    try:
        ctypes.CDLL("libcublas.so.11")
    except OSError:
        return False
    return True

if len(sys.argv) > 1:
    os.environ["LD_LIBRARY_PATH"] = sys.argv[1]
print(json.dumps(["libcublas.so.11" in found_by_loader(), loads()]))
"""
    assert run(code, tmp_path) == [True, True]
    late = f"import sys; sys.argv.append({str(tmp_path)!r})\n{code}"
    assert run(late) == [False, False]


def test_it_says_what_the_loader_of_this_machine_says():
    code = """
import ctypes, json
from evakit.devices.library_names import KNOWN
from evakit.devices.loader import found_by_loader

def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

found = found_by_loader()  # before one of them brings another along
print(json.dumps([found, [name for name in KNOWN if loads(name)]]))
"""
    found, loaded = run(code)
    assert found == loaded


def test_where_the_start_cannot_be_read_the_present_counts(monkeypatch):
    monkeypatch.setenv("EVAKIT_LATE", "1")
    if sys.platform == "linux":
        assert "EVAKIT_LATE" not in environment_at_start()
        assert environment_at_start()["PATH"]
    monkeypatch.setattr(loader, "read_start", lambda *_: None)
    assert environment_at_start()["EVAKIT_LATE"] == "1"


def test_looking_loads_nothing(tmp_path, monkeypatch):
    def refuse(*args, **options):
        pytest.fail("a library was loaded")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    found_by_loader()
