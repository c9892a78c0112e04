"""What a user may pass as `llm`: whatever can be called, however it was made."""

from __future__ import annotations

import functools

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser

import evakit


class Agent:
    """Has its brain in several shapes."""

    def __init__(self, name="Eva"):
        self.name = name

    async def answer(self, text):
        return f"{self.name} heard {text}"

    async def stream(self, request):
        for piece in ("Eva ", "heard ", request.text):
            yield piece

    def sync(self, request):
        yield from ("Eva ", "heard ", request.text)

    async def __call__(self, request):
        return await self.answer(request.text)


async def with_agent(agent, request):
    async for piece in agent.stream(request):
        yield piece


AGENT = Agent()
SHAPES = {
    "a bound method that streams": AGENT.stream,
    "a bound method that blocks": AGENT.sync,
    "a callable object": AGENT,
    "a partial of an async generator": functools.partial(with_agent, AGENT),
    "a partial of a method": functools.partial(AGENT.stream),
    "a lambda that gives a coroutine": lambda request: AGENT.answer(request.text),
    "a lambda that gives an async generator": lambda request: with_agent(AGENT, request),
    "a lambda that gives a generator": lambda request: (piece for piece in AGENT.sync(request)),
    "a lambda that gives a list": lambda request: list(AGENT.sync(request)),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_brain_may_be(shape, anyio_backend):
    async with evakit.AsyncConversation(stt=None, llm=SHAPES[shape], tts=None) as talk:
        assert (await talk.respond("tea")).text == "Eva heard tea"


async def test_a_runnable_of_langchain_needs_no_function_of_ones_own():
    chain = FakeListChatModel(responses=["Good morning."]) | StrOutputParser()
    llm = lambda request: chain.astream(request.to_openai())  # noqa: E731 (as the page shows it)
    async with evakit.AsyncConversation(stt=None, llm=llm, tts=None) as talk:
        async with talk.turn("Hello.") as turn:
            tokens = [e.text async for e in turn if isinstance(e, evakit.TokenGenerated)]
    assert tokens == list("Good morning.")  # this model streams letter by letter


async def test_the_method_of_a_runnable_is_refused_with_a_sentence():
    chain = FakeListChatModel(responses=["Good morning."])  # gives messages, and wants a list
    async with evakit.AsyncConversation(stt=None, llm=chain.astream, tts=None) as talk:
        with pytest.raises(evakit.errors.GenerationError, match="LLMRequest"):
            await talk.respond("Hello.")
