"""What was heard: Word, Segment and Transcript.

Positions are sample counts from the start of the audio, at `Transcript.sample_rate`.
What may not live here: cleaning up text, scoring, or anything that listens.
"""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["Segment", "Transcript", "Word"]


@frozen
class Word:
    """One word and where it lies in the audio."""

    text: str
    """The word as written, without surrounding white space."""
    start: int
    """First sample."""
    end: int
    """Sample after the last."""
    probability: float | None = None
    """The engine's own confidence in [0, 1]; None when it gives none."""


@frozen
class Segment:
    """A stretch of a transcript, as the engine cut it."""

    text: str
    start: int
    """First sample."""
    end: int
    """Sample after the last."""
    words: tuple[Word, ...] = field(default=(), converter=tuple[Word, ...])


@frozen
class Transcript:
    """The text of an utterance; an empty `text` means that nothing was said."""

    text: str
    segments: tuple[Segment, ...] = field(default=(), converter=tuple[Segment, ...])
    language: str | None = None
    """Language tag such as `fr`; None when it was neither given nor detected."""
    language_probability: float | None = None
    """In [0, 1]; None when the language was not detected."""
    sample_rate: int | None = None
    """Hertz, the unit of every position in here; None when there are no positions."""
    is_final: bool = True
    """False for an interim transcript, which a later one may change."""

    @property
    def words(self) -> tuple[Word, ...]:
        """All words of all segments, in order."""
        return tuple(word for segment in self.segments for word in segment.words)
