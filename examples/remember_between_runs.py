"""A conversation that goes on where it ended the last time: its history is kept in a file.

python examples/remember_between_runs.py
python examples/remember_between_runs.py "Which country did I ask about?"
"""

from __future__ import annotations

import sys
from pathlib import Path

import evakit

memory = Path("conversation.json")
history = evakit.History.from_json(memory.read_text("utf-8") if memory.exists() else "[]")
said = sys.argv[1] if len(sys.argv) > 1 else "What is the capital of France?"
with evakit.Conversation(stt=None, tts=None, history=history) as conversation:
    print(conversation.respond(said).text)
    memory.write_text(conversation.history.to_json(), "utf-8")
    print(f"{len(conversation.history)} messages are in {memory}")
