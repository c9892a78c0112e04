"""How a failure reaches the user: as one exception of ours.

What may not live here: the errors themselves, and deciding what a failure means.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

from .errors import BackendError, EvakitError

__all__ = ["errors_of", "single_leaf", "ungrouped"]


def single_leaf(error: BaseException) -> BaseException:
    """Return the only exception in a group, or `error` itself when there are several or none."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextmanager
def ungrouped() -> Generator[None]:
    """Let one failure out of the task groups in the block as itself; several stay a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaf = single_leaf(group)
        if leaf is group:
            raise
        raise leaf from leaf.__cause__


@contextmanager
def errors_of(kind: type[BackendError], backend: str, doing: str) -> Generator[None]:
    """Turn whatever a backend raises that is not ours into one error of its stage.

    A plugin maps the errors that it knows; this is the border that nothing crosses unmapped.
    """
    try:
        yield
    except (EvakitError, StopAsyncIteration, anyio.get_cancelled_exc_class()):
        raise
    except Exception as error:  # noqa: BLE001 (raised again as ours)
        leaf = single_leaf(error)
        if isinstance(leaf, EvakitError):
            raise leaf from leaf.__cause__
        raise kind(
            f"{backend} failed while {doing} ({type(leaf).__name__}: {leaf}); "
            "the exception's cause says where, and another backend can be chosen instead.",
            backend=backend,
        ) from leaf
