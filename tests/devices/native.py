"""Shared libraries made in a test: compiled once a session, and loaded by a program of its own.

For a test of anything that looks at GPUs, two fixtures:

`fake_nvml(scenario)` returns a folder with a `libnvidia-ml.so.1` that plays a machine for the real
nvidia-ml-py. It has to be on `LD_LIBRARY_PATH` when a program starts, so the program is another:
`run(code, folder)` runs Python code there and returns what it prints as JSON; `environment(folder)`
is the environment for a command of any other kind. The scenarios:

    4090        an RTX 4090 with 49140 MiB, 1 MiB of it in use, 0 %, driver 580.95.05, CUDA 13.0
    busy        the same card with three processes of others, one of which draws as well
    two         the 4090 and, second on the PCI bus, an RTX 3060
    lost        both, and the first answers nothing but its UUID: "GPU is lost"
    gone        both, and the first has no handle any more
    forbidden   both, and a container that was given the second only
    mig         an A100 of two GPU instances, the second of which has two compute instances
    undivided   the A100 with MIG switched off
    integrated  a GB10, which has no memory of its own: "Not Supported"
    no_memory   the GB10 with a driver that says 0 bytes instead
    wsl         the 4090 inside of Windows: processes without sizes
    exclusive, prohibited        the 4090 in these compute modes
    garbled     the 4090 with a name that is not UTF-8
    no_libcuda  the 4090, and the driver's CUDA library is missing
    old_driver  a GTX 1080 with driver 470, whose NVML lacks newer functions
    no_driver, mismatch, unknown   NVML's errors 9, 18 and 999

Variables change it, also while a program runs: FAKE_NVML is another scenario, FAKE_NVML_USED how
many MiB are in use on the first GPU, and FAKE_NVML_FAIL="nvmlDeviceGetName=4,..." which functions
fail, and with which of NVML's errors.

`fake_cuda()` returns a folder with a `libcuda.so.1`; FAKE_CUDA_DEVICES lists its devices by UUID,
`fake_cuda.c` has the rest. Nothing of evakit loads it: the program under test plays the engine that
does, with `ctypes.CDLL("libcuda.so.1")`.

`compile_library(folder, name, source)` makes any other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RTX_4090 = "GPU-4090aaaa-1111-2222-3333-444455556666"
RTX_3060 = "GPU-3060bbbb-1111-2222-3333-444455556666"


@cache
def compiler() -> tuple[str, ...]:
    """The command of a C compiler; a test that needs one fails where there is none."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return (found,)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc")
    return pytest.fail("There is no C compiler; install gcc or clang, or `pip install ziglang`.")


def compile_library(folder: Path, name: str, source: str | Path, *options: str) -> Path:
    """Compile C, a file or its text, into the shared library `name` in `folder`."""
    if isinstance(source, str):
        text, source = source, folder / f"{name}.c"
        source.write_text(text)
    library = folder / name
    command = [*compiler(), "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", library]
    done = subprocess.run([*command, *options, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """The environment of this process, with the libraries in `folders` found first."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    paths = [*map(str, folders), *filter(None, [mine.get("LD_LIBRARY_PATH")])]
    return {**mine, "LD_LIBRARY_PATH": os.pathsep.join(paths), **variables}


def run(code: str, *folders: Path, **variables: str) -> Any:
    """Run Python code where those libraries are found; returns what it prints, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(*folders, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a folder with an NVML that plays `scenario`."""

    @cache
    def make(scenario: str = "4090") -> Path:
        folder = tmp_path_factory.mktemp("nvml")
        options = [f'-DSCENARIO="{scenario}"']
        options += ["-DOLD_DRIVER"] * (scenario == "old_driver")
        compile_library(folder, "libnvidia-ml.so.1", HERE / "fake_nvml.c", *options)
        return folder

    return make


@pytest.fixture(scope="session")
def fake_cuda(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a folder with a CUDA driver; the options of the compiler change it."""

    @cache
    def make(*options: str) -> Path:
        folder = tmp_path_factory.mktemp("cuda")
        compile_library(folder, "libcuda.so.1", HERE / "fake_cuda.c", *options)
        return folder

    return make
