"""What makes a conformance test say which promise was broken, and what tests listen to.

What may not live here: promises of a kind.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import numpy as np
import pytest

from ...abc import Backend
from ...audio import Audio
from ...transcript import Segment, Word

__all__ = ["in_order", "noise", "promised", "silence", "touched"]


def promised(test: Callable[..., Any]) -> Callable[..., Any]:
    """Make a test that fails, however it fails, say its docstring: the promise that is broken."""
    sentence = inspect.cleandoc(test.__doc__ or test.__name__)

    @contextmanager
    def named() -> Generator[None]:
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            detail = " ".join(str(error).split()) or type(error).__name__
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            raise AssertionError(f"{sentence} ({kind}{detail})") from error

    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def kept(*args: Any, **kwargs: Any) -> None:
            with named():
                await test(*args, **kwargs)
    else:

        @functools.wraps(test)
        def kept(*args: Any, **kwargs: Any) -> None:
            with named():
                test(*args, **kwargs)

    return kept


def noise(seconds: float, sample_rate: int) -> Audio:
    """Return noise that swells as speech does, the same each time."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, len(time))
    return Audio(samples * np.sin(4 * math.pi * time) ** 2, sample_rate)


def silence(sample_rate: int, seconds: float = 1.0) -> Audio:
    """Return samples that are all zero."""
    return Audio(np.zeros(int(seconds * sample_rate)), sample_rate)


def in_order(parts: tuple[Word, ...] | tuple[Segment, ...]) -> bool:
    """Say whether each part begins where the one before ends, or later."""
    borders = [border for part in parts for border in (part.start, part.end)]
    return borders == sorted(borders)


# The audit events of a file, a connection or a program.
_TOUCHES: Final = ("open", "socket.", "subprocess.", "os.listdir", "os.scandir", "os.posix_spawn")
_listeners: Final[list[Callable[[str, str], None]]] = []


@contextmanager
def touched(*functions: str) -> Generator[list[str]]:
    """List the files and sockets that a backend's own `functions` touch, and what they import."""
    seen: list[str] = []

    def listen(event: str, what: str) -> None:
        backend = _at_work(sys._getframe(2), functions)
        if backend is None:
            return
        own = {type(backend).__module__.partition(".")[0], "evakit"}
        if event != "import" or what.partition(".")[0] not in own | sys.stdlib_module_names:
            seen.append(f"{event} {what}")

    _install()
    _listeners.append(listen)
    try:
        yield seen
    finally:
        _listeners.remove(listen)


def _at_work(frame: FrameType | None, functions: tuple[str, ...]) -> Backend | None:
    """Return the backend that is in one of `functions`, unless what runs is an import."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib"):
            return None  # what it opens is the imported module, which has an event of its own
        who = frame.f_locals.get("self") if code.co_name in functions else None
        if isinstance(who, Backend):
            return who
        frame = frame.f_back
    return None


@functools.cache
def _install() -> None:
    """Listen to the interpreter's audit events: once, as nothing takes a hook off again."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _listeners and (event == "import" or event.startswith(_TOUCHES)):
            for listen in tuple(_listeners):
                listen(event, str(args[0]))

    sys.addaudithook(hook)
