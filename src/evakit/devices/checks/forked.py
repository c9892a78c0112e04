"""A worker that was forked from a program that uses the GPU: row 19, which only shows at run time.

CUDA cannot be used in a forked child of a process that has initialised it, and nothing on disk
tells. It is noticed in two ways: CUDA was initialised already as the process was forked, or
an engine fails with one of the texts below. What may not live here: looking at processes.
"""

from __future__ import annotations

import os
import re
from typing import Final

from ...errors import NoGpuError
from ..finding import Finding, Remedy, Severity

__all__ = ["forked_process", "forked_worker"]

# PyTorch's, and CUDA's error 3 as CTranslate2, ONNX Runtime and llama.cpp pass it on, which in a
# child that did not fork means something else: hence the two halves.
_SURE: Final = re.compile(r"Cannot re-initialize CUDA in forked subprocess")
_LIKELY: Final = re.compile(r"(?:CUDA|cuda)\w*\b.*initialization error", re.DOTALL)


def forked_worker(
    failure: str, *, loaded_in: int | None = None, engine: str | None = None
) -> Finding | None:
    """Return the finding when `failure`, an engine's own words, is that of a forked worker.

    `loaded_in` is the number of the process in which CUDA was used first, where that is known: the
    less clear of the two texts counts in another process only. None when it is something else.
    """
    is_child = loaded_in is not None and loaded_in != os.getpid()
    if not _SURE.search(failure) and not (is_child and _LIKELY.search(failure)):
        return None
    said = failure.strip().partition("\n")[0]
    return _finding(said + (f"; loaded in process {loaded_in}" if is_child else ""), engine)


def forked_process() -> Finding:
    """Return the finding for a process that was forked from one that had initialised CUDA."""
    return _finding(f"CUDA was initialised before process {os.getpid()} was forked", None)


def _finding(evidence: str, engine: str | None) -> Finding:
    return Finding(
        code="forked-worker",
        severity=Severity.BLOCKER,
        what="this process was forked from one that uses the GPU, and cannot use it",
        evidence=evidence,
        fix=[
            Remedy(
                what="start workers with multiprocessing.set_start_method('spawn'), or fork before "
                "anything is loaded"
            )
        ],
        engine=engine,
        error=NoGpuError,
    )
