"""Keeping what transformers tells off the terminal while it works for evakit.

Its loggers have a handler of their own, which writes to the terminal, and it shows progress bars,
whose library starts a thread that outlives them. Both are left to the host program's own use of
transformers: only what happens inside of `quiet` is kept, at DEBUG. Imported when a model loads.
What may not live here: anything that loads or generates.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Self

from transformers import modeling_gguf_pytorch_utils as gguf
from transformers.utils import logging as vendor_logging

from evakit.abc import logger

__all__ = ["quiet"]

_log: Final = logger("evakit.transformers")
_is_quiet: Final[ContextVar[bool]] = ContextVar("evakit_transformers_is_quiet", default=False)


@contextmanager
def quiet() -> Generator[None]:
    """Keep off the terminal what transformers tells in this thread inside of the block."""
    theirs = logging.getLogger("transformers")
    # It hands its records on to the program's handlers where CI is set, or the program said so.
    for handler in (*theirs.handlers, *(logging.getLogger().handlers if theirs.propagate else ())):
        handler.addFilter(_divert)  # once, however often it is added
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _divert(record: logging.LogRecord) -> bool:
    """Pass a record on to the handler, unless it is ours to keep.

    The handler may be one that the program uses for other loggers too, for ours even.
    """
    if not _is_quiet.get() or record.name.partition(".")[0] != "transformers":
        return True
    if not hasattr(record, "is_told_by_evakit"):  # to the first of several handlers
        record.is_told_by_evakit = True
        _log.debug("transformers: %s", record.getMessage())
    return False


class _NoBar:
    """Does what is asked of a progress bar, and shows nothing."""

    def __init__(self, iterable: Iterable[Any] = (), *_: object, **__: object) -> None:
        self._iterable = iterable

    def __iter__(self) -> Any:
        return iter(self._iterable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


def _bar(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if _is_quiet.get():
        return _NoBar(*args, **kwargs)
    return factory(*args, **kwargs) if _hook is None else _hook(factory, args, kwargs)


_hook: Final = vendor_logging.set_tqdm_hook(_bar)
"""What the host program had set to make its bars; it still does."""
_gguf_bar: Final = gguf.tqdm


def _bar_of_gguf(*args: Any, **kwargs: Any) -> Any:
    return (_NoBar if _is_quiet.get() else _gguf_bar)(*args, **kwargs)


gguf.tqdm = _bar_of_gguf  # this module knows no hook
