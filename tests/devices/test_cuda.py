"""What CUDA's driver says of this process, asked of a libcuda that an engine would have loaded."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from native import RTX_3060, RTX_4090, compile_library, run

from evakit.devices import cuda

A100 = "GPU-a100eeee-1111-2222-3333-444455556666"
SLICE = "MIG-22222222-aaaa-5555-8888-000000000000"

PROGRAM = """
import ctypes, json, os
from evakit.devices import cuda

def said():
    contexts = cuda.active_contexts()
    return [
        cuda.is_initialised(), cuda.devices(), None if contexts is None else sorted(contexts)
    ]

answer = [said()]
engine = ctypes.CDLL("libcuda.so.1")
answer.append(said())
engine.cuInit(0)
answer.append(said())
context = ctypes.c_void_p()
"""


def program(rest):
    return f"{PROGRAM}{rest}\nprint(json.dumps(answer))\n"


NOT_INITIALISED = [False, None, []]


def test_contexts_are_seen_from_when_they_are_made_to_when_they_are_gone(fake_cuda):
    code = program("""
engine.cuDevicePrimaryCtxRetain(ctypes.byref(context), 1)
answer.append(said())
engine.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
answer.append(said())
engine.cuDevicePrimaryCtxRelease_v2(1)
answer.append(said())
""")
    devices = {"0": RTX_3060, "1": RTX_4090}
    assert run(code, fake_cuda(), FAKE_CUDA_DEVICES=f"{RTX_3060},{RTX_4090}") == [
        NOT_INITIALISED,  # not loaded
        NOT_INITIALISED,
        [True, devices, []],
        [True, devices, [RTX_4090]],
        [True, devices, sorted([RTX_3060, RTX_4090])],
        [True, devices, [RTX_3060]],
    ]


@pytest.mark.parametrize(
    "options",
    [(), ("-DPLAIN_NAMES",), ("-DWITHOUT_FIRST_UUID",)],
    ids=["as it is", "told by its UUIDs", "told by its name"],
)
def test_a_mig_instance_has_its_own_uuid(fake_cuda, options):
    code = program("""
engine.cuDevicePrimaryCtxRetain(ctypes.byref(context), 1)
answer = said()
""")
    answer = run(code, fake_cuda(*options), FAKE_CUDA_DEVICES=f"{RTX_4090},{A100}/{SLICE}")
    assert answer == [True, {"0": RTX_4090, "1": SLICE}, [SLICE]]


def test_an_old_driver_tells_uuids_with_the_older_call(fake_cuda):
    code = program("answer = said()")
    folder = fake_cuda("-DWITHOUT_SECOND_UUID")
    answer = run(code, folder, FAKE_CUDA_DEVICES=f"{RTX_4090},{RTX_3060}")
    assert answer == [True, {"0": RTX_4090, "1": RTX_3060}, []]


def test_a_driver_that_tells_no_uuid_is_not_told_of(fake_cuda):
    folder = fake_cuda("-DWITHOUT_FIRST_UUID", "-DWITHOUT_SECOND_UUID")
    answer = run(program("answer = said()"), folder, FAKE_CUDA_DEVICES=RTX_4090)
    assert answer == [True, None, None]


def test_without_a_device_nothing_can_be_on_one(fake_cuda):
    code = program("")
    assert run(code, fake_cuda()) == [NOT_INITIALISED, NOT_INITIALISED, [True, {}, []]]
    # cuInit finds none where CUDA_VISIBLE_DEVICES hides them all, and says so.
    answer = run(code, fake_cuda(), FAKE_CUDA_INIT="100", FAKE_CUDA_DEVICES=RTX_4090)
    assert answer == [NOT_INITIALISED] * 3


@pytest.mark.parametrize(
    ("code", "expected"),
    [("3", [False, None, []]), ("100", [True, {}, []]), ("4", [None, None, None])],
    ids=["not initialised, as in a forked child", "no device", "shutting down"],
)
def test_a_driver_that_answers_with_an_error_is_believed_where_it_says_no(
    fake_cuda, code, expected
):
    rest = f"""
engine.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
os.environ["FAKE_CUDA_BROKEN"] = "{code}"
answer = said()
"""
    assert run(program(rest), fake_cuda(), FAKE_CUDA_DEVICES=RTX_4090) == expected


def test_nothing_loads_the_driver(fake_cuda):
    code = """
import json
from evakit.devices import cuda
answer = [cuda.loaded_libcuda(), cuda.is_initialised(), cuda.devices(), cuda.mapped_libraries()]
assert cuda.active_contexts() == frozenset()
with open("/proc/self/maps") as maps:
    assert "libcuda" not in maps.read()
