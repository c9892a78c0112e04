"""What CTranslate2 says when a GPU cannot be had, and the error and cure that it means.

Pure. What may not live here: errors that are no matter of a device.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from evakit.devices import Device, Remedy
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

__all__ = ["refusal"]

_SHOWN: Final = 300  # characters of what CTranslate2 says
_DOCTOR: Final = Remedy(what="have the machine looked at", shell="evakit doctor")  # noqa: S604 (text)


@frozen
class _Meaning:
    pattern: str
    error: type[PlacementError]
    fix: Remedy


# The first that is found in the text holds. The texts are those of CTranslate2 4.8 (devices.cc,
# cuda/utils.cc, cublas_stub.cc) behind "CUDA failed with error" and "cuBLAS failed with status".
_MEANINGS: Final = (
    _Meaning(
        "not compiled with CUDA support",
        WheelFlavourError,
        Remedy(
            what="install CTranslate2's wheel for x86-64, or build it with CUDA: its wheels for "
            "other machines have none",
            pip="pip install --force-reinstall --no-deps --no-cache-dir ctranslate2",
            uv="uv pip install --reinstall-package ctranslate2 --no-cache ctranslate2",
        ),
    ),
    # Also where there is no driver at all.
    _Meaning(
        "driver version is insufficient|unsupported display driver|forward compatibility",
        DriverError,
        Remedy(what="install NVIDIA's driver 525 or newer"),
    ),
    _Meaning(
        r"lib\w+\.so[.\d]* is not found|cublas\w*\.dll is not found|cannot be loaded",
        MissingLibraryError,
        Remedy(
            what="install cuBLAS for CUDA 12, all that CTranslate2 needs beside the driver",
            pip='pip install "nvidia-cublas-cu12>=12.4,<13"',
            uv='uv pip install "nvidia-cublas-cu12>=12.4,<13"',
        ),
    ),
    _Meaning(
        "out of memory|ALLOC_FAILED",
        VramBudgetError,
        Remedy(
            what="end what else holds the GPU's memory, or use a smaller model or "
            "compute_type='int8_float16'"
        ),
    ),
    _Meaning(
        "no kernel image|ARCH_MISMATCH|unsupported toolchain",
        ArchUnsupportedError,
        Remedy(
            what="update CTranslate2, which has code for newer GPUs only in newer releases",
            pip="pip install --upgrade ctranslate2",
            uv="uv pip install --upgrade ctranslate2",
        ),
    ),
    # What 8-bit matrices give on GPUs that CTranslate2 does not know yet.
    _Meaning(
        "STATUS_NOT_SUPPORTED",
        ArchUnsupportedError,
        Remedy(what="use compute_type='float16'"),
    ),
    _Meaning("invalid device ordinal|device index|no CUDA-capable device", NoGpuError, _DOCTOR),
    _Meaning(
        "illegal memory access|launch failure|GPU is lost|unknown error",
        GpuLostError,
        Remedy(what="start the program again, and the machine where that does not help"),
    ),
    _Meaning("CUDA failed|cuBLAS failed|libcu", PlacementError, _DOCTOR),
)


def refusal(error: Exception, *, component: str, device: Device) -> PlacementError | None:
    """Return the error that a failure of CTranslate2 on a GPU is; None when it is none of that."""
    if not device.is_gpu:
        return None
    said = " ".join(str(error).split())[:_SHOWN]
    for meaning in _MEANINGS:
        if re.search(meaning.pattern, said):
            why = f"CTranslate2 failed: {said}"
            end = "." if meaning.fix.command is None else ""
            return meaning.error(
                f"{component} cannot run on {device}: {why}; {meaning.fix}{end}",
                component=component,
                wanted=device.name,
                why=why,
                fixes=[meaning.fix],
            )
    return None
