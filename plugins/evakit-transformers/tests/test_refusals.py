"""What torch says of a GPU that cannot be had, and what evakit makes of it."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
import torch

from evakit.abc import LoadContext
from evakit.devices import Device, Remedy
from evakit.errors import (
    ArchUnsupportedError,
    DeviceError,
    DriverError,
    GpuLostError,
    MissingLibraryError,
    NoGpuError,
    VramBudgetError,
    WheelFlavourError,
)
from evakit_transformers import TransformersLLM
from evakit_transformers._refusals import check_build, refusal, refusals

# The words of torch 2.13 and of the CUDA runtime.
SAID = [
    (AssertionError("Torch not compiled with CUDA enabled"), WheelFlavourError, "without CUDA"),
    (
        RuntimeError(
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
            "installed a driver from http://www.nvidia.com/Download/index.aspx"
        ),
        DriverError,
        "there is no NVIDIA driver",
    ),
    (
        RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."),
        DriverError,
        "too old",
    ),
    (
        RuntimeError(
            "Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was "
            "attempted on non supported HW"
        ),
        DriverError,
        "too old",
    ),
    (RuntimeError("No CUDA GPUs are available"), NoGpuError, "sees no such GPU"),
    (
        torch.AcceleratorError("CUDA error: invalid device ordinal\nCUDA kernel errors might ...")
        if hasattr(torch, "AcceleratorError")
        else RuntimeError("CUDA error: invalid device ordinal"),
        NoGpuError,
        "sees no such GPU",
    ),
    (
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        ArchUnsupportedError,
        "this generation",
    ),
    (
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 896.00 MiB. GPU 0 has a total capacity of ..."
        ),
        VramBudgetError,
        "memory that may be used is full",
    ),
    (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        VramBudgetError,
        "memory that may be used is full",
    ),
    (
        RuntimeError(
            "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you "
            "must use the 'spawn' start method"
        ),
        NoGpuError,
        "forked",
    ),
    (
        ImportError("libcudart.so.13: cannot open shared object file: No such file or directory"),
        MissingLibraryError,
        "a library of CUDA",
    ),
    (
        OSError('[WinError 126] The module was not found. Error loading "c10_cuda.dll"'),
        MissingLibraryError,
        "a library of CUDA",
    ),
    (
        RuntimeError(
            "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. "
            "changing env variable CUDA_VISIBLE_DEVICES after program start."
        ),
        DriverError,
        "does not answer",
    ),
    (
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        GpuLostError,
        "failed at its work",
    ),
    (RuntimeError("CUDA error: unspecified launch failure"), GpuLostError, "failed at its work"),
]


@pytest.mark.parametrize(("said", "kind", "why"), SAID, ids=[str(s)[:40] for s, *_ in SAID])
def test_each_thing_that_torch_says_has_its_error(said, kind, why):
    with pytest.raises(DeviceError) as caught, refusals("brain", "cuda:0"):
        raise said
    error = caught.value
    assert type(error) is kind
    assert why in error.why
    assert str(said).partition("\n")[0][:60] in error.why
    assert (error.component, error.wanted, error.__cause__) == ("brain", "cuda:0", said)
    assert re.fullmatch(r"brain cannot run on cuda:0: [^\n]+; [^\n]+", str(error))
    (fix,) = error.fixes
    assert isinstance(fix, Remedy)
    assert fix.what in str(error)


@pytest.mark.parametrize(
    "said", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError("no such file")]
)
def test_what_is_not_about_the_device_stays_what_it_is(said):
    assert refusal(said, component="brain", wanted="cuda:0") is None
    with pytest.raises(type(said)), refusals("brain", "cuda:0"):
        raise said


def test_the_cpu_is_blamed_for_nothing_that_is_said_of_a_gpu():
    with pytest.raises(ImportError), refusals("brain", "cpu"):
        raise ImportError("libcudart.so.13: cannot open shared object file")


# --- a torch without CUDA, found before it is imported


def put_torch(folder, version, cuda):
    """As much of a torch as is looked at without importing it; importing it fails."""
    package = folder / "torch"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this torch was imported')")
    (package / "version.py").write_text(
        f"__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda!r}\n"
        "git_version = 'x'\nhip: Optional[str] = None\n"
    )
    if cuda:
        (package / "lib" / "libtorch_cuda.so").touch()
    return folder


REFUSED = """
import sys
from evakit.abc import LoadContext
from evakit.devices import Device
from evakit.errors import WheelFlavourError
from evakit_transformers import TransformersLLM
llm = TransformersLLM(sys.argv[1])
llm.name = "transformers"
try:
    llm.load_model(LoadContext(device=Device("cuda:0")))
except WheelFlavourError as error:
    print(error)
assert not {"torch", "transformers"} & set(sys.modules)
"""


def test_a_torch_without_cuda_is_refused_before_it_is_imported(tiny, tmp_path):
    folder = put_torch(tmp_path, "2.13.0+cpu", None)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{REFUSED}", tiny],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert time.perf_counter() - started < 20  # 0.4 s on a machine that does nothing else
    assert "transformers cannot run on cuda:0: the PyTorch that is installed was" in done.stdout
    assert "torch/version.py: __version__ = 2.13.0+cpu, cuda = None" in done.stdout
    assert "pip install torch --index-url https://download.pytorch.org/whl/cu130" in done.stdout
    assert "(with uv: uv pip install" in done.stdout


def test_a_torch_with_cuda_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(put_torch(tmp_path, "2.13.0", "13.0"))])
    check_build(component="brain", wanted="cuda:0")


def test_no_torch_at_all_is_not_what_is_refused_here(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    check_build(component="brain", wanted="cuda:0")


ABSENT = """
import sys
from evakit.abc import LoadContext
from evakit.errors import BackendUnavailableError
from evakit_transformers import TransformersLLM
try:
    TransformersLLM(sys.argv[1]).load_model(LoadContext())
except BackendUnavailableError as error:
    print(error)
"""


def test_a_torch_that_cannot_be_imported_is_one_sentence(tiny, tmp_path):
    folder = put_torch(tmp_path, "2.13.0+cpu", None)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{ABSENT}", tiny],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "could not be imported (this torch was imported); install them with: pip" in done.stdout


@pytest.mark.parametrize("name", ["auto", "cuda", "mps", "GPU-1234", "remote"])
def test_only_an_exact_device_is_taken(tiny, name):
    llm = TransformersLLM(str(tiny))
    llm.name = "transformers"
    with pytest.raises(DeviceError, match=rf"asked for on {name}, but runs on 'cpu' and 'cuda:N'"):
        llm.load_model(LoadContext(device=Device(name)))
    assert llm.evidence() == ()


def test_a_gpu_is_tried_before_anything_is_loaded(tiny, monkeypatch):
    from evakit_transformers import _loading

    def refuse(*_, device):
        raise RuntimeError(f"CUDA error: no kernel image is available ({device})")

    monkeypatch.setattr("evakit_transformers._refusals.check_build", lambda **_: None)
    monkeypatch.setattr(_loading.torch, "ones", refuse)
    monkeypatch.setattr(_loading, "_from_files", None)
    llm = TransformersLLM(str(tiny))
    llm.name = "transformers"
    with pytest.raises(ArchUnsupportedError, match="no code for this generation"):
        llm.load_model(LoadContext(device=Device("cuda:1")))
