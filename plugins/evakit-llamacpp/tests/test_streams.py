"""Replies through LLM.reply: cancelled, several at once, on both event loops."""

from __future__ import annotations

import anyio
import pytest
from anyio import to_thread

from evakit.abc import LLMRequest
from evakit.chat import Message
from evakit.errors import BackendUnavailableError

STORY = LLMRequest(messages=[Message("user", "Tell me a very long story.")], max_tokens=400)
LONG = LLMRequest(messages=[Message("user", "word " * 700)], max_tokens=5)


async def decoded(llm) -> float:
    return (await to_thread.run_sync(llm._engine.metrics))["n_decode_total"]


@pytest.fixture
def decoded_at_last(settled):
    """A function that waits until an engine is idle and returns how often it worked."""

    async def wait(llm) -> float:
        return (await to_thread.run_sync(settled, llm))["n_decode_total"]

    return wait


async def reply_works(llm) -> bool:
    async with llm.reply(LLMRequest(messages=STORY.messages, max_tokens=3)) as stream:
        return len([piece async for piece in stream]) == 5


async def test_leaving_the_block_stops_the_decoding(llm, decoded_at_last):
    before = await decoded(llm)
    async with llm.reply(STORY) as stream:
        async for _piece in stream:
            break
    assert await decoded_at_last(llm) - before < 40  # a few pieces wait in the stream
    assert await reply_works(llm)


async def test_cancelling_while_the_prompt_is_read_stops_at_the_next_piece_of_it(
    llm, decoded_at_last
):
    start = await decoded(llm)
    async with anyio.create_task_group() as tasks:

        async def read():
            async with llm.reply(LONG) as stream:
                async for _piece in stream:
                    pytest.fail("the prompt was read to its end")

        tasks.start_soon(read)
        while await decoded(llm) == start:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert await decoded_at_last(llm) - start < 700 / 64 / 2
    assert await reply_works(llm)


async def test_two_replies_are_generated_side_by_side(llm):
    order = []

    async def read(name):
        request = LLMRequest(
            messages=[Message("user", f"{name} asks for a story.")],
            conversation_id=name,
            max_tokens=30,
        )
        async with llm.reply(request) as stream:
            async for _piece in stream:
                order.append(name)  # noqa: PERF401 (the moment of each is the point)

    async with anyio.create_task_group() as tasks:
        for name in ("Anna", "Boris"):
            tasks.start_soon(read, name)
    first_end = min(len(order) - 1 - order[::-1].index(name) for name in ("Anna", "Boris"))
    assert set(order[: first_end // 2 + 1]) == {"Anna", "Boris"}


async def test_a_third_reply_waits_for_one_of_two_and_can_be_cancelled_meanwhile(llm):
    async with llm.reply(STORY) as first, llm.reply(STORY) as second:
        await anext(first)
        await anext(second)
        await llm.prefill(LONG)  # does nothing now
        with anyio.move_on_after(0.05):
            async with llm.reply(STORY) as third:
                await anext(third)
                pytest.fail("a third was generated")
    assert await reply_works(llm)


async def test_unloading_ends_a_reply_with_a_sentence(load):
    llm = await to_thread.run_sync(load)
    begun = anyio.Event()

    async def read():
        async with llm.reply(STORY) as stream:
            await anext(stream)
            begun.set()
            with pytest.raises(BackendUnavailableError, match="is not loaded"):
                [piece async for piece in stream]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await begun.wait()
        await llm.unload()
        await llm.unload()
