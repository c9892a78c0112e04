"""The real voice: speech comes out, as long and as loud as it should be."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evakit.abc import Strength, TTSOptions
from evakit.audio import Audio
from evakit.devices.device import CPU
from evakit.errors import SynthesisError
from evakit.voices import VoiceStyle
from evakit_piper._engine import _WARM_UP

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


def test_where_its_compute_runs_is_seen(joe):
    observed, declared = joe.evidence()
    assert (observed.device, observed.strength, observed.share) == (CPU, Strength.OBSERVED, None)
    assert "put 158 of 158 compute operators of en_US-joe-medium on CPU" in observed.says
    assert "129 Conv, 26 MatMul, 3 ConvTranspose" in observed.says
    assert (declared.device, declared.strength) == (CPU, Strength.DECLARED)
    assert joe.quick_check() == CPU


def test_a_warm_up_speaks_in_three_lengths_faster_than_a_person(joe):
    (loaded,) = joe._loaded.values()
    lengths = [len(loaded.say(text)) for text in _WARM_UP]
    assert lengths == sorted(lengths)
    assert lengths[2] > 2 * lengths[0]
    done = joe.warm_up_model()
    assert done.amount == pytest.approx(sum(lengths) / 22050, rel=0.3)  # noise in the durations
    assert done.unit == "s of audio"
    assert done.rate > 1


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
