"""The models that the tests put into the agents of `examples/`: one script, told in four ways.

Each keeps what it was asked, waits where a test wants it to, and notes how it was stopped.
"""

from __future__ import annotations

import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import anyio
from agents import Model as OpenAIModel
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from openai.types import responses as openai
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from smolagents import ChatMessage
from smolagents import Model as SmolModel

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    """The program of `examples/`, as a module of its own for each who asks."""
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"agent_{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Script:
    """What the models say. To "Wait" the first word only, until the gate is opened."""

    def __init__(self):
        self.asked: list[list[tuple[str, str]]] = []
        """For each call of a model, the messages: role and content."""
        self.stopped: list[str] = []
        """What ended a reply before its end."""
        self.waiting = threading.Semaphore(0)
        """Counts the models that have come to where they wait."""
        self._gate = anyio.Event()
        self._gate_of_threads = threading.Event()

    def open(self):
        self._gate.set()
        self._gate_of_threads.set()

    async def at_work(self):
        """Wait until a model waits."""
        assert await anyio.to_thread.run_sync(self.waiting.acquire, True, 10)  # noqa: FBT003 (blocking)

    def begin(self, asked):
        """Note the question; return the reply in pieces."""
        self.asked.append(asked)
        question = next(text for role, text in reversed(asked) if role == "user")
        if "Fail" in question:
            raise ValueError("out of tea")
        found = [text for role, text in asked if role == "tool"]
        return [
            "That is a good question. And ",
            *(found[-1:] or [f"You said {question!r} ", "to me."]),
        ]

    async def stream(self, asked):
        first, *rest = self.begin(asked)
        yield first
        await self.wait(asked)
        for piece in rest:
            yield piece

    async def wait(self, asked):
        if not self.is_to_wait(asked):
            return
        self.waiting.release()
        try:
            await self._gate.wait()
        except BaseException as error:
            self.stopped.append(type(error).__name__)
            raise

    def wait_in_thread(self, asked):
        if self.is_to_wait(asked):
            self.waiting.release()
            assert self._gate_of_threads.wait(20)

    @staticmethod
    def is_to_wait(asked):
        return any(text.startswith("Wait") for role, text in asked[-3:] if role == "user")


def pydantic_ai(script):
    roles = {"user-prompt": "user", "text": "assistant", "tool-return": "tool"}

    async def model(messages, info):
        asked = [
            (roles[part.part_kind], str(part.content))
            for message in messages
            for part in message.parts
            if part.part_kind in roles
        ]
        if "When" in asked[-1][1] and asked[-1][0] == "user":
            script.asked.append(asked)
            yield {0: DeltaToolCall("opening_hours", '{"day": "Monday"}', tool_call_id="1")}
            return
        async for piece in script.stream(asked):
            yield piece

    module = example("pydantic_ai")
    module.agent.model = FunctionModel(stream_function=model)
    return module.brain


def langgraph(script):
    roles = {"human": "user", "ai": "assistant"}

    class Model(BaseChatModel):
        _llm_type = "scripted"

        def _generate(self, *_, **__):
            raise RuntimeError("This model is streamed only.")

        async def _astream(self, messages, *_, **__):
            facts, *messages = messages  # what the graph knows matters for one question
            asked = [(roles[m.type], m.text) for m in messages if m.type != "system"]
            if "When" in asked[-1][1]:
                asked.append(("tool", facts.text))
            async for piece in script.stream(asked):
                yield ChatGenerationChunk(message=AIMessageChunk(piece))

    module = example("langgraph")
    module.model = Model()
    return module.brain


def openai_agents(script):
    class Model(OpenAIModel):
        async def get_response(self, *_, **__):
            raise RuntimeError("This model is streamed only.")

        async def stream_response(self, system, said, *_, **__):
            asked = [
                (e["role"], e["content"]) if "role" in e else ("tool", e["output"])
                for e in said
                if e.get("type") != "function_call"
            ]
            text = []
            if "When" in asked[-1][1]:
                script.asked.append(asked)
                item = openai.ResponseFunctionToolCall(
                    name="opening_hours",
                    arguments='{"day": "Monday"}',
                    call_id="1",
                    type="function_call",
                )
            else:
                async for piece in script.stream(asked):
                    text.append(piece)
                    yield openai.ResponseTextDeltaEvent.model_construct(
                        type="response.output_text.delta", delta=piece
                    )
                part = openai.ResponseOutputText(
                    text="".join(text), annotations=[], type="output_text"
                )
                item = openai.ResponseOutputMessage(
                    id="1", content=[part], role="assistant", status="completed", type="message"
                )
            response = openai.Response.model_construct(id="1", output=[item], usage=None)
            yield openai.ResponseCompletedEvent.model_construct(
                type="response.completed", response=response
            )

    module = example("openai")
    module.agent.model = Model()
    return module.brain


def smolagents(script):
    """Calls a tool first, always; waits, if it is to, before it answers."""
    roles = {"user": "user", "assistant": "assistant", "tool-response": "tool"}

    class Model(SmolModel):
        def generate(self, messages, *_, **__):
            asked = [
                (roles[m.role], m.content[0]["text"].removeprefix("New task:\n"))
                for m in messages
                if m.role in roles
            ]
            reply = script.begin(asked)
            name, arguments = "opening_hours", {"day": "Monday"}
            if asked[-1][0] == "tool":
                script.wait_in_thread(asked)
                name, arguments = "final_answer", {"answer": "".join(reply)}
            function = {"name": name, "arguments": arguments}
            call = {"id": "1", "type": "function", "function": function}
            return ChatMessage.from_dict({"role": "assistant", "content": "", "tool_calls": [call]})

    module = example("smolagents")
    module.model = Model()
    return module.brain


ASYNC = {"pydantic_ai": pydantic_ai, "langgraph": langgraph, "openai_agents": openai_agents}
ALL = {**ASYNC, "smolagents": smolagents}
