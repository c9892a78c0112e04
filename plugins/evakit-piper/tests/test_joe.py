"""The real voice: speech comes out, as long and as loud as it should be."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evakit.abc import TTSOptions
from evakit.audio import Audio
from evakit.errors import SynthesisError
from evakit.voices import VoiceStyle

_SENTENCE = "The quick brown fox jumps over the lazy dog."


def speak(tts, text, **style) -> Audio:
    voice = evolve(tts.voices[0], style=VoiceStyle(**style))
    return Audio.join(tts.synthesize(text, TTSOptions(voice=voice)), sample_rate=22050)


def test_a_sentence_lasts_as_long_as_a_person_would_take(joe):
    audio = speak(joe, _SENTENCE)
    assert audio.sample_rate == 22050
    assert audio.samples.dtype == np.float32
    assert np.isfinite(audio.samples).all()
    assert 0.1 < audio.peak <= 1.0
    assert 10 < len(_SENTENCE) / audio.duration < 25  # characters a second


def test_more_words_take_longer(joe):
    durations = [speak(joe, " ".join(["hello"] * n) + ".").duration for n in (1, 3, 9)]
    assert durations == sorted(durations)
    assert durations[2] > 2.5 * durations[0]


def test_without_variation_the_same_text_sounds_the_same(joe):
    assert speak(joe, "Hello there.") == speak(joe, "Hello there.")


def test_the_variation_of_the_voice_itself_differs_each_time(joe):
    assert speak(joe, "Hello there.", variation=0.667) != speak(
        joe, "Hello there.", variation=0.667
    )


@pytest.mark.parametrize(("rate", "low", "high"), [(2.0, 0.4, 0.62), (0.5, 1.7, 2.2)])
def test_the_rate_changes_the_duration(joe, rate, low, high):
    assert low < speak(joe, _SENTENCE, rate=rate).duration / speak(joe, _SENTENCE).duration < high


def test_the_volume_is_exact(joe):
    normal = speak(joe, "Hello there.")
    assert np.array_equal(
        speak(joe, "Hello there.", volume=0.5).samples, normal.samples * np.float32(0.5)
    )


def test_short_and_long_clauses_are_equally_loud(joe):
    """Clause-wise normalisation would stretch each to full scale; the voice's own level is even."""
    levels = []
    for text in ("Yes.", "Hello there.", _SENTENCE, "I am sorry, but I cannot do that!"):
        samples = speak(joe, text).samples
        voiced = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
        levels.append(20 * np.log10(np.sqrt(np.mean(voiced**2))))
    assert max(levels) - min(levels) < 4  # dB
    assert -30 < min(levels) < max(levels) < -12


def test_nothing_to_say_gives_no_audio(joe):
    assert [len(speak(joe, text)) for text in ("...", "—", "  ")] == [0, 0, 0]


def test_compute_runs_where_it_was_asked_for(joe):
    assert str(joe.placement()) == "cpu"
    assert "Conv" in joe.placement().observed


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=12))
def test_any_text_is_spoken_or_refused(joe, text):
    try:
        audio = speak(joe, text)
    except SynthesisError:
        return
    assert np.isfinite(audio.samples).all()
