"""Take a reply piece by piece as it is made, and interrupt the second one half way.

A program with a loudspeaker plays each chunk where this one counts it.

    python examples/stream_events.py
"""

from __future__ import annotations

import evakit


def main() -> None:
    """Stream one whole reply, then leave another after its first chunk of speech."""
    with evakit.Conversation(stt=None, voice="joe") as conversation:
        with conversation.turn("What is the capital of France?") as turn:
            for event in turn:
                match event:
                    case evakit.TokenGenerated(text):
                        print(f"token:  {text!r}")
                    case evakit.ClauseReady(text):
                        print(f"clause: {text!r} goes to the voice")
                    case evakit.AudioReady(audio):
                        print(f"audio:  {audio!r}")
                    case evakit.TurnFinished(reply):
                        print(f"done:   {reply.timings}")

        with conversation.turn("Tell me a long story about a fox.") as turn:
            for event in turn:
                if isinstance(event, evakit.AudioReady):
                    turn.played(len(event.audio) // 2)  # the listener heard half of the chunk
                    break  # ... and spoke up: leaving the block stops all work behind the reply
        print(f"interrupted: {turn.reply.interrupted}, heard: {turn.reply.played!r}")
        print(f"remembered:  {conversation.history[-1]}")


if __name__ == "__main__":
    main()
