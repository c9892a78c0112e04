"""evakit: turn any Python program into a voice conversation.

    import evakit

    with evakit.Conversation() as conversation:
        reply = conversation.respond("What is the tallest mountain?")
        reply.audio.save("answer.mp3")

Names are imported when they are first used, so that `import evakit` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._logging import keep_quiet

if TYPE_CHECKING:
    from . import abc, devices, errors, settings
    from ._choices import backend
    from ._loaded import LoadedBackend
    from ._sync import Conversation, Turn
    from ._turn import AsyncTurn
    from .audio import Audio, AudioFormat, AudioWriter
    from .chat import History, Message, Role, ToolCall
    from .clauses import Clause, ClauseSplitter, split_clauses
    from .conversation import AsyncConversation
    from .errors import EvakitError
    from .events import (
        AudioReady,
        ClauseReady,
        Event,
        Reply,
        TokenGenerated,
        TranscriptReady,
        TranscriptUpdated,
        TurnFailed,
        TurnFinished,
        TurnInterrupted,
    )
    from .hookspecs import hookimpl
    from .models import Model, ModelFile, ModelStore
    from .registry import BackendSpec, Registry
    from .stack import Stack
    from .timings import TurnTimings
    from .transcript import Segment, Transcript, Word
    from .voices import Voice, VoiceStyle

__version__ = "0.1.0"

# What evakit logs is the program's to show or not; nothing is printed unasked.
keep_quiet()

# Where each public name lives.
_HOMES = {
    "AsyncConversation": "conversation",
    "AsyncTurn": "_turn",
    "Audio": "audio",
    "AudioFormat": "audio",
    "AudioReady": "events",
    "AudioWriter": "audio",
    "BackendSpec": "registry",
    "Clause": "clauses",
    "ClauseReady": "events",
    "ClauseSplitter": "clauses",
    "Conversation": "_sync",
    "EvakitError": "errors",
    "Event": "events",
    "History": "chat",
    "LoadedBackend": "_loaded",
    "Message": "chat",
    "Model": "models",
    "ModelFile": "models",
    "ModelStore": "models",
    "Registry": "registry",
    "Reply": "events",
    "Role": "chat",
    "Segment": "transcript",
    "Stack": "stack",
    "TokenGenerated": "events",
    "ToolCall": "chat",
    "Transcript": "transcript",
    "TranscriptReady": "events",
    "TranscriptUpdated": "events",
    "Turn": "_sync",
    "TurnFailed": "events",
    "TurnFinished": "events",
    "TurnInterrupted": "events",
    "TurnTimings": "timings",
    "Voice": "voices",
    "VoiceStyle": "voices",
    "Word": "transcript",
    "backend": "_choices",
    "hookimpl": "hookspecs",
    "split_clauses": "clauses",
}

__all__ = [
    "AsyncConversation",
    "AsyncTurn",
    "Audio",
    "AudioFormat",
    "AudioReady",
    "AudioWriter",
    "BackendSpec",
    "Clause",
    "ClauseReady",
    "ClauseSplitter",
    "Conversation",
    "EvakitError",
    "Event",
    "History",
    "LoadedBackend",
    "Message",
    "Model",
    "ModelFile",
    "ModelStore",
    "Registry",
    "Reply",
    "Role",
    "Segment",
    "Stack",
    "TokenGenerated",
    "ToolCall",
    "Transcript",
    "TranscriptReady",
    "TranscriptUpdated",
    "Turn",
    "TurnFailed",
    "TurnFinished",
    "TurnInterrupted",
    "TurnTimings",
    "Voice",
    "VoiceStyle",
    "Word",
    "abc",
    "backend",
    "devices",
    "errors",
    "hookimpl",
    "settings",
    "split_clauses",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name in {"abc", "devices", "errors", "settings"}:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'evakit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
