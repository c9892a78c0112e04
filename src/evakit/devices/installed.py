"""Installed: which builds of the engines are installed, read from their files, as data.

A version number tells neither for which device a wheel was built nor which of two wheels with one
import package was written last; its files do. Nothing of them is imported. What may not live
here: deciding what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import field, frozen

from .library_names import library_of

__all__ = ["Installed", "Owner", "Wheel"]


def _all(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@frozen
class Owner:
    """An installed distribution that has files in an engine's import package."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@frozen(kw_only=True)
class Wheel:
    """One engine as it is installed."""

    engine: str
    """`torch`, `onnxruntime`, `ctranslate2` or `llama.cpp`."""
    package: str
    """Its import package: `onnxruntime`, `xllamacpp`."""
    version: str | None
    """As its own files have it: `2.13.0+cpu`."""
    folder: Path | None
    """Where its import package is; None when that has no files of its own any more."""
    cuda: tuple[int, int] | None = None
    """The CUDA that it was built for; (12, 0) where only the major number can be told."""
    is_cpu_only: bool | None = None
    """Whether it was built without CUDA; None when its files do not tell."""
    evidence: str = ""
    """What was looked at and what it said, for people."""
    owners: tuple[Owner, ...] = field(default=(), converter=_all)
    """The distributions that have files in the import package; more than one shadow each other."""


@frozen(kw_only=True)
class Installed:
    """The engines and NVIDIA's libraries of this environment."""

    wheels: tuple[Wheel, ...] = field(default=(), converter=_all)
    libraries: tuple[Owner, ...] = field(default=(), converter=_all)
    """NVIDIA's wheels: `nvidia-cublas-cu12`, `nvidia-cudnn-cu13`."""
    library_files: tuple[Path, ...] = field(default=(), converter=_all)
    """The shared libraries in them that are there, by absolute path."""
    system_libraries: tuple[str, ...] = field(default=(), converter=_all)
    """The CUDA libraries that the loader finds by itself, by their names on Linux."""
    index_settings: tuple[str, ...] = field(default=(), converter=_all)
    """Settings of pip or uv that prefer CPU wheels: `PIP_EXTRA_INDEX_URL=.../whl/cpu`."""

    def get(self, engine: str) -> Wheel | None:
        """Return the engine of that name, or None when it is not installed."""
        return next((wheel for wheel in self.wheels if wheel.engine == engine), None)

    def has_library(self, name: str) -> bool:
        """Say whether the shared library `name`, `libcublas.so.12`, can be had."""
        return name in self.system_libraries or self.find_library(name) is not None

    def find_library(self, name: str) -> Path | None:
        """Return the file of NVIDIA's wheels that is the library `name`; None when none is.

        The name is the one on Linux, also on Windows, where the file is called otherwise.
        """
        return next((f for f in self.library_files if library_of(f.name) == name), None)
