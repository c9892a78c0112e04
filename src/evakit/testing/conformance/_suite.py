"""Suite: what every conformance suite has: a backend, loaded or not, and flaws that are known.

What may not live here: promises.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from ...abc import LoadContext
from ...errors import ConfigurationError
from ._promises import touched

__all__ = ["Suite"]


class Suite(ABC):
    """The fixtures of a suite. It wants one named `backend`: the backend, not loaded.

    The docstring of a test is the promise, which is what a failure says.
    """

    pytestmark: ClassVar[list[Any]] = [pytest.mark.anyio]
    xfail: ClassVar[Mapping[str, str]] = {}
    """Tests that are known to fail, and why. One that passes after all fails until it is taken
    off."""

    def __init_subclass__(cls) -> None:
        for name in cls.xfail:
            if not hasattr(cls, name):
                raise ConfigurationError(f"xfail names {name!r}, which is no test; correct it.")

    @pytest.fixture(autouse=True)
    def _expected(self, request: pytest.FixtureRequest) -> None:
        reason = self.xfail.get(request.function.__name__)
        if reason is not None:
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def touched_as_made(self) -> Iterator[list[str]]:
        """What the backend touches as it is made; to be asked for before it."""
        with touched("__init__") as seen:
            yield seen

    @pytest.fixture
    def load_context(self) -> LoadContext:
        """What the backend is loaded with."""
        return LoadContext()

    @pytest.fixture
    async def loaded(self, backend: Any, load_context: LoadContext) -> AsyncIterator[Any]:
        """The backend, ready for work."""
        backend.name = backend.name or type(backend).__name__
        await self.start(backend, load_context)
        yield backend
        await backend.unload()

    async def start(self, backend: Any, context: LoadContext) -> None:
        """Make the backend ready for work."""
        await backend.load(context)
