"""Virtual time: exact, in no time, on both event loops and for the façade; threads hold it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evakit
from evakit import AudioReady
from evakit.abc import BlockingLLM
from evakit.errors import ConfigurationError, GenerationError
from evakit.testing import ScriptedLLM, ScriptedSTT, ToneTTS, clock, run, speech, virtual
from evakit.testing import virtual_time as in_virtual_time

QUICK = 1.0  # real seconds, on a busy machine, for what would take half a minute


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual(request.param)


@pytest.fixture
def stopwatch():
    start = time.monotonic()
    return lambda: time.monotonic() - start


def slow_backends(**more):
    return {
        "stt": ScriptedSTT("How are you?", delay=2.0),
        "llm": ScriptedLLM("I am very well. Thank you for asking.", delay=0.5, first_delay=4.0),
        "tts": ToneTTS(delay=3.0),
    } | more


async def test_a_turn_of_half_a_minute_takes_no_time_and_exactly_half_a_minute(
    anyio_backend, stopwatch
):
    async with evakit.AsyncConversation(**slow_backends()) as conversation:
        timings = (await conversation.respond(speech())).timings
    assert timings.transcription_delay == pytest.approx(2.0)
    assert timings.time_to_first_token == pytest.approx(4.5)
    assert timings.clause_delay == pytest.approx(2.0)  # four words later the first clause ends
    assert timings.synthesis_delay == pytest.approx(3.0)
    assert timings.first_audio_delay == pytest.approx(11.5)
    assert timings.total_delay == pytest.approx(2 + 4.5 + 2 + 8 * 3)
    assert stopwatch() < QUICK


def test_the_facade_runs_on_virtual_time_too(evakit_virtual_time, stopwatch):
    with evakit.Conversation(**slow_backends()) as conversation:
        timings = conversation.respond(speech()).timings
    assert timings.first_audio_delay == pytest.approx(11.5)
    assert timings.total_delay == pytest.approx(32.5)
    assert stopwatch() < QUICK


def test_where_a_turn_stands_does_not_depend_on_how_fast_its_reader_is(evakit_virtual_time):
    given = []
    for nap in (0.0, 0.05):
        llm = ScriptedLLM("One. Two. Three. Four. Five. Six. Seven. Eight.", delay=1.0)
        tts = ToneTTS(delay=1.0)
        with evakit.Conversation(stt=None, llm=llm, tts=tts) as conversation:
            with conversation.turn("Count.") as turn:
                for event in turn:
                    if isinstance(event, AudioReady):
                        time.sleep(nap)  # a real one: the clock waits for the reader
                        break
        given.append((llm.tokens_given, tts.chunks_given, turn.reply.timings.total_delay))
    assert given[0] == given[1]
    assert given[0][0] < 8


def test_conversations_left_open_in_virtual_time_are_closed_at_its_end():
    with in_virtual_time():
        conversation = evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None)
        conversation.respond("Hello.")
    with pytest.raises(evakit.errors.ConversationClosedError):
        conversation.respond("Hello?")
    assert not [t for t in threading.enumerate() if "portal" in t.name]


def test_an_open_conversation_keeps_its_clock():
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
        conversation.respond("Hello.")
        with pytest.raises(ConfigurationError, match="close it"), in_virtual_time():
            pytest.fail("it began")


def test_afterwards_the_facade_is_on_the_real_clock_again(stopwatch):
    with in_virtual_time():
        pass
    with evakit.Conversation(stt=None, llm=ScriptedLLM(delay=0.03), tts=None) as conversation:
        conversation.respond("Hello.")
    assert stopwatch() > 0.03


def test_two_threads_use_conversations_on_one_virtual_clock(evakit_virtual_time, stopwatch):
    delays = []

    def talk():
        with evakit.Conversation(**slow_backends()) as conversation:
            delays.append(conversation.respond(speech()).timings.total_delay)

    threads = [threading.Thread(target=talk) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Not exact: which of the two waits when is for the operating system to say.
    assert len(delays) == 2
    assert all(delay > 31 for delay in delays)
    assert stopwatch() < 2 * QUICK


async def test_work_in_a_thread_takes_no_time_and_nothing_overtakes_it(anyio_backend):
    overtaken = []

    async def overtake():
        await anyio.sleep(0.01)
        overtaken.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(overtake)
        with anyio.fail_after(0.005):
            await anyio.to_thread.run_sync(time.sleep, 0.1)
        assert anyio.current_time() == 0.0
        assert not overtaken
    assert overtaken == [0.01]


async def test_an_engine_that_blocks_does_not_let_the_clock_run(anyio_backend):
    class Blocking(BlockingLLM):
        def tokens(self, request):
            time.sleep(0.05)
            yield "Yes."

    llm = Blocking()
    async with evakit.AsyncConversation(stt=None, llm=llm, tts=ToneTTS(delay=2.0)) as conversation:
        with anyio.fail_after(2.5):
            timings = (await conversation.respond("Really?")).timings
    assert timings.first_token_delay == 0.0
    assert timings.first_audio_delay == pytest.approx(2.0)


def test_work_in_an_executor_of_asyncio_holds_the_clock():
    async def main():
        async with asyncio.timeout(0.01):
            assert await asyncio.to_thread(lambda: time.sleep(0.05) or "done") == "done"
        return asyncio.get_running_loop().time()

    assert run(main) == 0.0


async def test_a_thread_that_waits_for_the_clock_gets_it_after_some_patience(
    anyio_backend, monkeypatch
):
    monkeypatch.setattr(clock, "_PATIENCE", 0.05)
    await anyio.to_thread.run_sync(anyio.from_thread.run, anyio.sleep, 60.0)
    assert anyio.current_time() == pytest.approx(60.0)


async def test_what_has_arrived_comes_before_the_next_deadline(anyio_backend):
    one, other = socket.socketpair()
    with one, other:
        one.send(b"!")
        with anyio.fail_after(0.001):
            await anyio.wait_readable(other)
        assert anyio.current_time() == 0.0


@given(st.lists(st.integers(0, 10_000), max_size=20), st.sampled_from(["asyncio", "trio"]))
def test_sleepers_wake_up_in_order_each_at_its_time(milliseconds, backend):
    async def main():
        woken = []

        async def sleep(delay):
            await anyio.sleep(delay)
            woken.append((delay, anyio.current_time()))

        async with anyio.create_task_group() as tasks:
            for number in milliseconds:
                tasks.start_soon(sleep, number / 1000)
        return woken

    woken = run(main, backend=backend)
    assert [delay for delay, _ in woken] == sorted(number / 1000 for number in milliseconds)
    assert all(at == pytest.approx(delay) for delay, at in woken)


def test_ten_times_a_tenth_is_one():
    async def main():
        for _ in range(10):
            await anyio.sleep(0.1)
        return anyio.current_time()

    assert run(main) == 1.0


def test_an_exception_comes_out_as_it_is():
    async def main():
        raise GenerationError("no", backend="llm")

    for backend in ("asyncio", "trio"):
        with pytest.raises(GenerationError):
            run(main, backend=backend)


def test_an_event_loop_that_there_is_not_is_refused():
    with pytest.raises(ConfigurationError, match="curio"):
        virtual("curio")


def test_arguments_are_handed_on():
    async def add(one, other):
        await anyio.sleep(one)
        return one + other

    assert run(add, 1, 2) == run(add, 1, 2, backend="trio") == 3
