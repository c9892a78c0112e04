"""TurnTimings: instants in, delays out."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.timings import TurnTimings

FULL = TurnTimings(
    input_complete_at=100.0,
    transcribed_at=100.5,
    llm_requested_at=100.75,
    first_token_at=101.0,
    last_token_at=103.0,
    first_clause_at=101.25,
    first_audio_at=101.75,
    finished_at=104.0,
)
DELAYS = [name for name in vars(TurnTimings) if name.endswith("_delay") or name.startswith("time_")]


def test_each_delay_lies_between_its_two_instants():
    assert {name: getattr(FULL, name) for name in DELAYS} == {
        "transcription_delay": 0.5,
        "time_to_first_token": 0.25,
        "clause_delay": 0.25,
        "synthesis_delay": 0.5,
        "first_token_delay": 1.0,
        "first_audio_delay": 1.75,
        "total_delay": 4.0,
    }


@pytest.mark.parametrize("name", DELAYS)
def test_what_did_not_happen_has_no_delay(name):
    assert getattr(TurnTimings(input_complete_at=1.0), name) is None


@given(st.floats(-1e6, 1e6))
def test_delays_do_not_depend_on_where_the_clock_started(shift):
    moved = TurnTimings(**{k: v + shift for k, v in attrs.asdict(FULL).items()})
    for name in DELAYS:
        assert getattr(moved, name) == pytest.approx(getattr(FULL, name), abs=1e-6)


def test_the_line_for_people_says_only_what_happened():
    assert str(FULL) == "transcript 0.50 s, first token 1.00 s, first audio 1.75 s, end 4.00 s"
    assert str(TurnTimings(input_complete_at=0.0, finished_at=1.0)) == "end 1.00 s"
    assert str(TurnTimings(input_complete_at=0.0)) == ""
