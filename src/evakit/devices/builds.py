"""For which device an engine was built, as its own files have it: one reader an engine.

A build is told by what it says of itself in the file that it came with: a version number does not
tell it, nor does a library that another wheel may have left lying. What may not live here:
importing an engine, finding where it is (`site_packages.py`), and deciding what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from .binaries import SharedLibrary, open_library
from .site_packages import read_start

__all__ = ["Build", "ctranslate2_build", "llama_cpp_build", "onnxruntime_build", "torch_build"]

_LONGEST: Final = 1 << 16
_ASSIGNMENT: Final = re.compile(
    r"""^(\w+)[ \t]*(?::[^=\n]*)?=[ \t]*(?:None|'([^'\n]*)'|"([^"\n]*)")""", re.MULTILINE
)
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?!\d)")
# cuBLAS and the CUDA runtime, also as auditwheel and delvewheel rename what they put into a wheel:
# `libcublas-1a2b3c4d.so.12.4.5.8`, `cublas64_12-1a2b3c4d.dll`.
_CUDA_LIBRARY: Final = re.compile(r"(?:libcu(?:blas|dart)(?:-\w+)?\.so\.|cublas64_)(\d{1,4})")
_CUDA_NEEDED: Final = ("libcuda.so", "libcublas", "libcudart")
_ROCM_NEEDED: Final = ("libamdhip64", "libhipblas", "librocblas")
# What a library that loads cuBLAS by itself names; on Windows, what is linked stands there too.
_NAMED: Final = {"PE": ("cublas64_", "nvcuda.dll"), "ELF": ("libcublas.so.", "libcuda.so.")}
_GPU_CODE: Final = ".nv_fatbin"  # the section where `nvcc` puts it


@frozen(kw_only=True)
class Build:
    """What an engine's files say about its build; see `Wheel` for what the values mean."""

    evidence: str
    version: str | None = None
    cuda: tuple[int, int] | None = None
    is_cpu_only: bool | None = None


def torch_build(folder: Path) -> Build:
    """Read the `version.py` that PyTorch's build writes: `cuda: Optional[str] = '13.0'`."""
    said = _assignments(folder / "version.py")
    version = said.get("__version__")
    if "cuda" not in said:
        return Build(evidence="torch/version.py is not there or names no CUDA", version=version)
    cuda, rocm = said["cuda"], said.get("hip")
    libraries = [folder / "lib" / name for name in ("libtorch_cuda.so", "torch_cuda.dll")]
    library = next((f"torch/lib/{one.name}" for one in libraries if one.exists()), None)
    evidence = [f"torch/version.py: __version__ = {version}, cuda = {cuda}"]
    if rocm:
        evidence.append(f"hip = {rocm}, a build for ROCm")
    evidence.append(
        f"{library or 'torch/lib/libtorch_cuda.so'} is {'' if library else 'not '}there"
    )
    return Build(
        evidence="; ".join(evidence),
        version=version,
        cuda=_version(cuda),
        # Files of two wheels: one without CUDA, and a library that only one with CUDA has.
        is_cpu_only=None if cuda is None and library else cuda is None,
    )


def onnxruntime_build(folder: Path) -> Build:
    """Read the `build_and_package_info.py` that ONNX Runtime's build writes."""
    file = "onnxruntime/capi/build_and_package_info.py"
    said = _assignments(folder.parent / file)
    version, name, cuda = (said.get(key) for key in ("__version__", "package_name", "cuda_version"))
    if name is None:
        return Build(evidence=f"{file} is not there or names no package", version=version)
    built = f"cuda_version = {cuda}" if cuda else "no cuda_version"
    return Build(
        evidence=f"{file}: package_name = {name}, {built}",
        version=version,
        cuda=_version(cuda),
        # A wheel that is called `-gpu` and says nothing of CUDA has its CUDA from elsewhere.
        is_cpu_only=None if not cuda and name.endswith("-gpu") else not cuda,
    )


def ctranslate2_build(folder: Path) -> Build:
    """Look into CTranslate2's library: it loads cuBLAS by name, and so has the name in itself."""
    libraries = (
        *folder.parent.glob("ctranslate2.libs/libctranslate2*.so*"),
        *folder.glob("ctranslate2.dll"),
        *folder.glob(".dylibs/libctranslate2*.dylib"),
    )
    version = _assignments(folder / "version.py").get("__version__")
    return evolve(_by_library(libraries, folder.parent), version=version)


def llama_cpp_build(folder: Path) -> Build:
    """Look into xllamacpp's one library, which has llama.cpp in itself and is linked to CUDA."""
    libraries = (*folder.glob("xllamacpp*.so"), *folder.glob("xllamacpp*.pyd"))
    text = read_start(folder / "_version.py", _LONGEST) or b""
    match = re.search(rb'"version": "([^"\n]*)"', text)
    version = match[1].decode(errors="replace") if match else None
    return evolve(_by_library(libraries, folder.parent), version=version)


def _by_library(libraries: Iterable[Path], site: Path) -> Build:
    path = min(libraries, default=None)
    if path is None:
        return Build(evidence="its shared library is not where its wheels have it")
    where = path.relative_to(site).as_posix()
    try:
        with open_library(path) as library:
            build = _of_library(library)
    except OSError as error:
        return Build(evidence=f"{where} cannot be read: {error.strerror or error}")
    except ValueError as error:
        return Build(evidence=f"{where}: {error}")
    return evolve(build, evidence=f"{where}: {build.evidence}")


def _of_library(library: SharedLibrary) -> Build:
    if library.form == "Mach-O":
        return Build(evidence="a library for macOS, which has no CUDA", is_cpu_only=True)
    needed = library.needed or ()
    linked = [name for name in needed if name.startswith(_CUDA_NEEDED)]
    named = [text for start in _NAMED[library.form] if (text := library.text(start))]
    if linked or named or _GPU_CODE in library.sections:
        says = [f"linked to {name}" for name in linked] + [f"names {name}" for name in named]
        if _GPU_CODE in library.sections:
            says.append("has code for GPUs")
        majors = (_CUDA_LIBRARY.match(name) for name in (*linked, *named))
        major = next((int(match[1]) for match in majors if match), None)
        return Build(
            evidence=", ".join(says),
            cuda=None if major is None else (major, 0),
            is_cpu_only=False,
        )
    for name in needed:
        if name.startswith(_ROCM_NEEDED):
            return Build(evidence=f"linked to {name}, a build for ROCm", is_cpu_only=True)
    return Build(evidence="neither linked to CUDA nor naming cuBLAS", is_cpu_only=True)


def _assignments(path: Path) -> dict[str, str | None]:
    """Return the names that a module sets to a text or to None; none when it cannot be read."""
    text = (read_start(path, _LONGEST) or b"").decode(errors="replace")
    return {
        match[1]: match[2] if match[2] is not None else match[3]
        for match in _ASSIGNMENT.finditer(text)
    }


def _version(text: str | None) -> tuple[int, int] | None:
    match = _VERSION.match(text or "")
    return (int(match[1]), int(match[2])) if match else None
