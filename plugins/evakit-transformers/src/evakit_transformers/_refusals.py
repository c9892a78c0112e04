"""What torch says of a GPU that cannot be had, as the errors of evakit.

torch raises AssertionError, RuntimeError and its own OutOfMemoryError; what they mean stands in
their words. What may not live here: torch, which need not be importable to say why not.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from attrs import frozen

from evakit.devices import Remedy
from evakit.devices.packages import look_at_packages
from evakit.errors import (
    ArchUnsupportedError,
    DriverError,
    GpuLostError,
    MissingLibraryError,
    NoGpuError,
    PlacementError,
    VramBudgetError,
    WheelFlavourError,
)

__all__ = ["check_build", "refusal", "refusals"]

_CUDA_BUILD: Final = Remedy(
    what="install the build of PyTorch for CUDA 13",
    pip="pip uninstall -y torch torchvision torchaudio && "
    "pip install torch --index-url https://download.pytorch.org/whl/cu130",
    uv="uv pip install --reinstall-package torch torch --torch-backend=cu130",
)
_DOCTOR: Final = Remedy(what="have the machine looked at", shell="evakit doctor")  # noqa: S604 (text)
_SHOWN: Final = 200  # characters of what torch says
_SMALLER: Final = Remedy(
    what="choose a smaller model, set fewer context_tokens, or end what else holds the memory"
)


@frozen
class _Meaning:
    words: str
    """A regular expression for what torch says."""
    error: type[PlacementError]
    why: str
    fix: Remedy


# The texts are those of torch/cuda/__init__.py, torch/csrc/cuda/Module.cpp and, in c10/cuda,
# CUDAException.cpp and CUDACachingAllocator.cpp of torch 2.13, and of the CUDA runtime
# (cudaGetErrorString). The first that fits counts.
_MEANINGS: Final = (
    _Meaning(
        r"not compiled with CUDA|Torch not compiled",
        WheelFlavourError,
        "the PyTorch that is installed was built without CUDA",
        _CUDA_BUILD,
    ),
    _Meaning(
        r"forked subprocess",
        NoGpuError,
        "this process was forked from one that uses the GPU, and cannot use it",
        Remedy(
            what="start workers with multiprocessing.set_start_method('spawn'), or fork before "
            "anything is loaded"
        ),
    ),
    _Meaning(
        r"Found no NVIDIA driver",
        DriverError,
        "there is no NVIDIA driver",
        _DOCTOR,
    ),
    _Meaning(
        r"driver on your system is too old|driver version is insufficient|forward compatibility",
        DriverError,
        "NVIDIA's driver is too old for the PyTorch that is installed",
        _DOCTOR,
    ),
    _Meaning(
        r"no kernel image|CUDA_ERROR_NO_BINARY_FOR_GPU|not compatible with the current PyTorch",
        ArchUnsupportedError,
        "the PyTorch that is installed has no code for this generation of GPUs",
        _CUDA_BUILD,
    ),
    _Meaning(
        r"No CUDA GPUs|no CUDA-capable device|invalid device ordinal|[Ii]nvalid device id",
        NoGpuError,
        "PyTorch sees no such GPU",
        _DOCTOR,
    ),
    _Meaning(
        r"out of memory|CU\w+_STATUS_ALLOC_FAILED",
        VramBudgetError,
        "the GPU's memory that may be used is full",
        _SMALLER,
    ),
    _Meaning(
        r"cannot open shared object file|Error loading \"|[Cc]ould not load library|"
        r"[Uu]nable to load any of|CU\w+_STATUS_NOT_INITIALIZED|undefined symbol",
        MissingLibraryError,
        "a library of CUDA is missing, or of another version than PyTorch needs",
        _CUDA_BUILD,
    ),
    _Meaning(
        r"CUDA driver initialization failed|CUDA unknown error|initialization error",
        DriverError,
        "NVIDIA's driver does not answer",
        _DOCTOR,
    ),
    _Meaning(
        r"CUDA error|CUDA driver error|cuDNN error|CU\w+_STATUS_\w+",
        GpuLostError,
        "the GPU failed at its work, and this process can no longer use it",
        Remedy(what="start the program again"),
    ),
)


def refusal(error: BaseException, *, component: str, wanted: str) -> PlacementError | None:
    """Return the error that a failure of torch's on a GPU is; None when it is none of that."""
    if wanted == "cpu":
        return None
    said = " ".join(f"{type(error).__name__}: {error}".split())
    for meaning in _MEANINGS:
        if re.search(meaning.words, said):
            why = f"{meaning.why} ({said[:_SHOWN].rstrip('.')})"
            return _refused(meaning, why, component, wanted)
    return None


@contextmanager
def refusals(component: str, wanted: str) -> Generator[None]:
    """Raise what torch says of a GPU in the block as evakit's errors.

    Raises:
        PlacementError: torch raised an error that is about the device.

    """
    try:
        yield
    except (AssertionError, ImportError, OSError, RuntimeError) as error:
        refused = refusal(error, component=component, wanted=wanted)
        if refused is None:
            raise
        raise refused from error


def check_build(*, component: str, wanted: str) -> None:
    """See to it that the torch that is installed was not built without CUDA; imports nothing.

    Raises:
        WheelFlavourError: it was.

    """
    wheel = look_at_packages().get("torch")
    if wheel is not None and wheel.is_cpu_only:
        meaning = _MEANINGS[0]
        raise _refused(meaning, f"{meaning.why} ({wheel.evidence})", component, wanted)


def _refused(meaning: _Meaning, why: str, component: str, wanted: str) -> PlacementError:
    end = "" if meaning.fix.command else "."
    return meaning.error(
        f"{component} cannot run on {wanted}: {why}; {meaning.fix}{end}",
        component=component,
        wanted=wanted,
        why=why,
        fixes=[meaning.fix],
    )
