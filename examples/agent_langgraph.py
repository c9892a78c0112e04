"""A LangGraph graph as the brain: one node looks things up, the next one writes the reply.

python examples/agent_langgraph.py    (needs langgraph)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langgraph.graph import MessagesState, StateGraph

import evakit
from evakit.abc import LLMRequest

# A model without a network. For a real one, make it here, such as ChatOpenAI(model="gpt-5.2").
model = GenericFakeChatModel(messages=iter(["We are open from ten to six.", "Tomorrow as well."]))


def look_up(state: MessagesState) -> MessagesState:
    """Add what the reply has to be based on."""
    day = "Tomorrow" if "tomorrow" in state["messages"][-1].text else "Today"
    return {"messages": [SystemMessage(f"{day} the shop is open from ten to six.")]}


async def write(state: MessagesState) -> MessagesState:
    """Let the model write the reply; LangGraph hands its tokens on as they come."""
    return {"messages": [await model.ainvoke(state["messages"])]}


steps = StateGraph(MessagesState).add_sequence([look_up, write])
graph = steps.set_entry_point("look_up").compile()


async def brain(request: LLMRequest) -> AsyncIterator[str]:
    """Yield what the graph says as it comes; of its earlier replies it knows what was heard."""
    said = {"messages": request.to_openai()}
    async with aclosing(graph.astream(said, stream_mode="messages")) as stream:
        async for message, _ in stream:
            if isinstance(message, AIMessage):
                yield message.text


def main() -> None:
    """Ask two questions."""
    with evakit.Conversation(stt=None, llm=brain, voice="joe") as conversation:
        for question in ("When are you open?", "And tomorrow?"):
            print(question, "->", conversation.respond(question).text)


if __name__ == "__main__":
    main()
