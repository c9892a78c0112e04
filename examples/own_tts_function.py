"""A voice of your own is a function: from a clause of text to its audio.

Put the call of your engine where this one whistles a note for each letter.

    python examples/own_tts_function.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import evakit


def whistle(text: str) -> Iterator[evakit.Audio]:
    """Whistle a text, word by word, so that the first note is there at once."""
    for word in text.split():
        notes = np.repeat([220 * 2 ** (ord(letter) % 12 / 12) for letter in word], 1_600)
        yield evakit.Audio(0.2 * np.sin(2 * np.pi * np.cumsum(notes) / 16_000), 16_000)


with evakit.Conversation(stt=None, tts=whistle) as conversation:
    reply = conversation.respond("What is the capital of France?")
    reply.audio.save("whistled.wav")
    print(f"{reply.text!r} was whistled in {reply.audio.duration:.1f} s")
