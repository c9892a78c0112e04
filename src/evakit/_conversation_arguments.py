"""What a conversation is made with: which of it makes no sense, said in one sentence.

What may not live here: values of settings (`_settings_values.py`), and turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .chat import History, Message
from .errors import ConfigurationError
from .stack import Stack

__all__ = ["history_of", "require_stack_alone"]


def require_stack_alone(stack: object, **given: bool) -> None:
    """Check that `stack` is one, and that nothing is given beside it that it has of its own.

    Raises:
        ConfigurationError: it is none, or something is; says what to write instead.

    """
    if not isinstance(stack, Stack):
        raise ConfigurationError(
            f"The first argument of a conversation is a Stack, not a {type(stack).__name__}; "
            'write stt="whisper" (or llm=, tts=), or pass an evakit.Stack.'
        )
    names = [f"{name}=" for name, is_given in given.items() if is_given]
    if names:
        raise ConfigurationError(
            f"{', '.join(names)} would be ignored beside a stack, which has its own backends; "
            "give them to the Stack."
        )


def history_of(history: History | Iterable[Message | Mapping[str, Any]]) -> History:
    """Return what was said before, in any form, as a History.

    Raises:
        ConfigurationError: it is no list of messages.

    """
    return history if isinstance(history, History) else History(history)
