"""Hear the question in an audio file, answer it, save the spoken answer.

Run it as it stands, or with a recording of your own:

    python examples/ask_a_file.py
    python examples/ask_a_file.py my-question.mp3 answer.ogg
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import evakit

OUR_QUESTION = Path(str(files("evakit.cli") / "question.wav"))


def main(question: Path = OUR_QUESTION, answer: Path = Path("answer.wav")) -> None:
    """Answer the question in one file with another file."""
    with evakit.Conversation() as conversation:
        reply = conversation.respond(question)
        if reply.audio is None:
            sys.exit(f"Nothing was heard in {question}.")
        reply.audio.save(answer)
        print("heard: ", reply.heard)
        print("reply: ", reply.text)
        print("delays:", reply.timings)
        for stage, loaded in conversation.backends.items():
            print(f"{stage}: {loaded.name} {loaded.model} runs on {loaded.label}")
    print(f"{reply.audio.duration:.1f} s of speech are in {answer}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