print(json.dumps(answer))
"""
    answer = run(code, fake_cuda(), FAKE_CUDA_DEVICES=RTX_4090)
    assert answer == [None, False, None, []]


def test_a_driver_loaded_by_another_path_is_found(fake_cuda):
    folder = fake_cuda()
    code = f"""
import ctypes, json
from evakit.devices import cuda
engine = ctypes.CDLL("{folder}/libcuda.so.1")
engine.cuInit(0)
print(json.dumps([cuda.devices(), cuda.mapped_libraries()]))
"""
    answer = run(code, FAKE_CUDA_DEVICES=RTX_4090)
    assert answer == [{"0": RTX_4090}, [f"{folder}/libcuda.so.1"]]


def test_the_libraries_that_are_mapped_are_told_once_each(tmp_path):
    names = ("libcublas.so.12", "libcublasLt.so.12", "libonnxruntime_providers_cuda.so")
    names = (*names, "libtorch_cuda.so")
    other = tmp_path / "another release"
    other.mkdir()
    folders = [(tmp_path, name) for name in (*names, "libcudnn.so.9", "libfoo.so")]
    libraries = [
        str(compile_library(folder, name, "int x;"))
        for folder, name in [*folders, (other, "libcudnn.so.9.1.0")]
    ]
    code = f"""
import ctypes, json
from evakit.devices import cuda
for library in {libraries}:
    ctypes.CDLL(library)
print(json.dumps(cuda.mapped_libraries()))
"""
    assert run(code) == sorted(path for path in libraries if "libfoo" not in path)


def test_device_files_that_are_open_are_told(tmp_path):
    folder = tmp_path / "proc/self/fd"
    folder.mkdir(parents=True)
    targets = [
        "/dev/nvidiactl",
        "/dev/nvidia0",
        "/dev/nvidia0",
        "/dev/dxg",
        "/dev/dxgx",
        "pipe:[1]",
    ]
    for number, target in enumerate([*targets, "/dev/nvidia-uvm", "/elsewhere/dev/nvidia0"]):
        (folder / str(number)).symlink_to(target)
    (folder / "99").write_text("closed before it could be read")
    expected = ("/dev/dxg", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl")
    assert cuda.open_device_files(tmp_path) == expected


def test_without_proc_there_is_nothing_to_tell(tmp_path):
    assert cuda.open_device_files(tmp_path) == ()
    assert cuda.mapped_libraries(tmp_path) == ()


def test_maps_with_odd_paths_are_read(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    line = b"7f0 r-xp 0 08:01 123     "
    (tmp_path / "proc/self/maps").write_bytes(
        line + b"/opt/a b/libcuda.so.1\n" + line + b"/x\xff/libcublas.so.12 (deleted)\n" + line
    )
    assert cuda.mapped_libraries(tmp_path) == (
        "/opt/a b/libcuda.so.1",
        os.fsdecode(b"/x\xff/libcublas.so.12 (deleted)"),
    )


def test_a_mac_has_no_cuda(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cuda.loaded_libcuda() is None
    assert cuda.is_initialised() is False
    assert cuda.active_contexts() == frozenset()


@pytest.mark.parametrize("is_loaded", [False, True])
def test_on_windows_the_module_that_is_loaded_is_asked(monkeypatch, fake_cuda, is_loaded):
    # The handle is that of a library of ours: only the way to it is Windows'.
    library = ctypes.CDLL(str(fake_cuda() / "libcuda.so.1"))
    asked = []

    class GetModuleHandleW:
        def __call__(self, name):
            asked.append(name)
            return library._handle if is_loaded else None

    kernel = SimpleNamespace(GetModuleHandleW=GetModuleHandleW())
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", {"kernel32": kernel}.__getitem__, raising=False)
    found = cuda.loaded_libcuda()
    assert asked == ["nvcuda.dll"]
    assert (None if found is None else found._handle) == (library._handle if is_loaded else None)


def test_the_checks_of_a_watchdog_take_less_than_a_millisecond(fake_cuda):
    code = """
import ctypes, json, time
from evakit.devices import cuda
ctypes.CDLL("libcuda.so.1").cuInit(0)

def best(check):
    times = []
    for _ in range(50):
        began = time.perf_counter()
        check()
        times.append(time.perf_counter() - began)
    return min(times)

print(json.dumps([best(cuda.active_contexts), best(cuda.open_device_files)]))
"""
    devices = ",".join([RTX_4090] * 8)
    assert max(run(code, fake_cuda(), FAKE_CUDA_DEVICES=devices)) < 0.001


def test_this_process_is_read_as_it_is():
    assert all(path.startswith("/dev/") for path in cuda.open_device_files())
    assert all(Path(path).is_absolute() for path in cuda.mapped_libraries())
