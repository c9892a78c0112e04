"""What ONNX Runtime lets slip on its way to the CPU: warnings, its log, the loader's words.

What may not live here: what they mean (`_refusals.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from evakit.abc import logger

__all__ = ["Said", "captured", "words_of_the_loader"]

_log = logger("evakit.piper")

_WARNING, _ERROR, _FATAL = 2, 3, 4  # ONNX Runtime's severities
_capturing: Final = threading.Lock()  # warnings and ONNX Runtime's log are those of the process


@define
class Said:
    """What Python's warnings and ONNX Runtime's log said."""

    warnings: list[str] = field(factory=list)
    lines: list[tuple[int, str]] = field(factory=list)

    def first(self) -> str | None:
        """Return what tells most: the first error, else the first warning."""
        errors = [line for severity, line in self.lines if severity >= _ERROR]
        mild = [line for severity, line in self.lines if severity < _ERROR]
        return next(iter([*errors, *self.warnings, *mild]), None)


@contextlib.contextmanager
def captured(ort: Any) -> Generator[Said]:
    """Take what would go to the terminal, or be raised where warnings are errors.

    Both are those of the whole process: what others say meanwhile is passed on, or goes to the
    log at DEBUG with ONNX Runtime's own.
    """
    said = Said()

    def hear(severity: int, category: str, logid: str, place: str, message: str) -> None:
        del category, logid
        said.lines.append((severity, message))
        _log.debug("onnxruntime, %s: %s", place, message)

    with _capturing, contextlib.ExitStack() as undo:
        if hasattr(ort, "set_default_logger_callback"):  # from 1.32 on
            ort.set_default_logger_callback(hear, _WARNING)
            undo.callback(ort.set_default_logger_callback, None, _WARNING)
        else:
            ort.set_default_logger_severity(_FATAL)
            undo.callback(ort.set_default_logger_severity, _WARNING)  # its default
        caught = undo.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        try:
            yield said
        finally:
            said.warnings += [str(one.message) for one in caught if _is_about_providers(one)]
    for one in caught:
        if not _is_about_providers(one):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _is_about_providers(warning: warnings.WarningMessage) -> bool:
    return "provider" in str(warning.message) or "plugin EP" in str(warning.message)


def words_of_the_loader(ort: Any) -> str | None:
    """Return why the CUDA provider's library cannot be loaded; None where it is not that.

    Before 1.32 ONNX Runtime says so on standard error alone.
    """
    names = {
        "win32": ("onnxruntime_providers_shared.dll", "onnxruntime_providers_cuda.dll"),
    }.get(sys.platform, ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"))
    shared, cuda = (Path(ort.__file__).parent / "capi" / name for name in names)
    if not cuda.is_file():
        return None
    try:
        if shared.is_file():
            ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(cuda))
    except OSError as error:
        return f"Failed to load library {cuda.name}: {error}"
    return None
