"""`evakit ask` and `evakit demo`: hear a question, answer it aloud, say how long it took.

What may not live here: the turn itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import anyio
import click
from rich.text import Text

from .. import _threads
from .._turn_input import LONGEST_INPUT
from ..audio import Audio, AudioWriter
from ..conversation import AsyncConversation
from ..errors import StorageError
from ..events import Reply, TokenGenerated, TranscriptReady
from ..settings import SETTINGS
from ..timings import TurnTimings
from .console import (
    backend_json,
    err,
    fetch_bars,
    json_option,
    out,
    print_json,
    print_table,
)
from .options import settings_options
from .playback import play

__all__ = ["ask", "demo"]

_STAGES = ("stt", "llm", "tts")


@click.command()
@click.argument("question", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="reply.wav",
    show_default=True,
    help="Where the spoken reply goes (.wav, .mp3, .flac or .ogg).",
)
@settings_options(*SETTINGS)
@json_option
def ask(question: str, output: str, as_json: bool, **choices: Any) -> int:
    """Hear the QUESTION in an audio file, and answer it aloud."""
    return anyio.run(_ask, question, output, as_json, choices)


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="reply.wav",
    show_default=True,
    help="Where the spoken reply goes (.wav, .mp3, .flac or .ogg).",
)
@settings_options(*SETTINGS)
@json_option
def demo(output: str, as_json: bool, **choices: Any) -> int:
    """Hear a question that comes with evakit, and answer it aloud.

    Fetches the three small models of the starter set the first time. Plays the question and
    the reply where there is a speaker.
    """
    with as_file(files(__package__) / "question.wav") as question:
        if not as_json:
            err.print(f"The question: {question}", soft_wrap=True)
            play(Audio.load(question))
        status = anyio.run(_ask, str(question), output, as_json, choices)
    if status == 0 and not as_json and not play(Audio.load(output)):
        err.print("No speaker was found; open the file to hear the reply.")
    return status


async def _ask(question: str, output: str, as_json: bool, choices: dict[str, Any]) -> int:
    _require_writable(output)  # before anything is fetched, loaded or said
    with fetch_bars() as progress:
        conversation = AsyncConversation(progress=progress, **choices)
        # Before the models, so that nothing is fetched for a question that cannot be heard.
        said = await _threads.run(partial(Audio.load, max_duration=LONGEST_INPUT), question)
        await conversation.load()
    async with conversation:
        shown = False
        async with conversation.turn(said) as turn:
            async for event in turn:
                if as_json:
                    continue
                match event:
                    case TranscriptReady(transcript):
                        out.print(_label("Heard:"), transcript.text or "(nothing)")
                    case TokenGenerated(text):
                        if not shown:
                            out.print(_label("Reply:"), end=" ")
                        out.print(text if shown else text.lstrip(), end="")
                        shown = True
                    case _:
                        pass
        if shown:
            out.print()
        reply = turn.reply
        if reply.audio is not None:
            await _threads.run(reply.audio.save, output)
        _report(reply, conversation, said, output, as_json)
    if not reply.heard:
        err.print(
            f"Nothing was heard in {question}: it holds no speech; record it again, closer to "
            "the microphone.",
            soft_wrap=True,
        )
        return 1
    return 0


def _require_writable(output: str) -> None:
    AudioWriter(output)  # refuses an ending that names no kind of file
    folder = Path(output).parent
    if not os.access(folder, os.W_OK):
        raise StorageError(
            f"{output} cannot be written (the folder {folder} is missing or read-only); "
            "choose another folder."
        )


def _label(text: str) -> Text:
    return Text(text, style="bold")


def _report(
    reply: Reply, conversation: AsyncConversation, said: Audio, output: str, as_json: bool
) -> None:
    backends = conversation.backends
    if as_json:
        print_json(
            {
                "heard": reply.heard,
                "language": reply.transcript.language if reply.transcript else None,
                "reply": reply.text,
                "audio": None if reply.audio is None else output,
                "input_s": round(said.duration, 3),
                "timings": _timings(reply.timings),
                "backends": {
                    stage: backend_json(backends[stage]) for stage in _STAGES if stage in backends
                },
            }
        )
        return
    timings = reply.timings
    reached = {
        "stt": ("transcript", timings.transcription_delay),
        "llm": ("first token", timings.first_token_delay),
        "tts": ("first audio", timings.first_audio_delay),
    }
    rows = [
        (
            stage,
            f"{backends[stage].name} {backends[stage].model or ''}".strip(),
            backends[stage].label,
            f"{reached[stage][0]} after {_seconds(reached[stage][1])}",
        )
        for stage in _STAGES
        if stage in backends
    ]
    out.print()
    print_table(("stage", "backend", "runs on", "from the end of the question"), rows)
    out.print(f"All of it after {_seconds(timings.total_delay)}.")
    _tell_degraded({stage: loaded.degraded for stage, loaded in backends.items()})
    if reply.audio is not None:
        out.print(f"{reply.audio.duration:.1f} s of speech are in {output}", soft_wrap=True)


def _tell_degraded(stages: Mapping[str, str | None]) -> None:
    """Say once for each reason what is on the CPU for it though a GPU was preferred."""
    reasons: dict[str, list[str]] = {}
    for stage in _STAGES:
        reason = stages.get(stage)
        if reason is not None:
            reasons.setdefault(reason, []).append(stage)
    for reason, names in reasons.items():
        out.print(f"Degraded to the CPU ({', '.join(names)}): {reason}.", soft_wrap=True)
    if reasons:
        err.print("'evakit doctor' says what cures that; --device cpu asks for the CPU.")


def _timings(timings: TurnTimings) -> dict[str, float | None]:
    delays = {
        "transcription_s": timings.transcription_delay,
        "first_token_s": timings.first_token_delay,
        "first_audio_s": timings.first_audio_delay,
        "total_s": timings.total_delay,
    }
    return {name: None if d is None else round(d, 4) for name, d in delays.items()}


def _seconds(delay: float | None) -> str:
    return "-" if delay is None else f"{delay:.2f} s"
