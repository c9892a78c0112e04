"""The agents of the examples are brains: they stream, remember what was heard, and stop."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import asynccontextmanager

import anyio
import pytest
import stand_ins

import evakit
from evakit.abc import LLMRequest
from evakit.chat import Message
from evakit.errors import GenerationError
from evakit.testing.fakes import ToneTTS


@asynccontextmanager
async def conversation(brain, **options):
    """A conversation after which no task of an agent runs."""
    before = asyncio.all_tasks()
    async with evakit.AsyncConversation(stt=None, llm=brain, tts=ToneTTS(), **options) as talk:
        yield talk
    assert asyncio.all_tasks() <= before


async def test_a_reply_is_streamed_while_the_agent_still_works(brain, script):
    async with conversation(brain) as talk, talk.turn("Wait.") as turn:
        tokens = []
        async for event in turn:
            if isinstance(event, evakit.TokenGenerated):
                script.open()  # the model goes on only after its first words were here
                tokens.append(event.text)
    assert len(tokens) > 1
    await script.at_work()  # it did wait
    assert turn.reply.text == "".join(tokens)
    assert not turn.reply.interrupted


async def test_the_agents_own_tool_is_used(brain):
    async with conversation(brain) as talk:
        reply = await talk.respond("When are you open?")
    assert "open from ten to six" in reply.text


async def test_the_second_turn_knows_the_first(brain, script):
    async with conversation(brain) as talk:
        first = await talk.respond("Good morning.")
        await talk.respond("And again.")
    told = [(role, text.strip()) for role, text in script.asked[-1] if text and role != "tool"]
    assert told == [
        ("user", "Good morning."),
        ("assistant", first.text.strip()),
        ("user", "And again."),
    ]


async def test_an_interruption_stops_the_agent_within_its_model(async_brain, script):
    async with conversation(async_brain) as talk, talk.turn("Wait.") as turn:
        async for event in turn:
            if isinstance(event, evakit.AudioReady):
                await script.at_work()
                break
    assert turn.reply.interrupted
    assert script.stopped == ["CancelledError"]


async def test_an_agent_in_a_thread_ends_with_the_step_that_it_is_at(script):
    brain = stand_ins.smolagents(script)
    has_ended = threading.Event()

    def noting(request):
        try:
            yield from brain(request)
        finally:
            has_ended.set()

    async with conversation(noting) as talk:
        async with talk.turn("Wait.") as turn:
            async for _ in turn:
                await script.at_work()
                break
        assert turn.reply.interrupted
        assert not has_ended.is_set()
        asked = len(script.asked)
        script.open()
        assert await anyio.to_thread.run_sync(has_ended.wait, 10)
        assert len(script.asked) == asked  # no further step was begun
        assert (await talk.respond("Are you there?")).text


async def test_what_fills_the_time_is_spoken_while_the_tool_works(script):
    async with conversation(stand_ins.smolagents(script)) as talk, talk.turn("Wait.") as turn:
        async for event in turn:
            if isinstance(event, evakit.AudioReady):
                script.open()  # the answer comes only after something was heard
    assert turn.reply.text.startswith("Let me look that up. One moment. That is")


async def test_after_an_interruption_the_agent_is_told_what_was_heard(brain, script):
    requests = []

    def noting(request):
        requests.append(request)
        return brain(request)

    async with evakit.AsyncConversation(stt=None, llm=noting, tts=None) as talk:
        async with talk.turn("Wait.") as turn:
            async for event in turn:
                if isinstance(event, evakit.TokenGenerated):
                    break
        script.open()
        heard = turn.reply.played
        assert heard == event.text
        await talk.respond("Go on.")
    assert [request.interrupted for request in requests] == [None, heard]
    told = [(role, text.strip()) for role, text in script.asked[-1] if text and role != "tool"]
    assert told == [("user", "Wait."), ("assistant", heard.strip()), ("user", "Go on.")]


async def test_a_failure_in_the_agent_is_one_error_with_its_cause(brain):
    async with conversation(brain) as talk:
        with pytest.raises(GenerationError, match="out of tea") as caught:
            await talk.respond("Fail, please.")
        causes = []
        error = caught.value
        while error := error.__cause__:
            causes.append(type(error))
        assert ValueError in causes
        assert caught.value.backend == "brain"
        reply = await talk.respond("Are you still there?")
    assert "Are you still there?" in reply.text or "open" in reply.text


async def test_two_conversations_at_once_do_not_mix(brain, script):
    replies = {}

    async def talk_of(subject):
        async with evakit.AsyncConversation(stt=None, llm=brain, tts=ToneTTS()) as talk:
            await talk.respond(f"Let us talk of {subject}.")
            replies[subject] = await talk.respond(f"Wait. What of {subject}?")

    before = asyncio.all_tasks()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk_of, "tea")
        tasks.start_soon(talk_of, "cake")
        await script.at_work()
        await script.at_work()  # both
        script.open()
    assert asyncio.all_tasks() <= before
    assert len(replies) == 2
    for asked in script.asked:
        text = " ".join(text for _, text in asked)
        assert ("tea" in text) != ("cake" in text)


async def test_without_a_turn_an_agent_can_be_asked_directly(async_brain):
    request = LLMRequest(messages=(Message("system", "Be brief."), Message("user", "Hello.")))
    assert "Hello." in "".join([piece async for piece in async_brain(request)])


def test_a_program_without_async_uses_the_same_agents(brain):
    with evakit.Conversation(stt=None, llm=brain, tts=None) as talk:
        talk.respond("Good morning.")
        assert "open" in talk.respond("When are you open?").text


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_synchronous_agent_answers_on_trio(script, anyio_backend):
    brain = stand_ins.smolagents(script)
    async with evakit.AsyncConversation(stt=None, llm=brain, tts=None) as talk:
        assert "open from ten to six" in (await talk.respond("When are you open?")).text


# pydantic-ai drops what it had begun when it finds no asyncio: coroutines and a stream.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_an_agent_that_needs_asyncio_says_so_on_trio(async_brain, anyio_backend):
    async with evakit.AsyncConversation(stt=None, llm=async_brain, tts=None) as talk:
        with pytest.raises(GenerationError, match="no running event loop"):
            await talk.respond("Hello.")
    gc.collect()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_a_conversation_in_a_thread_has_the_asyncio_that_it_needs(
    async_brain, anyio_backend
):
    def talk():
        with evakit.Conversation(stt=None, llm=async_brain, tts=None) as talk:
            return talk.respond("When are you open?").text

    assert "open" in await anyio.to_thread.run_sync(talk)


@pytest.mark.parametrize("name", ["pydantic_ai", "langgraph", "openai", "smolagents"])
def test_the_page_shows_what_the_example_runs(name):
    text = (stand_ins.EXAMPLES / f"agent_{name}.py").read_text("utf-8")
    program = text.split('"""\n\n', 1)[1].split("\n\n\ndef main")[0].split("\n\n\nif __name__")[0]
    page = stand_ins.EXAMPLES.parent / "docs/how-to/own-agent.md"
    assert f"```python\n{program}\n```" in page.read_text("utf-8")
