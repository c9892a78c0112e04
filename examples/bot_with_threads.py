"""A bot whose own threads bring and take audio: 48 kHz, stereo, 16 bit, 20 ms a packet.

Its receiving thread puts packets into `heard`, its sending thread takes bytes from `spoken`; b""
ends an utterance. Here the main thread is both.

    python examples/bot_with_threads.py
"""

from importlib.resources import files
from queue import SimpleQueue
from threading import Thread

import evakit

PCM = evakit.AudioFormat(48_000, channels=2)  # int16, if no other encoding is named
heard, spoken = SimpleQueue[bytes](), SimpleQueue[bytes]()


def answer() -> None:
    """Answer one utterance, chunk by chunk as it is spoken; b"" is its end."""
    utterance, encoder = b"".join(iter(heard.get, b"")), PCM.encoder()
    with conversation.turn(PCM.decode(utterance)) as turn:
        for chunk in (event.audio for event in turn if isinstance(event, evakit.AudioReady)):
            spoken.put(encoder.encode(chunk))
    spoken.put(encoder.finish())
    spoken.put(b"")


if __name__ == "__main__":
    with evakit.Conversation(voice="joe", language="en") as conversation:
        Thread(target=answer).start()
        question = PCM.encode(evakit.Audio.load(str(files("evakit.cli") / "question.wav")))
        for start in range(0, len(question) + 3840, 3840):  # packets of 20 ms, the last one empty
            heard.put(question[start : start + 3840])
        print(PCM.decode(b"".join(iter(spoken.get, b""))))
