"""Which of CUDA's libraries an engine needs and does not find, or finds twice: rows 4 to 6.

What may not live here: loading them, and what they are called.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final

from ...errors import MissingLibraryError
from ..finding import Finding, Severity
from ..installed import Installed, Wheel
from ..inventory import Gpu
from ..library_names import (
    CUBLAS_12,
    CUBLAS_13,
    ONNXRUNTIME_12,
    ONNXRUNTIME_13,
    requirement_of,
)
from ..machine import Machine
from .wheel_fixes import install, install_cudnn, install_engine

__all__ = ["check_libraries"]

_CUBLAS: Final = {12: CUBLAS_12, 13: CUBLAS_13}
_ONNXRUNTIME: Final = {12: ONNXRUNTIME_12, 13: ONNXRUNTIME_13}
_CUDNN: Final = "libcudnn.so.9"
# ONNX Runtime's provider is not linked to the first two, and not to cuFFT since 1.28.
_OPTIONAL: Final = frozenset({"libnvrtc.so.12", "libnvrtc.so.13", "libcufft.so.12", _CUDNN})
_CUDNN_WHEELS: Final = ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13")


def check_libraries(machine: Machine, wheel: Wheel, gpu: Gpu | None) -> Generator[Finding]:
    """Yield what is wrong with CUDA's libraries for an engine; PyTorch brings all of its own."""
    if wheel.engine == "ctranslate2":
        yield from _ctranslate2(machine, wheel)
    if wheel.engine == "onnxruntime":
        yield from _onnxruntime(machine, wheel, gpu)
    if wheel.engine in {"onnxruntime", "torch"}:
        yield from _shared(machine, gpu)


def _missing(installed: Installed, names: Iterable[str]) -> list[str]:
    return [name for name in names if not installed.has_library(name)]


def _ctranslate2(machine: Machine, wheel: Wheel) -> Generator[Finding]:
    major = 12 if wheel.cuda is None else wheel.cuda[0]
    missing = _missing(machine.installed, _CUBLAS.get(major, ()))
    if missing:
        requirement = requirement_of(missing[0])
        yield Finding(
            code="cublas-missing",
            severity=Severity.BLOCKER,
            what=f"CTranslate2 needs cuBLAS for CUDA {major}, which is not there: loading works, "
            "the first transcription fails",
            evidence=_not_found(missing),
            fix=[install(requirement, what="install it; evakit finds it there by itself")],
            engine="ctranslate2",
            error=MissingLibraryError,
        )


def _onnxruntime(machine: Machine, wheel: Wheel, gpu: Gpu | None) -> Generator[Finding]:
    if wheel.cuda is None or wheel.cuda[0] not in _ONNXRUNTIME:
        return
    major = wheel.cuda[0]
    needed = _ONNXRUNTIME[major]
    missing = _missing(machine.installed, (name for name in needed if name not in _OPTIONAL))
    if missing:
        there = [m for m, names in _CUBLAS.items() if not _missing(machine.installed, names)]
        other = f" and those for CUDA {there[0]} are" if there and major not in there else ""
        yield Finding(
            code="onnxruntime-cuda-mismatch" if other else "onnxruntime-libraries-missing",
            severity=Severity.BLOCKER,
            what=f"ONNX Runtime is built for CUDA {major}, whose libraries are not there{other}: "
            "it goes to the CPU without an error",
            evidence=f"{wheel.evidence}; {_not_found(missing)}",
            fix=install_engine(machine, "onnxruntime", gpu),
            engine="onnxruntime",
            error=MissingLibraryError,
        )
    elif _missing(machine.installed, [_CUDNN]):
        yield Finding(
            code="cudnn-missing",
            severity=Severity.BLOCKER,
            what="ONNX Runtime needs cuDNN 9, which is not there: a session is made, and its "
            "convolutions fail",
            evidence=_not_found([_CUDNN]),
            fix=[install_cudnn(major)],
            engine="onnxruntime",
            error=MissingLibraryError,
        )


def _shared(machine: Machine, gpu: Gpu | None) -> Generator[Finding]:
    """What PyTorch and ONNX Runtime have in common in one process; the same for both."""
    installed = machine.installed
    wheels = [wheel for name in ("torch", "onnxruntime") if (wheel := installed.get(name))]
    majors = {wheel.cuda[0] for wheel in wheels if wheel.cuda and not wheel.is_cpu_only}
    if len(majors) > 1:
        yield Finding(
            code="cuda-sets-mixed",
            severity=Severity.WARNING,
            what="PyTorch and ONNX Runtime are built for different CUDAs, and in one program one "
            "of them gets the other's cuDNN",
            evidence="; ".join(wheel.evidence for wheel in wheels),
            fix=install_engine(machine, "onnxruntime", gpu),
            error=MissingLibraryError,
        )
    owners = [owner for owner in installed.libraries if owner.distribution in _CUDNN_WHEELS]
    if len({owner.distribution for owner in owners}) > 1:
        yield Finding(
            code="cudnn-two-owners",
            severity=Severity.WARNING,
            what="two cuDNNs are installed over each other, and the last one is used",
            evidence=f"{' and '.join(map(str, owners))} have the same files, nvidia/cudnn",
            fix=[install_cudnn(12 if majors == {12} else 13)],
            error=MissingLibraryError,
        )


def _not_found(names: Iterable[str]) -> str:
    return f"neither NVIDIA's wheels nor the loader have {', '.join(names)}"
