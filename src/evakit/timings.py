"""TurnTimings: when each stage of a turn got where, on one clock, and the delays between.

Instants (`..._at`) are seconds of one monotonic clock; delays are seconds; what did not
happen is None. What may not live here: reading a clock.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["TurnTimings"]


def _delay(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


@frozen(kw_only=True)
class TurnTimings:
    """The instants of one turn; models were loaded before the first of them."""

    input_complete_at: float
    """All of the user's audio or text had arrived."""
    transcribed_at: float | None = None
    """The final transcript was known; None for a turn of text."""
    llm_requested_at: float | None = None
    """The LLM was given its request."""
    first_token_at: float | None = None
    """The first text of the reply arrived."""
    last_token_at: float | None = None
    """The reply's text was complete."""
    first_clause_at: float | None = None
    """The first clause was handed to the TTS."""
    first_audio_at: float | None = None
    """The first audio of the reply was ready to be played."""
    finished_at: float | None = None
    """The turn was over."""

    @property
    def transcription_delay(self) -> float | None:
        """From complete input to final transcript."""
        return _delay(self.input_complete_at, self.transcribed_at)

    @property
    def time_to_first_token(self) -> float | None:
        """From the LLM's request to the first text of the reply (TTFT)."""
        return _delay(self.llm_requested_at, self.first_token_at)

    @property
    def clause_delay(self) -> float | None:
        """From the first text of the reply to its first clause."""
        return _delay(self.first_token_at, self.first_clause_at)

    @property
    def synthesis_delay(self) -> float | None:
        """From the first clause to its first audio."""
        return _delay(self.first_clause_at, self.first_audio_at)

    @property
    def first_token_delay(self) -> float | None:
        """From complete input to the first text of the reply."""
        return _delay(self.input_complete_at, self.first_token_at)

    @property
    def first_audio_delay(self) -> float | None:
        """From complete input to the first audio of the reply: the wait that people feel."""
        return _delay(self.input_complete_at, self.first_audio_at)

    @property
    def total_delay(self) -> float | None:
        """From complete input to the end of the turn."""
        return _delay(self.input_complete_at, self.finished_at)

    def __str__(self) -> str:
        delays = {
            "transcript": self.transcription_delay,
            "first token": self.first_token_delay,
            "first audio": self.first_audio_delay,
            "end": self.total_delay,
        }
        return ", ".join(f"{n} {d:.2f} s" for n, d in delays.items() if d is not None)
