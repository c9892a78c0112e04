"""`evakit transcribe`: audio files to text.

What may not live here: the transcription itself.
"""

from __future__ import annotations

import time
from typing import Any

import anyio
import click

from .. import _threads
from ..audio import Audio
from ..errors import AudioError, BackendError
from ..stack import Stack
from .console import err, fetch_bars, json_option, out, print_json, working
from .options import settings_options

__all__ = ["transcribe"]


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@settings_options("stt", "language", "device")
@json_option
def transcribe(paths: tuple[str, ...], as_json: bool, **choices: Any) -> int:
    """Write down what is said in each FILE.

    A file that cannot be used is named and passed over; the exit status is then 1.
    """
    return anyio.run(_transcribe, paths, as_json, choices)


async def _transcribe(paths: tuple[str, ...], as_json: bool, choices: dict[str, Any]) -> int:
    status = 0
    with fetch_bars() as progress:
        stack = Stack(llm=None, tts=None, progress=progress, **choices)
        await stack.load()
    async with stack:
        for path in paths:
            try:
                await _one(stack, path, as_json, many=len(paths) > 1)
            except (AudioError, BackendError) as error:
                err.print(f"Error: {error}", soft_wrap=True)
                status = 1
    return status


async def _one(stack: Stack, path: str, as_json: bool, *, many: bool) -> None:
    started = time.perf_counter()
    with working(f"Listening to {path}"):
        audio = await _threads.run(Audio.load, path)
        transcript = await stack.transcribe(audio)
    elapsed = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "path": path,
                "text": transcript.text,
                "language": transcript.language,
                "input_s": round(audio.duration, 3),
                "elapsed_s": round(elapsed, 3),
            }
        )
    else:
        out.print(f"{path}: {transcript.text}" if many else transcript.text, soft_wrap=True)
    if not transcript.text:
        err.print(f"Nothing was heard in {path}: it holds no speech.", soft_wrap=True)
