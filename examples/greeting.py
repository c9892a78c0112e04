"""Greet whoever comes, before they have said a word.

python examples/greeting.py
"""

from __future__ import annotations

import evakit

with evakit.Conversation(stt=None, voice="joe") as conversation:
    greeting = conversation.say("Good morning! What would you like to know?")
    greeting.audio.save("greeting.wav")
    reply = conversation.respond("What is the capital of France?")
    for message in conversation.history:
        print(f"{message.role:>9}: {message.content}")
