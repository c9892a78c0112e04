"""Record while a button is held, then answer: for a robot, a kiosk, a walkie-talkie.

The three functions are what a button's and a microphone's library call, from threads of theirs
(gpiozero: `button.when_pressed = press`). Here a file plays the microphone.

    python examples/push_to_talk.py
"""

from __future__ import annotations

from importlib.resources import files

import evakit

conversation = evakit.Conversation(voice="joe", language="en")
microphone = evakit.AudioFormat(16_000)  # 16-bit samples, one channel
recorded: list[bytes] = []


def press() -> None:
    """Begin to listen."""
    recorded.clear()


def record(samples: bytes) -> None:
    """Keep what the microphone hears while the button is held."""
    recorded.append(samples)


def release() -> None:
    """Answer what was recorded."""
    reply = conversation.respond(microphone.decode(b"".join(recorded)))
    print(reply.heard, "->", reply.text)
    reply.audio.save("answer.wav")  # or play it


if __name__ == "__main__":
    with conversation:  # loads, so that the first answer is as quick as the others
        press()
        record(microphone.encode(evakit.Audio.load(str(files("evakit.cli") / "question.wav"))))
        release()
