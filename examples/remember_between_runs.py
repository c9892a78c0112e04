"""A conversation that goes on where it ended the last time: its history is kept in a file.

python examples/remember_between_runs.py
python examples/remember_between_runs.py "Which country did I ask about?"
"""

from __future__ import annotations

import sys
from pathlib import Path

import evakit

MEMORY = Path("conversation.json")


def main(said: str = "What is the capital of France?") -> None:
    """Answer in text, then write down what was said."""
    history = evakit.History()
    if MEMORY.exists():
        history = evakit.History.from_json(MEMORY.read_text("utf-8"))
    with evakit.Conversation(stt=None, tts=None, history=history) as conversation:
        print(conversation.respond(said).text)
        MEMORY.write_text(conversation.history.to_json(), "utf-8")
        print(f"{len(conversation.history)} messages are in {MEMORY}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
