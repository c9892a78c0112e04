"""Blocking LLMs: leaving a reply stops the engine, whatever the event loop is."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from evakit import _threads
from evakit._threads import Lane
from evakit.abc import BlockingLLM, CallbackLLM, LLMRequest
from evakit.chat import Message
from evakit.errors import GenerationError

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


async def test_an_error_keeps_its_cause(anyio_backend):
    class Failing(Counting):
        def tokens(self, request):
            yield "one"
            raise GenerationError("It broke.", backend="counting") from ZeroDivisionError()

    async with Failing().reply(REQUEST) as stream:
        await anext(stream)
        with pytest.raises(GenerationError) as caught:
            await anext(stream)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Stateful(BlockingLLM):
    """Has one state, which a second call in the middle of a reply would overwrite."""

    def __init__(self):
        self.name = "stateful"
        self._lane = Lane("cpu")
        self.asked = ""

    def tokens(self, request):
        self.asked = request.text
        for number in range(6):
            yield f"{self.asked}{number} "


async def test_two_replies_of_one_engine_are_not_mixed(anyio_backend):
    llm, replies = Stateful(), {}

    async def ask(text):
        request = LLMRequest(messages=[Message("user", text)])
        async with llm.reply(request) as stream:
            replies[text] = "".join([piece async for piece in stream])

    async with anyio.create_task_group() as tasks:
        for text in "abcd":
            tasks.start_soon(ask, text)
    expected = {text: "".join(f"{text}{number} " for number in range(6)) for text in "abcd"}
    assert replies == expected
    assert not llm._lane._held


async def test_a_slow_reader_does_not_keep_the_engine_from_others(anyio_backend):
    class Long(BlockingLLM):
        name = "long"
        _lane = Lane("cpu")

        def tokens(self, request):
            yield from map(str, range(200))

    llm = Long()
    with anyio.fail_after(10):
        async with llm.reply(REQUEST) as slow:
            assert await anext(slow) == "0"
            async with llm.reply(REQUEST) as other:
                assert [piece async for piece in other] == list(map(str, range(200)))
            assert [piece async for piece in slow] == list(map(str, range(1, 200)))


async def test_replies_that_wait_for_their_readers_leave_threads_for_other_work(anyio_backend):
    class Long(BlockingLLM):
        name = "long"

        def tokens(self, request):
            yield from map(str, range(100))

    llm, lengths = Long(), []

    async def read():
        async with llm.reply(REQUEST) as stream:
            pieces = []
            async for piece in stream:
                await _threads.run(pieces.append, piece)
            lengths.append(len(pieces))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(70):
                tasks.start_soon(read)
    assert lengths == [100] * 70


async def test_a_reply_is_generated_in_one_thread(anyio_backend):
    class Threads(Counting):
        def tokens(self, request):
            for _ in range(20):
                yield str(threading.get_ident())

    async with Threads().reply(REQUEST) as stream:
        assert len({piece async for piece in stream}) == 1


async def test_leaving_a_reply_that_waits_for_the_engine_leaves_the_queue(anyio_backend):
    llm = Counting()
    llm._lane.acquire("another")
    with anyio.fail_after(5):
        async with llm.reply(REQUEST):
            while not llm._lane.waiting:  # noqa: ASYNC110 (it happens in another thread)
                await anyio.sleep(0.001)
    assert llm._lane.waiting == 0
    assert llm.ended == []
    llm._lane.release()
    assert not llm._lane._held


def test_a_request_comes_apart_into_what_agents_ask_for():
    history = (Message("user", "Hi."), Message("assistant", "Hello."))
    asked = LLMRequest(
        messages=(Message("system", "Be brief."), *history, Message("user", "Who are you?"))
    )
    assert (asked.system, asked.history, asked.text) == ("Be brief.", history, "Who are you?")
    assert asked.to_openai()[0] == {"role": "system", "content": "Be brief."}
    bare = LLMRequest(messages=(Message("user", "Hi."),))
    assert (bare.system, bare.history, bare.text) == ("", (), "Hi.")
    empty = LLMRequest(messages=())
    assert (empty.system, empty.history, empty.text) == ("", (), "")
