"""Which builds are installed in this environment: engines, NVIDIA's wheels, and what prefers CPU.

Nothing is imported or started, and nothing is kept. What may not live here: how any of it is read
(`site_packages.py`, `builds.py`, `loader.py`, `index_settings.py`), and deciding what is wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .builds import (
    Build,
    ctranslate2_build,
    llama_cpp_build,
    onnxruntime_build,
    torch_build,
)
from .index_settings import cpu_settings
from .installed import Installed, Owner, Wheel
from .loader import found_by_loader
from .site_packages import Package, Site, find_package, look_at_sites

__all__ = ["look_at_packages"]

# Where NVIDIA's wheels have their libraries: up to CUDA 12 a folder each, then one for all; and
# on Windows, from CUDA 13 on, by processor.
_NVIDIA: Final = ("nvidia/*/lib/lib*.so*", "nvidia/*/bin/*.dll", "nvidia/*/bin/*/*.dll")


def look_at_packages(
    path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
) -> Installed:
    """Return what is installed in the folders of `path`, by default those of `sys.path`.

    `environ` is the environment that pip, uv and the loader are judged by; None means that of this
    process, for the loader as it was when the process started.
    """
    sites = look_at_sites(sys.path if path is None else path)
    return Installed(
        wheels=_wheels(sites),
        libraries=[
            Owner(one.name, one.version)
            for site in sites
            for one in site.distributions
            if one.name.startswith("nvidia-")
        ],
        library_files=_library_files(sites),
        system_libraries=found_by_loader(environ),
        index_settings=cpu_settings(os.environ if environ is None else environ),
    )


def _wheels(sites: Sequence[Site]) -> Generator[Wheel]:
    engines: tuple[tuple[str, Package | None, Callable[[Path], Build]], ...] = (
        ("torch", find_package(sites, "torch"), torch_build),
        (
            "onnxruntime",
            # Its nightly builds are called `ort-nightly`; its plugins have no files there.
            find_package(sites, "onnxruntime", core="onnxruntime/capi", prefixes=("ort-",)),
            onnxruntime_build,
        ),
        ("ctranslate2", find_package(sites, "ctranslate2"), ctranslate2_build),
        ("llama.cpp", find_package(sites, "xllamacpp"), llama_cpp_build),
    )
    for engine, package, read in engines:
        if package is not None:
            build = _nothing_left(package) if package.folder is None else read(package.folder)
            yield Wheel(
                engine=engine,
                package=package.name,
                version=build.version,
                folder=package.folder,
                cuda=build.cuda,
                is_cpu_only=build.is_cpu_only,
                evidence=build.evidence,
                owners=[Owner(one.name, one.version) for one in package.owners],
            )


def _nothing_left(package: Package) -> Build:
    owners = ", ".join(f"{one.name} {one.version}" for one in package.owners)
    counts = f"{owners} counts as installed" if owners else "no distribution owns what is left"
    return Build(evidence=f"{package.name}/__init__.py is not there, while {counts}")


def _library_files(sites: Sequence[Site]) -> Generator[Path]:
    for site in sites:
        if "nvidia" in site.entries:
            for pattern in _NVIDIA:
                yield from (file for file in sorted(site.folder.glob(pattern)) if file.is_file())
