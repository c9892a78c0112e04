"""asyncio's and trio's own programs: beside other tasks, with their own timeouts and errors."""

from __future__ import annotations

import asyncio

import pytest
import trio

import evakit
from evakit.abc import BlockingLLM, stop_asked
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS


class Endless(BlockingLLM):
    """Talks until it is told to stop, and notes that it was."""

    stopped = False

    def tokens(self, request):
        try:
            while True:
                yield "word "
        finally:
            self.stopped = True


class Waiting(BlockingLLM):
    """Says nothing until it is told to stop."""

    stopped = False

    def tokens(self, request):
        while not stop_asked():
            pass
        self.stopped = True
        yield ""


def conversation(llm=None):
    return evakit.AsyncConversation(
        stt=ScriptedSTT(), llm=llm or ScriptedLLM("One two three."), tts=ToneTTS()
    )


def test_asyncio_goes_on_with_other_tasks_while_a_turn_runs():
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with conversation() as talk, talk.turn("hi") as turn:
            kinds = [type(event).__name__ async for event in turn]
        ticking.cancel()
        return kinds, ticks

    kinds, ticks = asyncio.run(main(), debug=True)
    assert kinds[-1] == "TurnFinished"
    assert ticks > 10


def test_trio_goes_on_with_other_tasks_while_a_turn_runs():
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            async with conversation() as talk, talk.turn("hi") as turn:
                kinds = [type(event).__name__ async for event in turn]
            nursery.cancel_scope.cancel()
        return kinds, ticks

    kinds, ticks = trio.run(main)
    assert kinds[-1] == "TurnFinished"
    assert ticks > 10


def test_asyncio_runs_conversations_side_by_side():
    async def main():
        async with evakit.Stack(stt=None, llm=ScriptedLLM(), tts=ToneTTS()) as stack:
            async with asyncio.TaskGroup() as tasks:
                talks = [
                    tasks.create_task(evakit.AsyncConversation(stack).respond(str(number)))
                    for number in range(20)
                ]
            return [task.result().text for task in talks]

    assert asyncio.run(main()) == [f"You said: {number}" for number in range(20)]


def test_an_asyncio_timeout_around_a_turn_stops_the_engine():
    llm = Endless()

    async def main():
        async with conversation(llm) as talk:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await talk.respond("hi")
            assert llm.stopped
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.respond("again"), 0.1)

    asyncio.run(main())
    assert llm.stopped


def test_a_task_of_asyncio_that_is_cancelled_waits_for_its_engine():
    llm = Waiting()

    async def main():
        async with conversation(llm) as talk:
            task = asyncio.create_task(talk.respond("hi"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert llm.stopped

    asyncio.run(main())


def test_a_trio_timeout_around_a_turn_stops_the_engine():
    llm = Waiting()

    async def main():
        async with conversation(llm) as talk:
            with trio.move_on_after(0.1) as scope:
                await talk.respond("hi")
            assert scope.cancelled_caught
            assert llm.stopped

    trio.run(main)


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)])
def test_an_exception_of_the_programs_own_comes_out_as_itself(run):
    async def main():
        async with conversation() as talk, talk.turn("hi") as turn:
            async for _ in turn:
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(main())


def test_a_loop_inside_a_worker_thread_is_the_threads_own():
    """What blocks may itself run an event loop, as some engines' clients do."""

    class Client(BlockingLLM):
        def tokens(self, request):
            async def ask():
                await asyncio.sleep(0)
                return "From a loop."

            yield asyncio.run(ask())

    async def main():
        async with conversation(Client()) as talk:
            return (await talk.respond("hi")).text

    assert asyncio.run(main()) == "From a loop."
    assert trio.run(main) == "From a loop."
