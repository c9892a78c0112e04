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


async def metrics(llm):
    return await to_thread.run_sync(llm._engine.metrics)


async def reply_works(llm) -> bool:
    async with llm.reply(LLMRequest(messages=STORY.messages, max_tokens=3)) as stream:
        return len([piece async for piece in stream]) == 5


async def test_leaving_the_block_stops_the_decoding(llm):
    before = await metrics(llm)
    async with llm.reply(STORY) as stream:
        async for _piece in stream:
            break
    after = await metrics(llm)
    assert after["requests_processing"] == 0
    assert after["n_decode_total"] - before["n_decode_total"] < 40  # a few wait in the stream
    assert await reply_works(llm)


async def test_cancelling_while_the_prompt_is_read_stops_at_the_next_piece_of_it(llm):
    start = (await metrics(llm))["n_decode_total"]
    async with anyio.create_task_group() as tasks:

        async def read():
            async with llm.reply(LONG) as stream:
                async for _piece in stream:
                    pytest.fail("the prompt was read to its end")

        tasks.start_soon(read)
        while (await metrics(llm))["n_decode_total"] == start:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    after = await metrics(llm)
    assert after["requests_processing"] == 0
    assert after["n_decode_total"] - start < 700 / 64 / 2
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
                order.append(name)

    async with anyio.create_task_group() as tasks:
        for name in ("Anna", "Boris"):
            tasks.start_soon(read, name)
    first_end = min(len(order) - 1 - order[::-1].index(name) for name in ("Anna", "Boris"))
    assert set(order[: first_end // 2 + 1]) == {"Anna", "Boris"}


async def test_a_third_reply_waits_for_one_of_two_and_can_be_cancelled_meanwhile(llm):
    async with llm.reply(STORY) as first, llm.reply(STORY) as second:
        await anext(first)
        await anext(second)
        assert (await metrics(llm))["requests_processing"] == 2
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
        with pytest.raises(BackendUnavailableError, match="is not loaded"):
            async with llm.reply(STORY) as stream:
                async for _piece in stream:
                    begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await begun.wait()
        await llm.unload()
        await llm.unload()
