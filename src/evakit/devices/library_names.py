"""CUDA's shared libraries: what they are called on which system, and which wheels bring them.

A library is known here by its name on Linux, `libcublas.so.12`; on Windows the same library is
`cublas64_12.dll`. What may not live here: looking for them, and loading them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

__all__ = [
    "CUBLAS_12",
    "CUBLAS_13",
    "KNOWN",
    "ONNXRUNTIME_12",
    "ONNXRUNTIME_13",
    "cuda_of",
    "file_name",
    "library_of",
    "requirement_of",
    "wheel_of",
]


@frozen
class _Library:
    name: str
    dll: str
    wheels: dict[int, str]
    """By the major number of CUDA: some libraries have one name for several."""


# The names that ONNX Runtime loads them by (`preload_dlls` of its 1.32), and NVIDIA's wheels of
# 2026-11 that hold them. From CUDA 13 on the wheels' names are without it, but for cuDNN's.
_LIBRARIES: Final = (
    _Library("libcublasLt.so.11", "cublasLt64_11.dll", {11: "nvidia-cublas-cu11"}),
    _Library("libcublasLt.so.12", "cublasLt64_12.dll", {12: "nvidia-cublas-cu12"}),
    _Library("libcublasLt.so.13", "cublasLt64_13.dll", {13: "nvidia-cublas"}),
    _Library("libcublas.so.11", "cublas64_11.dll", {11: "nvidia-cublas-cu11"}),
    _Library("libcublas.so.12", "cublas64_12.dll", {12: "nvidia-cublas-cu12"}),
    _Library("libcublas.so.13", "cublas64_13.dll", {13: "nvidia-cublas"}),
    _Library("libcudart.so.11.0", "cudart64_110.dll", {11: "nvidia-cuda-runtime-cu11"}),
    _Library("libcudart.so.12", "cudart64_12.dll", {12: "nvidia-cuda-runtime-cu12"}),
    _Library("libcudart.so.13", "cudart64_13.dll", {13: "nvidia-cuda-runtime"}),
    _Library("libnvrtc.so.12", "nvrtc64_120_0.dll", {12: "nvidia-cuda-nvrtc-cu12"}),
    _Library("libnvrtc.so.13", "nvrtc64_130_0.dll", {13: "nvidia-cuda-nvrtc"}),
    _Library("libcufft.so.10", "cufft64_10.dll", {11: "nvidia-cufft-cu11"}),
    _Library("libcufft.so.11", "cufft64_11.dll", {12: "nvidia-cufft-cu12"}),
    _Library("libcufft.so.12", "cufft64_12.dll", {13: "nvidia-cufft"}),
    _Library(
        "libcurand.so.10",
        "curand64_10.dll",
        {11: "nvidia-curand-cu11", 12: "nvidia-curand-cu12", 13: "nvidia-curand"},
    ),
    _Library(
        "libcudnn.so.8",
        "cudnn64_8.dll",
        {11: "nvidia-cudnn-cu11", 12: "nvidia-cudnn-cu12"},
    ),
    _Library(
        "libcudnn.so.9",
        "cudnn64_9.dll",
        {11: "nvidia-cudnn-cu11", 12: "nvidia-cudnn-cu12", 13: "nvidia-cudnn-cu13"},
    ),
)
_BY_NAME: Final = {library.name: library for library in _LIBRARIES}
_BY_DLL: Final = {library.dll.lower(): library for library in _LIBRARIES}

KNOWN: Final = tuple(_BY_NAME)
"""Every library that is known here."""

# In the order in which they are to be loaded: cuBLAS needs cuBLASLt.
CUBLAS_12: Final = ("libcublasLt.so.12", "libcublas.so.12")
"""All that CTranslate2 needs: it has the CUDA runtime in itself, and does without cuDNN."""
CUBLAS_13: Final = ("libcublasLt.so.13", "libcublas.so.13")
"""cuBLAS for CUDA 13."""
ONNXRUNTIME_12: Final = (
    *CUBLAS_12,
    "libnvrtc.so.12",
    "libcurand.so.10",
    "libcufft.so.11",
    "libcudart.so.12",
    "libcudnn.so.9",
)
"""What ONNX Runtime built for CUDA 12 needs, up to 1.26."""
ONNXRUNTIME_13: Final = (
    *CUBLAS_13,
    "libnvrtc.so.13",
    "libcurand.so.10",
    "libcufft.so.12",
    "libcudart.so.13",
    "libcudnn.so.9",
)
"""What ONNX Runtime built for CUDA 13 needs, from 1.28 on."""


def file_name(name: str, system: str) -> str:
    """Return what the library `name` is called on `system`, a value of `sys.platform`."""
    return _BY_NAME[name].dll if system == "win32" and name in _BY_NAME else name


def library_of(file: str) -> str:
    """Return the name of the library that a file called `file` holds, on any system."""
    known = _BY_DLL.get(file.lower())
    return file if known is None else known.name


def wheel_of(name: str, cuda: int | None = None) -> str:
    """Return the wheel that brings the library `name` for CUDA `cuda`: `nvidia-cublas-cu12`.

    Without `cuda`, which only libraries with one name for several CUDAs depend on, it is the
    newest.

    Raises:
        KeyError: no wheel is known to bring it.

    """
    wheels = _BY_NAME[name].wheels
    return wheels[max(wheels) if cuda is None else cuda]


def requirement_of(name: str, cuda: int | None = None) -> str:
    """Return the requirement that an installer needs for the library `name`.

    `nvidia-cublas-cu12`, and `nvidia-cublas~=13.0`: a wheel without CUDA's number in its name is
    held to the library's own.

    Raises:
        KeyError: no wheel is known to bring it.

    """
    wheel = wheel_of(name, cuda)
    major = name.rpartition(".so.")[2]
    return wheel if wheel.rpartition("-")[2].startswith("cu1") else f"{wheel}~={major}.0"


def cuda_of(names: Iterable[str]) -> int | None:
    """Return the CUDA that a set of libraries is for; None when none of them tells."""
    known = [_BY_NAME[name].wheels for name in names if name in _BY_NAME]
    return max((max(wheels) for wheels in known if len(wheels) == 1), default=None)
