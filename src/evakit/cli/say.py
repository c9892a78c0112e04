"""`evakit say`: text to an audio file.

What may not live here: clauses and synthesis.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import anyio
import click

from .. import _threads
from .._failures import ungrouped
from .._speaker import Speaker
from ..audio import AudioWriter
from ..clauses import Clause, split_clauses
from ..errors import ConfigurationError
from ..stack import Stack
from .console import backend_json, fetch_bars, json_option, out, print_json, working
from .options import settings_options

__all__ = ["say"]


@click.command()
@click.argument("text")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False),
    help="Where the speech goes (.wav, .mp3, .flac or .ogg).",
)
@settings_options("tts", "voice", "language", "device")
@json_option
def say(text: str, output: str, as_json: bool, **choices: Any) -> None:
    """Speak TEXT into an audio file; `-` reads it from standard input."""
    if text == "-":
        text = sys.stdin.read()
    anyio.run(_say, text, output, as_json, choices)


async def _say(text: str, output: str, as_json: bool, choices: dict[str, Any]) -> None:
    with fetch_bars() as progress:
        stack = Stack(stt=None, llm=None, progress=progress, **choices)
        # The language of the text, if there is but one that it can be.
        language = stack.languages[0] if len(stack.languages) == 1 else None
        clauses = split_clauses(text, language)
        if not any(clause.text for clause in clauses):
            raise ConfigurationError(
                f"There is nothing to say in {text[:60]!r}; give it some words."
            )
        await stack.load()
    async with stack:
        started = time.perf_counter()
        duration, first = 0.0, None
        with ungrouped(), AudioWriter(output) as file, working("Speaking") as tell:
            async with (
                stack.speaker(language=language) as speaker,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_write, speaker, clauses, tell)
                async for speech in speaker:
                    first = first or time.perf_counter() - started
                    await _threads.run(file.write, speech.audio)
                    duration += speech.audio.duration
        elapsed = time.perf_counter() - started
        loaded = stack.backends["tts"]
    if as_json:
        print_json(
            {
                "audio": output,
                "duration_s": round(duration, 3),
                "first_audio_s": None if first is None else round(first, 4),
                "elapsed_s": round(elapsed, 3),
                "backend": backend_json(loaded),
            }
        )
    else:
        out.print(
            f"{duration:.1f} s of speech are in {output} "
            f"({loaded.name} on {loaded.label}, {elapsed:.1f} s)",
            soft_wrap=True,
        )


async def _write(speaker: Speaker, clauses: list[Clause], tell: Callable[[str], None]) -> None:
    for number, clause in enumerate(clauses, 1):
        await speaker.write(clause)
        tell(f"Speaking: clause {number} of {len(clauses)}")
    await speaker.end()
