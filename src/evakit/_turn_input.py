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

__all__ = ["LONGEST_INPUT", "TurnInput", "hear", "saying"]

TurnInput = Audio | AudioSource | str
"""What a user's turn can be given as: audio of any form is heard, a str is read as text."""

LONGEST_INPUT: Final = 600.0
"""Seconds; longer recordings are transcribed, not answered."""


async def hear(said: TurnInput) -> Audio | str:
    """Return what was said as audio or text.

    Raises:
        AudioError: it cannot be read, or is too long to be a question.

    """
    if not isinstance(said, Audio | str):
        if not isinstance(said, os.PathLike | bytes) and not hasattr(said, "read"):
            raise ConfigurationError(
                "A turn is an Audio, a path, bytes or a file (heard), or a str (read), "
                f"not {type(said).__name__}."
            )
        said = await _threads.run(partial(Audio.load, max_duration=LONGEST_INPUT), said)
    if isinstance(said, Audio) and said.duration > LONGEST_INPUT:
        raise AudioError(
            f"{said.duration:.0f} s of speech is too much for one turn (the most is "
            f"{LONGEST_INPUT:.0f} s); transcribe recordings with Stack.transcribe instead."
        )
    return said


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
