"""A pydantic-ai agent as the brain: it has tools and instructions, evakit hears and speaks.

python examples/agent_pydantic_ai.py    (needs pydantic-ai-slim)
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pydantic_ai as ai
from pydantic_ai.models.test import TestModel

import evakit
from evakit.abc import LLMRequest


def opening_hours(day: str) -> str:
    """Look up when the shop is open."""
    return f"On {day} it is open from ten to six."


# A model without a network. For a real one, write its name here, such as "openai:gpt-5.2".
model = TestModel(custom_output_text="We are open from ten to six. Shall I keep a cake for you?")
agent = ai.Agent(model, instructions="You answer a shop's telephone.", tools=[opening_hours])
remember = {
    "user": ai.ModelRequest.user_text_prompt,
    "assistant": lambda text: ai.ModelResponse([ai.TextPart(text)]),
}


async def brain(request: LLMRequest) -> AsyncIterator[str]:
    """Yield what the agent says as it comes; of its earlier replies it knows what was heard."""
    past = [remember[m.role](m.content) for m in request.history if m.role in remember]
    async with agent.run_stream_events(request.text, message_history=past) as events:
        async for event in events:
            match event:
                case ai.PartStartEvent(part=ai.TextPart(text)):
                    yield text
                case ai.PartDeltaEvent(delta=ai.TextPartDelta(text)):
                    yield text


def main() -> None:
    """Ask two questions."""
    with evakit.Conversation(stt=None, llm=brain, voice="joe") as conversation:
        for question in ("When are you open?", "And tomorrow?"):
            print(question, "->", conversation.respond(question).text)


if __name__ == "__main__":
    main()
