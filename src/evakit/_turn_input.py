"""What a turn can begin with: what a user said, in any form, or what the assistant says unasked.

What may not live here: decoding audio (`audio.py`), and running functions (`_foreign.py`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Mapping
from functools import partial
from typing import Final

from . import _threads
from ._functions import FunctionLLM, Texts
from .abc import LLMRequest
from .audio import Audio, AudioSource
from .errors import AudioError, ConfigurationError

__all__ = ["LONGEST_INPUT", "TurnInput", "hear", "load", "saying"]

TurnInput = Audio | AudioSource | str
"""What a user's turn can be given as: audio of any form is heard, a str is read as text."""

LONGEST_INPUT: Final = 600.0
"""Seconds; longer recordings are transcribed, not answered."""


async def hear(said: TurnInput) -> Audio | str:
    """Return what was said as audio or text.

    Raises:
        AudioError: it cannot be read, or is too long to be a question.
        ConfigurationError: it is nothing that can be heard or read.

    """
    if isinstance(said, str):
        return said
    audio = await load(said, max_duration=LONGEST_INPUT)
    if audio.duration > LONGEST_INPUT:
        raise AudioError(
            f"{audio.duration:.0f} s of speech is too much for one turn (the most is "
            f"{LONGEST_INPUT:.0f} s); transcribe recordings with Stack.transcribe instead."
        )
    return audio


async def load(audio: Audio | AudioSource, *, max_duration: float = 4 * 3600.0) -> Audio:
    """Return audio of any form as an Audio; it is read in a thread.

    Raises:
        AudioError: it cannot be read, or is too long.
        ConfigurationError: it is nothing that can be heard.

    """
    if isinstance(audio, Audio):
        return audio
    if not isinstance(audio, os.PathLike | bytes | bytearray | memoryview) and not hasattr(
        audio, "read"
    ):
        raise ConfigurationError(
            "What is heard is an Audio, a path (pathlib.Path), bytes or a file, "
            f"not {type(audio).__name__}."
        )
    return await _threads.run(partial(Audio.load, max_duration=max_duration), audio)


def saying(text: Texts) -> FunctionLLM:
    """Return what stands in the LLM's place when `text` is said unasked.

    Raises:
        ConfigurationError: it is no text, or an empty one.

    """
    if isinstance(text, str):
        if not text.strip():
            raise ConfigurationError("There is nothing to say: the text given to say() is empty.")
    elif not isinstance(text, Iterable | AsyncIterable) or isinstance(text, bytes | Mapping):
        raise ConfigurationError(
            "say() takes a text, or an iterator or async iterator over pieces of it, "
            f"not {type(text).__name__}."
        )

    async def give(_: LLMRequest) -> Texts:
        return text

    return FunctionLLM(give, name="say()")
