"""CUDA's libraries: their names and wheels, and loading them before an engine looks for them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from made_site import MadeSite
from native import compile_library, environment, run

from evakit.devices import libraries
from evakit.devices.installed import Installed
from evakit.devices.libraries import preload
from evakit.devices.library_names import (
    CUBLAS_12,
    CUBLAS_13,
    KNOWN,
    ONNXRUNTIME_12,
    ONNXRUNTIME_13,
    cuda_of,
    file_name,
    library_of,
    requirement_of,
    wheel_of,
)
from evakit.devices.packages import look_at_packages

# The names.


@pytest.mark.parametrize(
    ("name", "cuda", "wheel", "requirement"),
    [
        ("libcublas.so.12", None, "nvidia-cublas-cu12", "nvidia-cublas-cu12"),
        ("libcublasLt.so.12", 12, "nvidia-cublas-cu12", "nvidia-cublas-cu12"),
        ("libcublas.so.13", None, "nvidia-cublas", "nvidia-cublas~=13.0"),
        ("libcufft.so.11", None, "nvidia-cufft-cu12", "nvidia-cufft-cu12"),
        ("libcufft.so.12", None, "nvidia-cufft", "nvidia-cufft~=12.0"),
        ("libcurand.so.10", 12, "nvidia-curand-cu12", "nvidia-curand-cu12"),
        ("libcurand.so.10", 13, "nvidia-curand", "nvidia-curand~=10.0"),
        ("libcudnn.so.9", 12, "nvidia-cudnn-cu12", "nvidia-cudnn-cu12"),
        ("libcudnn.so.9", 13, "nvidia-cudnn-cu13", "nvidia-cudnn-cu13"),
        ("libcudnn.so.9", None, "nvidia-cudnn-cu13", "nvidia-cudnn-cu13"),
        ("libcudart.so.13", None, "nvidia-cuda-runtime", "nvidia-cuda-runtime~=13.0"),
        ("libnvrtc.so.12", None, "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc-cu12"),
    ],
)
def test_each_library_comes_with_a_wheel(name, cuda, wheel, requirement):
    assert wheel_of(name, cuda) == wheel
    assert requirement_of(name, cuda) == requirement


@pytest.mark.parametrize(("name", "cuda"), [("libfoo.so.1", None), ("libcublas.so.12", 13)])
def test_no_wheel_is_made_up(name, cuda):
    with pytest.raises(KeyError):
        wheel_of(name, cuda)


@pytest.mark.parametrize(
    ("names", "cuda"),
    [(ONNXRUNTIME_12, 12), (ONNXRUNTIME_13, 13), (CUBLAS_12, 12), (CUBLAS_13, 13)],
)
def test_a_set_is_for_one_cuda_and_all_of_it_is_known(names, cuda):
    assert cuda_of(names) == cuda
    assert {wheel_of(name, cuda) for name in names}
    assert set(names) <= set(KNOWN)


def test_libraries_with_one_name_for_several_cudas_tell_none():
    assert cuda_of(["libcudnn.so.9", "libcurand.so.10"]) is None


@pytest.mark.parametrize("name", KNOWN)
def test_a_library_has_another_name_on_windows_and_is_known_by_it(name):
    assert file_name(name, "linux") == name
    assert file_name(name, "win32").endswith(".dll")
    assert library_of(file_name(name, "win32")) == library_of(name) == name


def test_a_file_of_any_other_name_holds_itself():
    assert library_of("libnccl.so.2") == file_name("libnccl.so.2", "win32") == "libnccl.so.2"


# Loading them. In a program of its own: what has been loaded stays.


@pytest.fixture
def site(tmp_path):
    """NVIDIA's wheel of cuBLAS 12, with libraries that do nothing."""
    site = MadeSite(tmp_path / "site-packages")
    lt = compile_library(tmp_path, "libcublasLt.so.12", "int lt(void) { return 12; }")
    cublas = compile_library(
        tmp_path,
        "libcublas.so.12",
        "int lt(void); int cublas(void) { return lt(); }",
        "-Wl,--no-as-needed",
        str(lt),
        "-Wl,-rpath,$ORIGIN",
    )
    site.install(
        "nvidia-cublas-cu12",
        "12.9.3.13",
        {f"nvidia/cublas/lib/{path.name}": path.read_bytes() for path in (lt, cublas)},
    )
    for path in (lt, cublas):
        path.unlink()  # or the engine below would find them where it was made
    return site


PROGRAM = """
import ctypes, json, os, sys
from evakit.devices.libraries import preload
from evakit.devices.library_names import *
from evakit.devices.packages import look_at_packages
from evakit.errors import MissingLibraryError

SITE = {site!r}

def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return True

def load(names):
    try:
        return [str(path) for path in preload(look_at_packages(SITE), names, component="whisper")]
    except MissingLibraryError as error:
        return dict(says=str(error), component=error.component, wanted=error.wanted,
                    found=error.found, fixes=[fix.to_json() for fix in error.fixes],
                    cause=str(error.__cause__))

"""


