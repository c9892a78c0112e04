"""What ONNX Runtime says when a GPU cannot be had, and the error and cure that it means.

Pure. What may not live here: sessions, and errors that are no matter of a device.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from evakit.devices import Device, Remedy
from evakit.devices.library_names import wheel_of
from evakit.errors import (
    ArchUnsupportedError,
    DriverError,
    GpuLostError,
    MissingLibraryError,
    NoGpuError,
    PlacementError,
    SilentFallbackError,
    VramBudgetError,
)

__all__ = ["fell_back", "lacks_library", "refusal"]

_SHOWN: Final = 300  # characters of what ONNX Runtime says
_NEWEST: Final = 13  # the CUDA that its wheels on the package index are built for
# 1.27.0 asks for a package that does not exist; those before are the last for CUDA 12.
_REQUIREMENTS: Final = {
    12: '"onnxruntime-gpu[cuda,cudnn]>=1.24,<1.27"',
    13: '"onnxruntime-gpu[cuda,cudnn]>=1.28,<2"',
}
_DOCTOR: Final = Remedy(what="have the machine looked at", shell="evakit doctor")  # noqa: S604 (text)
_UPDATE_DRIVER: Final = Remedy(
    what="install NVIDIA's driver 580 or newer (525 or newer for ONNX Runtime up to 1.26)"
)
_MAKE_ROOM: Final = Remedy(
    what="end what else holds the GPU's memory, allow more of it, or use a voice of lower quality"
)
_START_AGAIN: Final = Remedy(
    what="start the program again, and the machine where that does not help"
)


@frozen
class _Meaning:
    pattern: str
    error: type[PlacementError]
    fix: Remedy | None = None
    """None stands for the libraries of ONNX Runtime's CUDA."""


# The first that is found in the text holds. The texts are those of ONNX Runtime 1.9 to 1.32
# (cuda_call.cc, cudnn_loader.cc, provider_bridge_ort.cc, bfc_arena.cc) and of the loaders; the
# numbers are CUDA's (driver_types.h).
_MEANINGS: Final = (
    # From 1.28 on a session without cuDNN is made, and fails at the first convolution.
    _Meaning(
        r"cuDNN is not available|NOT_IMPLEMENTED.*\bConv|libcudnn|cudnn\w*\.dll",
        MissingLibraryError,
    ),
    # The driver's own library, which the provider is linked to.
    _Meaning(r"libcuda\.so|nvcuda\.dll", DriverError, _UPDATE_DRIVER),
    _Meaning(
        r"cannot open shared object file|which is missing|Failed to load library",
        MissingLibraryError,
    ),
    _Meaning(
        r"Failed to allocate memory for requested buffer|CUDA failure 2:|out of memory"
        r"|STATUS_ALLOC_FAILED",
        VramBudgetError,
        _MAKE_ROOM,
    ),
    _Meaning(
        r"CUDA failure (35|803|804):|driver version is insufficient",
        DriverError,
        _UPDATE_DRIVER,
    ),
    _Meaning(
        r"no kernel image|NoKernelImage|CUDA failure (209|222):",
        ArchUnsupportedError,
        _DOCTOR,
    ),
    _Meaning(
        r"CUDA failure (100|101):|no CUDA-capable device|invalid device ordinal",
        NoGpuError,
        _DOCTOR,
    ),
    _Meaning(
        r"CUDA failure (46|214|700|719|999):|illegal memory access|launch failure|GPU is lost",
        GpuLostError,
        _START_AGAIN,
    ),
    _Meaning(r"(CUDA|CUDNN|CUBLAS|CUFFT|CURAND)(_STATUS| failure| error)", PlacementError, _DOCTOR),
)


def refusal(
    said: str, *, component: str, device: Device, cuda: int | None
) -> PlacementError | None:
    """Return the error that a failure of ONNX Runtime on a GPU is; None when it is no matter of it.

    `cuda` is the major number of the CUDA that ONNX Runtime was built for, where that is known.
    """
    for meaning in _MEANINGS:
        if re.search(meaning.pattern, said, re.DOTALL):
            fix = meaning.fix or _install_libraries(cuda)
            why = f"ONNX Runtime failed: {_short(said)}"
            return meaning.error(
                _sentence(f"{component} cannot run on {device}: {why}", fix),
                component=component,
                wanted=device.name,
                why=why,
                fixes=[fix],
            )
    return None


def fell_back(
    said: str | None, *, component: str, device: Device, providers: str, cuda: int | None
) -> PlacementError:
    """Return the error for a session that was asked for on a GPU and made without one.

    `said` is what ONNX Runtime let slip about it, `providers` what the session has instead.
    """
    known = refusal(said, component=component, device=device, cuda=cuda) if said else None
    error: type[PlacementError] = SilentFallbackError
    fixes = [_leave_one_runtime(cuda), _KEEP_IT]
    if isinstance(known, DriverError):
        error, fixes = DriverError, [_UPDATE_DRIVER]
    elif isinstance(known, MissingLibraryError):
        error, fixes = MissingLibraryError, [_install_libraries(cuda)]
    why = f"ONNX Runtime made a session for {providers} without an error"
    if said:
        why += f" ({_short(said)})"
    return error(
        _sentence(f"{component} was asked for on {device}, and {why}", fixes[0]),
        component=component,
        wanted=device.name,
        found="cpu",
        why=why,
        fixes=fixes,
    )


def lacks_library(
    error: MissingLibraryError, *, component: str, device: Device, cuda: int
) -> MissingLibraryError:
    """Return the error for a library that could not be loaded, with a cure for all of them."""
    why, fix = str(error).partition(";")[0], _install_libraries(cuda)
    return MissingLibraryError(
        _sentence(why, fix), component=component, wanted=device.name, why=why, fixes=[fix]
    )


# Both wheels own the import package `onnxruntime`, and piper-tts asks for the one without CUDA.
_KEEP_IT: Final = Remedy(
    what="keep it so: piper-tts brings the build for the CPU back. In a uv project add to "
    "pyproject.toml, under [tool.uv], override-dependencies = "
    "[\"onnxruntime ; sys_platform == 'never'\"]; with pip, repeat the command after each "
    "installation"
)


def _leave_one_runtime(cuda: int | None) -> Remedy:
    requirement = _REQUIREMENTS.get(cuda or _NEWEST, _REQUIREMENTS[_NEWEST])
    return Remedy(
        what="leave only the ONNX Runtime that was built with CUDA",
        pip=f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install {requirement}",
        uv=f"uv pip uninstall onnxruntime onnxruntime-gpu && uv pip install {requirement}",
    )


def _install_libraries(cuda: int | None) -> Remedy:
    number = cuda if cuda in _REQUIREMENTS else _NEWEST
    requirement = _REQUIREMENTS[number]
    return Remedy(
        what=f"install cuDNN and the other libraries of CUDA {number} "
        f"({wheel_of('libcudnn.so.9', number)} among them)",
        pip=f"pip install {requirement}",
        uv=f"uv pip install {requirement}",
    )


def _short(said: str) -> str:
    """Return one line without the host's name and the path in ONNX Runtime's sources."""
    line = " ".join(said.partition(" ; GPU=")[0].split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _sentence(problem: str, fix: Remedy) -> str:
    return f"{problem}; {fix}" + ("." if fix.command is None else "")
