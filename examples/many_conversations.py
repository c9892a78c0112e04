"""Several conversations at once on one set of loaded models.

python examples/many_conversations.py
"""

from __future__ import annotations

import anyio

import evakit

GUESTS = {
    "Ada": "My name is Ada. What is the capital of Italy?",
    "Bea": "My name is Bea. How many legs does a spider have?",
    "Cem": "My name is Cem. What colour is the sky?",
}


async def talk(stack: evakit.Stack, guest: str, question: str) -> None:
    """Hold one conversation; its history is its own, the models are everybody's."""
    async with evakit.AsyncConversation(stack) as conversation:
        reply = await conversation.respond(question)
        seconds = reply.audio.duration if reply.audio else 0.0
        print(f"{guest} is told in {seconds:.1f} s of speech: {reply.text}")
        assert len(conversation.history) == 2  # noqa: PLR2004, S101 (one question, one answer)


async def main() -> None:
    """Serve all guests at the same time."""
    async with evakit.Stack(stt=None) as stack, anyio.create_task_group() as tasks:
        for guest, question in GUESTS.items():
            tasks.start_soon(talk, stack, guest, question)


if __name__ == "__main__":
    anyio.run(main)
