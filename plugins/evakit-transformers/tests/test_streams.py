"""Replies through LLM.reply: left, cancelled, one after the other; on both event loops."""

from __future__ import annotations

from itertools import groupby

import anyio
import pytest
from anyio import to_thread

import evakit
from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit.errors import WheelFlavourError
from evakit_transformers import TransformersLLM

STORY = LLMRequest(messages=[Message("user", "tell me a long story")], max_tokens=300)
LONG = LLMRequest(messages=[Message("user", "word " * 900)], max_tokens=5)
CHUNKS = 900 / 64


@pytest.fixture
async def reading(tiny):
    """A backend that is loaded as a Stack loads it, and how many tokens each of its runs read."""
    llm = TransformersLLM(str(tiny), context_tokens=1024, threads=1)
    llm.name = "transformers"
    await llm.load(LoadContext())
    runs = []
    llm._loaded.engine._model.register_forward_pre_hook(
        lambda _module, _args, given: runs.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    yield llm, runs
    await llm.unload()


async def reply_works(llm) -> bool:
    async with llm.reply(LLMRequest(messages=STORY.messages, max_tokens=3)) as stream:
        return len([piece async for piece in stream]) >= 3


async def test_leaving_the_block_stops_the_work(reading):
    llm, runs = reading
    async with llm.reply(STORY) as stream:
        await anext(stream)
        await anext(stream)
    done = len(runs)
    assert done < 250
    assert await reply_works(llm)
    assert len(runs) <= done + 4


async def test_cancelling_while_the_prompt_is_read_stops_at_the_next_piece_of_it(reading):
    llm, runs = reading
    async with anyio.create_task_group() as tasks:

        async def read():
            async with llm.reply(LONG) as stream:
                async for _piece in stream:
                    pytest.fail("the prompt was read to its end")

        second = _stops_at_its_second_piece(llm, tasks)
        tasks.start_soon(read)
        await second.wait()
    assert len(runs) < CHUNKS / 2
    del runs[:]
    async with llm.reply(LONG) as stream:
        assert [piece async for piece in stream]
    assert sum(runs) < 900  # what was read until then is not read again
    assert await reply_works(llm)


def _stops_at_its_second_piece(llm, tasks):
    """Cancel, from the event loop, when the model is about to read its second piece."""
    event, token = anyio.Event(), anyio.lowlevel.current_token()
    seen = []

    def stop():
        tasks.cancel_scope.cancel()
        event.set()

    def look(*_):
        seen.append(1)
        if len(seen) == 2:
            anyio.from_thread.run_sync(stop, token=token)

    llm._loaded.engine._model.register_forward_pre_hook(look)
    return event


async def test_a_prompt_that_is_read_early_is_left_as_soon_as_nobody_wants_it(reading):
    llm, runs = reading
    async with anyio.create_task_group() as tasks:
        second = _stops_at_its_second_piece(llm, tasks)
        tasks.start_soon(llm.prefill, LONG)
        await second.wait()
    assert len(runs) < CHUNKS / 2
    assert await reply_works(llm)


async def test_a_second_reply_waits_for_the_first_and_can_be_cancelled_meanwhile(reading):
    llm, _ = reading
    order = []

    async def read(name, request):
        async with llm.reply(request) as stream:
            async for _piece in stream:
                order.append(name)  # noqa: PERF401 (the moment of each is the point)

    async with llm.reply(STORY) as first:
        await anext(first)
        with anyio.move_on_after(0.05):
            await read("never", STORY)
    short = LLMRequest(messages=STORY.messages, max_tokens=20)
    async with anyio.create_task_group() as tasks:
        for name in ("one", "other"):
            tasks.start_soon(read, name, short)
    names = [name for name, _ in groupby(order)]
    assert sorted(names) == ["one", "other"]


async def test_unloading_waits_for_the_reply_that_is_under_way(tiny):
    llm = TransformersLLM(str(tiny), threads=1)
    llm.name = "transformers"
    await llm.load(LoadContext())
    pieces = []

    async def read():
        async with llm.reply(LLMRequest(messages=STORY.messages, max_tokens=40)) as stream:
            async for piece in stream:
                pieces.append(piece)
                begun.set()

    begun = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await begun.wait()
        await llm.unload()
    assert pieces[-1] == evakit.abc.Finish("length")


async def test_a_conversation_names_the_device_that_was_proven(tiny, anyio_backend):
    brain = TransformersLLM(str(tiny), threads=1, max_tokens=8)
    conversation = evakit.AsyncConversation(stt=None, llm=brain, tts=None, device="cpu")
    async with conversation:
        reply = await conversation.respond("hello")
        assert reply.text
        lease = conversation.backends["llm"].lease
        assert lease.proof.verdict == "proven"
        assert lease.proof.device.name == "cpu"


async def test_a_gpu_that_torch_cannot_use_is_refused(tiny, tmp_path, monkeypatch, anyio_backend):
    from evakit_transformers import _refusals

    def without_cuda():
        return type("Found", (), {"get": lambda *_: wheel})()

    wheel = type("Wheel", (), {"is_cpu_only": True, "evidence": "cuda = None"})
    monkeypatch.setattr(_refusals, "look_at_packages", without_cuda)
    llm = TransformersLLM(str(tiny))
    llm.name = "transformers"
    with pytest.raises(WheelFlavourError, match="built without CUDA"):
        await llm.load(LoadContext(device=evakit.devices.Device("cuda:0")))
    await llm.unload()
    await to_thread.run_sync(llm.load_model, LoadContext())
    assert llm.quick_check().name == "cpu"
    await llm.unload()
