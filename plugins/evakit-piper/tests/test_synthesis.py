"""What a clause becomes: options, speakers and hostile text, on tiny voices."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evakit.abc import TTSOptions
from evakit.audio import Audio
from evakit.errors import ConfigurationError, SynthesisError, UnknownVoiceError
from evakit.voices import VoiceStyle


def speak(tts, text, voice=None) -> Audio:
    return Audio.join(tts.synthesize(text, TTSOptions(voice=voice)), sample_rate=22050)


def pitch(audio: Audio) -> int:
    return int(np.abs(np.fft.rfft(audio.samples, 22050)).argmax())


def test_each_sentence_of_a_clause_is_a_chunk(hum):
    assert len(list(hum.synthesize("Hello there. How are you?", TTSOptions()))) == 2


def test_the_rate_divides_the_duration(tiny, piper):
    path = tiny()
    normal, fast = (len(speak(piper(path, rate=r), "Hello there.")) for r in (1.0, 2.0))
    assert fast == pytest.approx(normal / 2, abs=1)


def test_the_style_of_a_voice_comes_on_top_of_the_options(tiny, piper):
    path = tiny()
    tts = piper(path, rate=2.0, volume=0.5)
    voice = tts.find_voice(str(path))
    styled = evolve(voice, style=VoiceStyle(rate=0.5, volume=0.5))
    plain, own = speak(tts, "Hello there."), speak(tts, "Hello there.", styled)
    assert len(own) == pytest.approx(2 * len(plain), abs=2)
    assert own.peak == pytest.approx(plain.peak / 2, rel=1e-3)


def test_the_volume_is_a_gain_and_stops_at_full_scale(tiny, piper):
    path = tiny(amplitude=0.5)
    normal, half, loud = (speak(piper(path, volume=v), "Hello.") for v in (1.0, 0.5, 4.0))
    assert normal.peak == pytest.approx(0.5, abs=1e-3)
    assert np.array_equal(half.samples, normal.samples * np.float32(0.5))
    assert np.array_equal(loud.samples, np.clip(normal.samples * 4, -1, 1))


def test_a_volume_of_zero_is_silence_of_the_same_length(tiny, piper):
    path = tiny()
    silent, normal = (speak(piper(path, volume=v), "Hello.") for v in (0.0, 1.0))
    assert len(silent) == len(normal)
    assert silent.peak == 0.0


def test_options_and_style_together_may_not_leave_the_range(tiny, piper):
    path = tiny()
    tts = piper(path, rate=4.0)
    voice = evolve(tts.find_voice(str(path)), style=VoiceStyle(rate=2.0))
    with pytest.raises(ConfigurationError, match="rate of 8"):
        speak(tts, "Hello.", voice)


@pytest.mark.parametrize("text", ["...", "…", "—", "", "   ", "\n", "?!", "\x00", '""', "[[ ]]"])
def test_text_with_nothing_to_say_gives_no_audio(hum, text):
    assert list(hum.synthesize(text, TTSOptions())) == []


@pytest.mark.parametrize(
    "text", ["[[ h @ l ]]", "[[hello]] world", "[[[x]]]", "hello [[", "]] b [[ c"]
)
def test_raw_phonemes_in_text_are_read_as_text(hum, text):
    without = text.replace("[", " ").replace("]", " ")
    assert len(speak(hum, text)) == len(speak(hum, without)) > 0


def test_words_that_the_voice_has_no_sounds_for_are_an_error_and_not_silence(
    tiny, piper, configuration
):
    mute = configuration(phoneme_id_map={"^": [1], "$": [2], "_": [0], "1": [3]})
    tts = piper(tiny(configuration={**mute, "phoneme_type": "text"}))
    with pytest.raises(SynthesisError, match="no sounds"):
        speak(tts, "hello")
    assert list(tts.synthesize("...", TTSOptions())) == []


def test_a_voice_that_is_silent_is_an_error(tiny, piper):
    with pytest.raises(SynthesisError, match="no sounds"):
        speak(piper(tiny(amplitude=0.0)), "hello")


def test_a_voice_that_makes_a_few_samples_only_is_an_error(tiny, piper, configuration):
    tts = piper(tiny(configuration=configuration(inference={"length_scale": 0.01})))
    with pytest.raises(SynthesisError, match="no sounds"):
        speak(tts, "hello")


def test_samples_beyond_full_scale_are_clipped(tiny, piper):
    assert speak(piper(tiny(amplitude=3.0)), "hello").peak == 1.0


def test_each_speaker_has_its_own_pitch_and_they_share_a_session(tiny, piper, two_speakers):
    path = tiny(pitches=(0.1, 0.2), configuration=two_speakers)
    tts = piper(path)
    low, high = (tts.find_voice(f"{path}#{name}") for name in ("jessica", "pierre"))
    for voice in (low, high):
        tts.load_voice(voice, {})
    assert len(tts._loaded) == 1
    assert pitch(speak(tts, "Hello there.", low)) == pytest.approx(
        0.1 / (2 * np.pi) * 22050, rel=0.02
    )
    assert pitch(speak(tts, "Hello there.", high)) == pytest.approx(
        0.2 / (2 * np.pi) * 22050, rel=0.02
    )
    assert speak(tts, "Hello there.") == speak(tts, "Hello there.", low)


def test_an_unknown_speaker_is_refused_with_the_list(tiny, piper, two_speakers):
    path = tiny(pitches=(0.1, 0.2), configuration=two_speakers)
    tts = piper(path)
    with pytest.raises(UnknownVoiceError, match="jessica, pierre"):
        tts.load_voice(tts.find_voice(f"{path}#nobody"), {})


def test_a_speaker_of_a_voice_with_only_one_is_refused(tiny, piper):
    path = tiny()
    with pytest.raises(UnknownVoiceError, match="only one"):
        piper(f"{path}#jessica")


def test_a_voice_that_was_not_prepared_is_an_error(hum):
    with pytest.raises(SynthesisError, match="'joe' is not loaded"):
        speak(hum, "Hello.", hum.find_voice("joe"))


def test_a_very_long_clause_is_spoken_in_pieces(hum):
    chunks = list(hum.synthesize("word " * 2000, TTSOptions()))
    assert len(chunks) > 20
    assert max(chunk.duration for chunk in chunks) < 10  # 300 phonemes of 256 samples, padded


def test_ten_thousand_letters_without_a_space_are_spoken(hum):
    assert speak(hum, "你" * 10_000).duration > 60


@pytest.mark.parametrize(
    "text", ["1 2 3", "Привет", "𐤀𐤁", "👍🏽", "a\u200bb", "é" * 50, "<speak>hi", "%"]
)
def test_strange_text_is_spoken(hum, text):
    assert speak(hum, text).duration > 0.02


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=60))
def test_any_text_is_spoken_or_refused(hum, text):
    try:
        audio = speak(hum, text)
    except SynthesisError:
        return
    assert np.isfinite(audio.samples).all()
    assert audio.peak <= 1.0


def test_two_backends_speak_in_two_threads_at_once(tiny, piper):
    path = tiny()
    alone = speak(piper(path), "Hello there, how are you?")
    results: list[Audio] = []

    def work(tts):
        results.extend(speak(tts, "Hello there, how are you?") for _ in range(20))

    threads = [threading.Thread(target=work, args=(piper(path),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    assert all(audio == alone for audio in results)


def test_arabic_gets_its_vowels_without_a_word_on_the_terminal(tiny, piper, configuration, capfd):
    arabic = configuration(espeak={"voice": "ar"}, language={"code": "ar_JO"})
    assert speak(piper(tiny(configuration=arabic)), "مرحبا بك").duration > 0.3
    assert capfd.readouterr() == ("", "")
