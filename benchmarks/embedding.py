"""What it costs to embed evakit: `python benchmarks/embedding.py [--json]`.

The same turns on scripted backends, which take no time of their own: with async and through the
facade without it, with the LLM and TTS as classes and as plain functions. All variants take turns
within one run, so that their ratios hold whatever else the machine does.
What may not live here: real engines, whose time hides what is measured here.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any, Final

import anyio
import numpy as np

import evakit
from evakit.abc import LLM, LLMRequest, LLMStream, Speech, TTSOptions, TTSSession
from evakit.testing.fakes import ScriptedLLM, ToneTTS

WORDS: Final = 100
TEXT: Final = " ".join(["One two three four five six seven eight nine ten."] * (WORDS // 10))
TONE: Final = evakit.Audio(0.1 * np.sin(np.arange(1600) / 9), 16_000)
ROUNDS: Final = 200


class ClassLLM(ScriptedLLM):
    """The text, word by word, for ever."""

    def reply(self, request: LLMRequest) -> LLMStream:
        """Reply the text once more."""
        self.script.append(TEXT)
        return super().reply(request)


def returns(_: LLMRequest) -> str:
    """Return the text whole."""
    return TEXT


async def awaits(_: LLMRequest) -> str:
    """Return the text whole, on the loop."""
    return TEXT


def generates(_: LLMRequest) -> Iterator[str]:
    """Yield the text word by word, in a thread."""
    for word in TEXT.split():
        yield word + " "


async def generates_async(_: LLMRequest) -> AsyncIterator[str]:
    """Yield the text word by word, on the loop."""
    for word in TEXT.split():
        yield word + " "


class ClassTTS(ToneTTS):
    """One tone a clause."""

    def open(self, options: TTSOptions) -> TTSSession:
        """Start a reply."""
        return _Tones(super().open(options))


class _Tones(TTSSession):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def write(self, text: str) -> None:
        await self._inner.write(text)

    async def end(self) -> None:
        await self._inner.end()

    async def __anext__(self) -> Speech:
        try:
            await self._inner._read.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        return Speech(TONE, clauses=1)


def speaks(_: str) -> evakit.Audio:
    """Return one tone a clause, in a thread."""
    return TONE


async def speaks_async(_: str) -> evakit.Audio:
    """Return one tone a clause, on the loop."""
    return TONE


LLMS: Final[dict[str, Any]] = {
    "class": ClassLLM,
    "async generator": lambda: generates_async,
    "async function": lambda: awaits,
    "generator": lambda: generates,
    "function": lambda: returns,
}
TTSS: Final[dict[str, Any]] = {
    "class": ClassTTS,
    "async function": lambda: speaks_async,
    "function": lambda: speaks,
}


def one(conversation: evakit.Conversation) -> dict[str, float]:
    """Take one turn event by event, without async."""
    start = perf_counter()
    events = 0
    with conversation.turn("Count.") as turn:
        for _ in turn:
            events += 1
    conversation.configure(history=[])
    return {"turn": perf_counter() - start, "events": events} | first(turn.reply)


async def one_async(conversation: evakit.AsyncConversation) -> dict[str, float]:
    """Take one turn event by event."""
    start = perf_counter()
    events = 0
    async with conversation.turn("Count.") as turn:
        async for _ in turn:
            events += 1
    conversation.configure(history=[])
    return {"turn": perf_counter() - start, "events": events} | first(turn.reply)


def first(reply: evakit.Reply) -> dict[str, float]:
    """Return when the first token and the last came, and the first audio after its clause."""
    timings = reply.timings
    delays = {"first_token": timings.time_to_first_token}
    if timings.last_token_at is not None and timings.llm_requested_at is not None:
        delays["last_token"] = timings.last_token_at - timings.llm_requested_at
    if timings.synthesis_delay is not None:
        delays["first_audio"] = timings.synthesis_delay
    return {name: delay for name, delay in delays.items() if delay is not None}


def facade(rounds: int) -> dict[str, dict[str, float]]:
    """Measure turns with async and without, one after the other."""
    text = {"stt": None, "llm": ClassLLM(), "tts": None}
    plain = evakit.Conversation(**text)
    found: dict[str, list[dict[str, float]]] = {"with async": [], "without": []}

    async def with_async() -> None:
        text["llm"] = ClassLLM()
        async with evakit.AsyncConversation(**text) as conversation:
            for _ in range(rounds):
                found["with async"].append(await one_async(conversation))
                found["without"].append(await anyio.to_thread.run_sync(one, plain))

    with plain:
        anyio.run(with_async)
    return {name: medians(rows) for name, rows in found.items()}


def functions(
    rounds: int, stage: str, choices: dict[str, Callable[[], LLM]]
) -> dict[str, dict[str, float]]:
    """Measure turns with each choice for one stage, taking turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in choices}

    async def measure() -> None:
        async with anyio.create_task_group():
            conversations = {
                name: evakit.AsyncConversation(
                    **({"stt": None, "llm": ClassLLM(), "tts": None} | {stage: make()})
                )
                for name, make in choices.items()
            }
            for conversation in conversations.values():
                await conversation.load()
            for _ in range(rounds):
                for name, conversation in conversations.items():
                    found[name].append(await one_async(conversation))
            for conversation in conversations.values():
                await conversation.aclose()

    anyio.run(measure)
    return {name: medians(rows) for name, rows in found.items()}


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each column."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def table(title: str, rows: dict[str, dict[str, float]], *columns: str) -> None:
    """Print microseconds, the first row's ratio to the others beside them."""
    print(f"\n{title}")
    print(f"{'':<18}" + "".join(f"{c.replace('_', ' '):>24}" for c in columns))
    base = next(iter(rows.values()))
    for name, row in rows.items():
        cells = (f"{row[c] * 1e6:,.0f} us ({row[c] / base[c]:.2f}x)" for c in columns)
        print(f"{name:<18}" + "".join(f"{cell:>24}" for cell in cells))


def main() -> None:
    """Measure all of it and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    found = {
        "facade": facade(arguments.rounds),
        "llm": functions(arguments.rounds, "llm", LLMS),
        "tts": functions(arguments.rounds, "tts", TTSS),
    }
    if arguments.json:
        print(json.dumps({"words": WORDS, "rounds": arguments.rounds, "seconds": found}))
        return
    events = found["facade"]["without"]["events"]
    cost = found["facade"]["without"]["turn"] - found["facade"]["with async"]["turn"]
    table(f"A turn of {WORDS} words and {events:.0f} events", found["facade"], "turn")
    print(f"The facade costs {cost / events * 1e6:.0f} us an event.")
    table("The LLM as", found["llm"], "first_token", "last_token", "turn")
    table("The TTS as", found["tts"], "first_audio", "turn")


if __name__ == "__main__":
    main()
