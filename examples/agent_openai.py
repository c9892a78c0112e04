"""An agent of the OpenAI Agents SDK as the brain: it has tools, evakit hears and speaks.

python examples/agent_openai.py    (needs openai-agents)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    RawResponsesStreamEvent,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai.types import responses as openai

import evakit
from evakit.abc import LLMRequest

set_tracing_disabled(True)  # otherwise the SDK sends what is said to OpenAI's servers, as traces


@function_tool
def opening_hours(day: str) -> str:
    """Look up when the shop is open."""
    return f"On {day} it is open from ten to six."


class Recorded(Model):
    """A model without a network, which always says the same."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        """Give a whole reply; what is streamed needs none."""
        raise RuntimeError("This model is streamed only.")

    async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Give the words of a reply, then the reply."""
        for word in ("We are open ", "from ten ", "to six."):
            yield openai.ResponseTextDeltaEvent.model_construct(
                type="response.output_text.delta", delta=word
            )
        text = openai.ResponseOutputText.model_construct(type="output_text", text="...")
        message = openai.ResponseOutputMessage.model_construct(type="message", content=[text])
        response = openai.Response.model_construct(id="1", output=[message], usage=None)
        yield openai.ResponseCompletedEvent.model_construct(
            type="response.completed", response=response
        )


# For a real model, write its name: model="gpt-5.2".
agent = Agent(
    "Clerk", instructions="You answer a shop's phone.", tools=[opening_hours], model=Recorded()
)


async def brain(request: LLMRequest) -> AsyncIterator[str]:
    """Yield what the agent says as it comes; of its earlier replies it knows what was heard."""
    said = [entry for entry in request.to_openai() if entry["role"] != "system"]
    run = Runner.run_streamed(agent, said)
    async with aclosing(run.stream_events()) as events:
        try:
            async for event in events:
                match event:
                    case RawResponsesStreamEvent(data=openai.ResponseTextDeltaEvent(delta=text)):
                        yield text
        finally:
            run.cancel()  # closing the stream alone would let the agent run to its end


def main() -> None:
    """Ask two questions."""
    with evakit.Conversation(stt=None, llm=brain, voice="joe") as conversation:
        for question in ("When are you open?", "And tomorrow?"):
            print(question, "->", conversation.respond(question).text)


if __name__ == "__main__":
    main()