def program(site: MadeSite, code: str, *folders, **variables):
    return run(PROGRAM.format(site=site.path) + code, *folders, **variables)


def test_what_was_preloaded_is_found_by_its_name(site, tmp_path):
    """As CTranslate2 finds it, with a call of its own, and ONNX Runtime, which is linked to it."""
    folder = site.folder / "nvidia/cublas/lib"
    linked = compile_library(
        tmp_path,
        "liblinked.so",
        "int cublas(void); int answer(void) { return cublas(); }",
        "-Wl,--no-as-needed",
        str(folder / "libcublas.so.12"),
        f"-Wl,-rpath-link,{folder}",
    )
    opening = compile_library(
        tmp_path,
        "libopening.so",
        '#include <dlfcn.h>\nint answer(void) { return dlopen("libcublas.so.12", 1) != 0; }',
    )
    code = f"""
linked, opening = {str(linked)!r}, {str(opening)!r}
before = [loads("libcublas.so.12"), loads(linked), ctypes.CDLL(opening).answer()]
os.environ["LD_LIBRARY_PATH"] = {str(folder)!r}
late = loads("libcublas.so.12")
loaded = load(CUBLAS_12)
after = [loads("libcublas.so.12"), ctypes.CDLL(linked).answer(), ctypes.CDLL(opening).answer()]
print(json.dumps([before, late, loaded, after, load(CUBLAS_12)]))
"""
    before, late, loaded, after, again = program(site, code)
    missing = "libcublas.so.12: cannot open shared object file: No such file or directory"
    assert before == [missing, missing, 0]
    assert late == missing
    assert loaded == [str(folder / "libcublasLt.so.12"), str(folder / "libcublas.so.12")]
    assert after == [True, 12, 1]
    assert again == []


def test_what_another_has_loaded_stays(site, tmp_path):
    (tmp_path / "torch").mkdir()
    mine = compile_library(tmp_path / "torch", "libcublasLt.so.12", "int lt(void) { return 99; }")
    loaded = program(site, f"ctypes.CDLL({str(mine)!r}); print(json.dumps(load(CUBLAS_12)))")
    assert loaded == [str(site.folder / "nvidia/cublas/lib/libcublas.so.12")]


def test_where_the_loader_finds_all_of_them_its_own_are_taken(site):
    code = "print(json.dumps([load(CUBLAS_12), loads('libcublas.so.12')]))"
    folder = site.folder / "nvidia/cublas/lib"
    assert program(site, code, folder) == [[], True]


def test_where_the_loader_finds_only_some_of_them_those_of_the_wheels_are_taken(site, tmp_path):
    system = tmp_path / "system"
    system.mkdir()
    compile_library(system, "libcublasLt.so.12", "int lt(void) { return 4; }")
    code = """
loaded = load(CUBLAS_12)
print(json.dumps([loaded, ctypes.CDLL("libcublas.so.12").cublas()]))
"""
    loaded, answer = program(site, code, system)
    folder = site.folder / "nvidia/cublas/lib"
    assert loaded == [str(folder / "libcublasLt.so.12"), str(folder / "libcublas.so.12")]
    assert answer == 12


def test_a_library_that_only_the_loader_has_comes_from_there(site, tmp_path):
    system = tmp_path / "system"
    system.mkdir()
    (site.folder / "nvidia/cublas/lib/libcublasLt.so.12").rename(system / "libcublasLt.so.12")
    loaded = program(site, "print(json.dumps(load(CUBLAS_12)))", system)
    assert loaded == [str(site.folder / "nvidia/cublas/lib/libcublas.so.12")]


def test_a_library_that_is_nowhere_is_an_error_with_the_wheel_that_brings_it(tmp_path):
    site = MadeSite(tmp_path / "site-packages")
    error = program(site, "print(json.dumps(load(CUBLAS_12)))")
    assert error["says"] == (
        "whisper needs libcublasLt.so.12 to run on the GPU, which neither this system nor a wheel "
        "in this environment has; install the wheel that brings it: pip install nvidia-cublas-cu12 "
        "(with uv: uv pip install nvidia-cublas-cu12)."
    )
    assert (error["component"], error["wanted"], error["found"]) == ("whisper", "cuda", None)
    assert error["fixes"] == [
        {
            "what": "install the wheel that brings it",
            "pip": "pip install nvidia-cublas-cu12",
            "uv": "uv pip install nvidia-cublas-cu12",
            "shell": None,
        }
    ]
    assert error["cause"].startswith("libcublasLt.so.12: cannot open shared object file")


