"""A smolagents agent as the brain: it works in steps, and says something while it does.

python examples/agent_smolagents.py    (needs smolagents)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from smolagents import (
    ActionStep,
    ChatMessage,
    FinalAnswerStep,
    LogLevel,
    Model,
    TaskStep,
    ToolCall,
    ToolCallingAgent,
    tool,
)
from smolagents.monitoring import Timing

import evakit
from evakit.abc import LLMRequest


@tool
def opening_hours(day: str) -> str:
    """Look up when the shop is open.

    Args:
        day: the day of the week

    """
    return f"On {day} it is open from ten to six."


class Recorded(Model):
    """A model without a network: it calls the tool, then repeats what that said."""

    def generate(self, messages: list[ChatMessage], *_: Any, **__: Any) -> ChatMessage:
        """Decide on the next step."""
        name, arguments = "opening_hours", {"day": "Monday"}
        if messages[-1].role == "tool-response":
            found = messages[-1].content[0]["text"].removeprefix("Observation:\n")
            name, arguments = "final_answer", {"answer": found}
        function = {"name": name, "arguments": arguments}
        call = {"id": "1", "type": "function", "function": function}
        return ChatMessage.from_dict({"role": "assistant", "content": "", "tool_calls": [call]})


model = Recorded()  # For a real model: smolagents.OpenAIModel("gpt-5.2"), TransformersModel, ...


def brain(request: LLMRequest) -> Iterator[str]:
    """Yield the agent's answer; of its earlier replies it knows what was heard."""
    agent = ToolCallingAgent([opening_hours], model, verbosity_level=LogLevel.OFF)
    for number, message in enumerate(request.messages[:-1]):
        if message.role == "user":
            agent.memory.steps.append(TaskStep(message.content))
        elif message.role == "assistant":
            step = ActionStep(number, Timing(0.0), model_output=message.content)
            agent.memory.steps.append(step)
    steps = agent.run(request.text, stream=True, reset=False)
    try:
        for step in steps:
            match step:
                case ToolCall(name=name) if name != "final_answer":
                    yield "Let me look that up. One moment. "
                case FinalAnswerStep(output=answer):
                    yield str(answer)
                case _:
                    yield ""  # says nothing, and lets an interrupted reply end here
    finally:
        with suppress(RuntimeError):  # smolagents yields once more when it is closed
            steps.close()


def main() -> None:
    """Ask two questions."""
    with evakit.Conversation(stt=None, llm=brain, voice="joe") as conversation:
        for question in ("When are you open?", "And tomorrow?"):
            print(question, "->", conversation.respond(question).text)


if __name__ == "__main__":
    main()
