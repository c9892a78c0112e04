"""Blocking LLMs: leaving a reply stops the engine, whatever the event loop is."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from evakit._threads import Lane
from evakit.abc import BlockingLLM, CallbackLLM, LLMRequest
from evakit.chat import Message

REQUEST = LLMRequest(messages=[Message("user", "Count.")])


class Counting(BlockingLLM):
    """Counts for ever, and notes how it ended."""

    def __init__(self):
        self.name = "counting"
        self._lane = Lane("cpu")
        self.ended = []

    def tokens(self, request):
        number = 0
        try:
            while True:
                yield str(number)
                number += 1
        except BaseException as error:
            self.ended.append(type(error))
            raise


class Calling(CallbackLLM):
    """Calls back for ever, until it is told to stop."""

    def __init__(self):
        self.name = "calling"
        self._lane = Lane("cpu")
        self.ended = []

    def generate(self, request, emit):
        while not emit("token"):
            threading.Event().wait(0.0001)
        self.ended.append(StopIteration)


@pytest.mark.parametrize(("kind", "ending"), [(Counting, GeneratorExit), (Calling, StopIteration)])
@pytest.mark.parametrize("wanted", [0, 1, 3])
async def test_leaving_a_reply_stops_the_engine(anyio_backend, kind, ending, wanted):
    llm = kind()
    with anyio.fail_after(5):
        async with llm.reply(REQUEST) as stream:
            for _ in range(wanted):
                await anext(stream)
    assert llm.ended in ([ending], []) if wanted == 0 else llm.ended == [ending]
    assert not llm._lane._held


@pytest.mark.parametrize(("kind", "ending"), [(Counting, GeneratorExit), (Calling, StopIteration)])
async def test_cancelling_a_reply_stops_the_engine(anyio_backend, kind, ending):
    llm, got = kind(), []

    async def consume():
        async with llm.reply(REQUEST) as stream:
            async for piece in stream:
                got.append(piece)
                await anyio.lowlevel.checkpoint()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            while len(got) < 3:  # noqa: ASYNC110 (what is waited for happens in another task)
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
    assert llm.ended == [ending]
    assert not llm._lane._held


async def test_an_error_of_the_engine_reaches_whoever_iterates(anyio_backend):
    class Failing(Counting):
        def tokens(self, request):
            yield "one"
            raise ZeroDivisionError

    llm, got = Failing(), []
    async with llm.reply(REQUEST) as stream:
        with pytest.raises(ZeroDivisionError):
            async for piece in stream:
                got.append(piece)  # noqa: PERF401 (what came before the error counts)
    assert got == ["one"]
    assert not llm._lane._held