def test_the_cudnn_that_goes_with_the_others_is_named(site):
    """Both have one name, and only one of them works beside cuBLAS 12."""
    code = """
errors = load([*CUBLAS_12, "libcudnn.so.9"]), load(["libcudnn.so.9"])
print(json.dumps([error["fixes"][0]["pip"] for error in errors]))
"""
    assert program(site, code) == [
        "pip install nvidia-cudnn-cu12",
        "pip install nvidia-cudnn-cu13",
    ]


def test_a_wheel_whose_name_tells_no_cuda_is_held_to_one(tmp_path):
    site = MadeSite(tmp_path / "site-packages")
    error = program(site, "print(json.dumps(load(CUBLAS_13)))")
    assert error["fixes"][0]["pip"] == 'pip install "nvidia-cublas~=13.0"'
    assert error["fixes"][0]["uv"] == 'uv pip install "nvidia-cublas~=13.0"'


def test_a_library_that_cannot_be_loaded_is_an_error_with_the_loaders_words(site):
    broken = site.write("nvidia/cublas/lib/libcublas.so.12", "no library " * 100)
    error = program(site, "print(json.dumps(load(CUBLAS_12)))")
    assert error["says"] == (
        "whisper needs libcublas.so.12 to run on the GPU, which is there and cannot be loaded "
        f"({broken}: invalid ELF header); install the wheel that brings it anew: pip install "
        "--force-reinstall --no-deps nvidia-cublas-cu12 (with uv: uv pip install "
        "--reinstall-package nvidia-cublas-cu12 nvidia-cublas-cu12)."
    )


def test_a_library_of_the_system_that_cannot_be_loaded_is_one_too(tmp_path):
    site = MadeSite(tmp_path / "site-packages")
    system = tmp_path / "system"
    system.mkdir()
    for name in CUBLAS_12:
        (system / name).write_text("no library " * 100)
    error = program(site, "print(json.dumps(load(CUBLAS_12)))", system)
    assert (
        "libcublasLt.so.12 to run on the GPU, which is there and cannot be loaded" in error["says"]
    )
    assert f"{system}/libcublasLt.so.12: " in error["says"]
    assert error["fixes"][0]["pip"] == "pip install nvidia-cublas-cu12"


@pytest.mark.parametrize("names", [["libfoo.so.1"], ["libcublas.so.13", "libcudnn.so.8"]])
def test_a_name_that_is_not_known_is_a_mistake_of_the_caller(names):
    with pytest.raises(KeyError):
        preload(Installed(), names, component="whisper")


def test_nothing_to_load_is_nothing_loaded():
    assert preload(Installed(), (), component="whisper") == ()


def test_on_windows_the_folder_is_added_and_the_file_loaded(tmp_path, monkeypatch):
    """Played: what the calls do there cannot be seen here."""
    site = MadeSite(tmp_path / "site-packages")
    lt = site.write("nvidia/cublas/bin/cublasLt64_12.dll", "")
    cublas = site.write("nvidia/cublas/bin/cublas64_12.dll", "")
    installed = look_at_packages(site.path, {})
    calls = []
    windll = SimpleNamespace(
        kernel32=SimpleNamespace(GetModuleHandleW=lambda name: int(name == "cudart64_12.dll"))
    )
    monkeypatch.setattr(
        libraries,
        "ctypes",
        SimpleNamespace(windll=windll, CDLL=lambda *name, **how: calls.append((*name, how))),
    )
    monkeypatch.setattr(
        libraries,
        "os",
        SimpleNamespace(add_dll_directory=lambda folder: calls.append(("folder", folder))),
    )
    monkeypatch.setattr(libraries, "sys", SimpleNamespace(platform="win32"))
    names = ("libcudart.so.12", *CUBLAS_12, "libcufft.so.11")
    assert preload(installed, names, component="whisper") == (lt, cublas)
    assert calls == [
        ("folder", str(lt.parent)),
        (str(lt), {}),
        ("folder", str(lt.parent)),
        (str(cublas), {}),
        ("cufft64_11.dll", {"winmode": 0}),
    ]


def test_eight_threads_may_preload_at_once(site):
    code = """
import threading
ready, said = threading.Barrier(8), []

def preload_once():
    ready.wait()
    said.append(load(CUBLAS_12))

threads = [threading.Thread(target=preload_once) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([loads("libcublas.so.12"), said]))
"""
    loaded, said = program(site, code)
    assert loaded is True
    assert all(isinstance(one, list) for one in said)


def test_the_fix_that_is_printed_is_one_that_pip_understands():
    """Asked of pip itself, which looks nothing up."""
    requirements = sorted({requirement_of(name) for name in KNOWN})
    code = (
        "import json, sys\n"
        "from pip._vendor.packaging.requirements import Requirement\n"
        "print(json.dumps([Requirement(one).name for one in json.loads(sys.argv[1])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(requirements)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [one.partition("~")[0] for one in requirements]
