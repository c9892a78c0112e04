"""Your own program as the brain of a conversation: it thinks, evakit listens and speaks.

python examples/own_llm_backend.py
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import evakit
from evakit.abc import BlockingLLM, Capabilities, LLMRequest

CAPITALS = {"france": "Paris", "italy": "Rome", "japan": "Tokyo"}
OUR_QUESTION = Path(str(files("evakit.cli") / "question.wav"))


class CapitalsBrain(BlockingLLM):
    """Knows three capitals and says so when asked for another."""

    # It only computes, and it holds no model that callers would have to queue for.
    capabilities = Capabilities(serves_many_at_once=True)

    def tokens(self, request: LLMRequest) -> Iterator[str]:
        """Yield the reply piece by piece; closed early when the reply is interrupted."""
        for country, capital in CAPITALS.items():
            if country in request.text.lower():
                yield f"That is {capital}. "
                yield "Would you like to hear another one?"
                return
        yield f"I know the capitals of {', '.join(CAPITALS).title()} only."


def main() -> None:
    """Hear a question, answer it with the brain above."""
    with evakit.Conversation(llm=CapitalsBrain(), language="en") as conversation:
        reply = conversation.respond(OUR_QUESTION)
        print(f"{reply.heard} -> {reply.text}")


if __name__ == "__main__":
    main()
