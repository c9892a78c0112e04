"""What a turn and a call tell their listeners, and Reply, which sums a turn up.

Frozen and positional, so that `case AudioReady(audio):` works. What may not live here:
behaviour.
"""

from __future__ import annotations

from attrs import frozen

from .audio import Audio
from .timings import TurnTimings
from .transcript import Transcript, Word

__all__ = [
    "AudioReady",
    "ClauseReady",
    "Event",
    "Reply",
    "TokenGenerated",
    "TranscriptReady",
    "TranscriptUpdated",
    "TurnFailed",
    "TurnFinished",
    "TurnInterrupted",
]


@frozen(kw_only=True)
class Reply:
    """A turn that is over."""

    heard: str | None
    """What the user said; "" when nothing was heard, None when the turn was given as text."""
    text: str
    """What the model wrote; "" when nothing was heard."""
    played: str
    """The part of `text` that counts as played; all of it unless the turn was interrupted."""
    audio: Audio | None
    """All of the synthesised speech; None when there was no speech."""
    timings: TurnTimings
    transcript: Transcript | None = None
    """The transcript with its positions and language; None when the turn was given as text."""
    interrupted: bool = False
    """Whether the turn ended before all of it was played."""
    degraded: tuple[str, ...] = ()
    """What ran on the CPU though a GPU was preferred, and why: a sentence each."""


@frozen
class TranscriptUpdated:
    """An interim transcript: a later one may change it."""

    transcript: Transcript


@frozen
class TranscriptReady:
    """The final transcript of what the user said."""

    transcript: Transcript


@frozen
class TokenGenerated:
    """A piece of the reply's text, as the model streams it."""

    text: str


@frozen
class ClauseReady:
    """A clause of the reply, about to be spoken: markup is gone from it."""

    text: str


@frozen
class AudioReady:
    """A chunk of the reply's speech, ready to be played."""

    audio: Audio
    words: tuple[Word, ...] | None = None
    """Where its words lie, in samples from the start of the chunk; None when unknown."""


@frozen
class TurnFinished:
    """The reply is complete; observers see it once the turn's block was left."""

    reply: Reply


@frozen
class TurnFailed:
    """A stage failed and the turn is over. Only observers see it; the user gets the error."""

    error: BaseException
    reply: Reply
    """The turn as far as it came."""


@frozen
class TurnInterrupted:
    """The turn was left before its reply was complete. Only observers see it."""

    reply: Reply


Event = (
    TranscriptUpdated
    | TranscriptReady
    | TokenGenerated
    | ClauseReady
    | AudioReady
    | TurnFinished
    | TurnFailed
    | TurnInterrupted
)
