"""A TTS of your own, passed as an object: no plugin, no registration.

It spells: one tone a letter, higher for later letters. `examples/evakit-beep` shows the same
as a plugin that others choose by name.

    python examples/own_tts_backend.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import evakit
from evakit.abc import BlockingTTS, TTSOptions

RATE = 16_000  # hertz


class SpellingTTS(BlockingTTS):
    """Speaks each letter as a tone; one chunk of audio a word."""

    def __init__(self, seconds_per_letter: float = 0.06) -> None:
        self.instants = np.arange(int(seconds_per_letter * RATE)) / RATE

    def synthesize(self, text: str, options: TTSOptions) -> Iterator[evakit.Audio]:
        """Yield the speech of one clause. Runs in a worker thread, so it may block."""
        del options  # a real voice would look at options.voice and options.language
        for word in text.split():
            tones = [
                0.2 * np.sin(2 * np.pi * (220 + 20 * (ord(letter) - ord("a"))) * self.instants)
                for letter in word.lower()
                if letter.isalpha()
            ]
            if tones:
                yield evakit.Audio(np.concatenate(tones), RATE)


def main() -> None:
    """Answer a typed question in tones."""
    with evakit.Conversation(stt=None, tts=SpellingTTS()) as conversation:
        reply = conversation.respond("What is the capital of France?")
        print(reply.text)
        if reply.audio is not None:
            reply.audio.save("spelled.wav")
            print(f"spelled in {reply.audio.duration:.1f} s, in spelled.wav")


if __name__ == "__main__":
    main()
