"""Watch a conversation from the side: an observer is told of each event and cannot disturb it.

python examples/observer.py
"""

from __future__ import annotations

from collections import Counter

import evakit
from evakit.events import Event


class Statistics:
    """Counts events and keeps how long each turn took; keeps nothing of what was said."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.first_audio_delays: list[float | None] = []

    @evakit.hookimpl
    def evakit_observe(self, event: Event, conversation_id: str) -> None:
        """Look at one event; called on the event loop's thread, so it must be quick."""
        del conversation_id  # tells conversations apart where several share the observer
        self.events[type(event).__name__] += 1
        if isinstance(event, evakit.TurnFinished | evakit.TurnInterrupted):
            self.first_audio_delays.append(event.reply.timings.first_audio_delay)


def main() -> None:
    """Hold a short conversation under observation."""
    statistics = Statistics()
    with evakit.Conversation(stt=None, observers=[statistics]) as conversation:
        conversation.respond("What is the capital of France?")
        conversation.respond("And of Italy?")
    for name, count in statistics.events.items():
        print(f"{name}: {count}")
    print("delays to the first audio:", statistics.first_audio_delays)


if __name__ == "__main__":
    main()
