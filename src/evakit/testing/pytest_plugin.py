"""The pytest plugin `evakit`: fixtures for the test of a program's voice flow.

pytest loads it wherever evakit is installed, so it imports nothing before a fixture is asked for,
and does nothing to tests that ask for none. What may not live here: fakes and clocks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .._sync import Conversation

__all__ = ["evakit_conversation", "evakit_virtual_time"]

pytest.register_assert_rewrite("evakit.testing.conformance")  # its failures show the values


@pytest.fixture
def evakit_virtual_time() -> Iterator[None]:
    """Put each `evakit.Conversation` of the test on a virtual clock; see `virtual_time`."""
    from .clock import virtual_time  # noqa: PLC0415 (paid by tests that want it)

    with virtual_time():
        yield


@pytest.fixture
def evakit_conversation(evakit_virtual_time: None) -> Iterator[Callable[..., Conversation]]:
    """A function that makes a conversation on scripted backends, on a virtual clock.

    `evakit_conversation("Hello?", llm=brain)` hears "Hello?" in whatever audio it is given first.
    Every argument of `evakit.Conversation` may be given; by default the LLM repeats the user, and
    the voice is a tone. All are closed when the test ends.
    """
    del evakit_virtual_time
    from .._sync import Conversation  # noqa: PLC0415 (paid by tests that want it)
    from .fakes import ScriptedLLM, ScriptedSTT, ToneTTS  # noqa: PLC0415 (likewise)

    made: list[Conversation] = []

    def make(*hears: Any, **arguments: Any) -> Conversation:
        fakes = (
            {}
            if "stack" in arguments
            else {
                "stt": ScriptedSTT(*hears),
                "llm": ScriptedLLM(),
                "tts": ToneTTS(),
            }
        )
        made.append(Conversation(**(fakes | arguments)))
        return made[-1]

    yield make
    for conversation in made:
        conversation.close()
