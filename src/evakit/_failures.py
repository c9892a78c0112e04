"""How a failure reaches the user: as one exception of ours.

What may not live here: the errors themselves, and deciding what a failure means.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import anyio

from .errors import BackendError, EvakitError

__all__ = ["errors_of", "one_error", "ungrouped"]


def one_error(error: BaseException) -> BaseException:
    """Return what to raise for `error`, which may be a group.

    The only leaf of a group as itself; of several errors that are all ours, the first, with the
    others as notes; any other group as it is.
    """
    leaves = list(_leaves(error))
    first = leaves[0]
    if len(leaves) == 1:
        return first
    if not all(isinstance(leaf, EvakitError) for leaf in leaves):
        return error
    for other in leaves[1:]:
        if str(other) != str(first):
            first.add_note(f"At the same time: {other}")
    return first


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@contextmanager
def ungrouped() -> Generator[None]:
    """Let failures out of the task groups in the block as one error where that can be."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = one_error(group)
        if error is group:
            raise
        raise error from error.__cause__


@contextmanager
def errors_of(kind: type[BackendError], backend: str, doing: str) -> Generator[None]:
    """Turn whatever a backend raises that is not ours into one error of its stage.

    A plugin maps the errors that it knows; this is the border that nothing crosses unmapped.
    """
    try:
        yield
    except (EvakitError, StopAsyncIteration, anyio.get_cancelled_exc_class()):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (raised again as ours)
        # An engine that calls sys.exit() ends its own work, not the program's.
        leaf = one_error(error)
        if isinstance(leaf, EvakitError):
            raise leaf from leaf.__cause__
        raise kind(
            f"{backend} failed while {doing} ({type(leaf).__name__}: {leaf}); "
            "the exception's cause says where, and another backend can be chosen instead.",
            backend=backend,
        ) from leaf
