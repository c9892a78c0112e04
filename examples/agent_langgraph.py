"""A LangGraph graph as the brain; LangGraph hands on the tokens of the models in it as they come.

python examples/agent_langgraph.py    (needs langgraph)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from langchain_core.language_models import GenericFakeChatModel
from langgraph.graph import MessagesState, StateGraph

import evakit

# A model without a network. For a real one, make it here, such as ChatOpenAI(model="gpt-5.2").
model = GenericFakeChatModel(messages=iter(["We are open from ten to six.", "Tomorrow as well."]))


async def write(state: MessagesState) -> MessagesState:
    """Let the model write the reply, from what the graph knows and what was said."""
    facts = ("system", "The shop is open from ten to six, every day.")
    return {"messages": [await model.ainvoke([facts, *state["messages"]])]}


graph = StateGraph(MessagesState).add_node(write).set_entry_point("write").compile()


async def brain(request: evakit.abc.LLMRequest) -> AsyncIterator[str]:
    """Yield what the graph says as it comes; of its earlier replies it knows what was heard."""
    said = {"messages": request.to_openai()}
    async with aclosing(graph.astream(said, stream_mode="messages")) as stream:
        async for message, _ in stream:
            yield message.text


if __name__ == "__main__":
    with evakit.Conversation(stt=None, llm=brain, voice="joe") as conversation:
        for question in ("When are you open?", "And tomorrow?"):
            print(question, "->", conversation.respond(question).text)
