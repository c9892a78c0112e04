"""Voices by name, and the models that they need."""

from __future__ import annotations

import json

import pytest

from evakit.errors import ConfigurationError, ModelError, UnknownOptionError, UnknownVoiceError
from evakit.models import HubSource, WheelSource
from evakit.plugins import discover
from evakit.voices import Voice
from evakit_piper import PiperTTS
from evakit_piper._models import JOE, MODELS, voice_files
from evakit_piper._voices import VoiceName


def test_the_plugin_is_discovered_with_its_voices_and_models():
    spec = discover().get("tts", "piper")
    assert spec.distribution == "evakit-piper"
    assert spec.missing() is None
    assert [v.name for v in spec.voices] == ["joe", "siwis", "upmc", "tom", "gilles"]
    assert {v.model for v in spec.voices} == {m.name for m in spec.models}
    assert isinstance(spec.create("siwis", rate=1.2), PiperTTS)
    with pytest.raises(UnknownOptionError, match="'rate'"):
        spec.create(rat=1.2)


def test_joe_is_the_starter_and_comes_from_the_hub_or_a_wheel():
    assert [m.name for m in MODELS if m.starter] == ["piper:joe"]
    hub, wheel = JOE.files[0].sources
    assert isinstance(hub, HubSource)
    assert hub.path == "en/en_US/joe/medium/en_US-joe-medium.onnx"
    assert len(hub.revision) == 40
    assert isinstance(wheel, WheelSource)
    assert JOE.licence == "CC0-1.0"


@pytest.mark.parametrize("name", ["joe", "en_US-joe-medium"])
def test_a_short_and_a_full_name_share_one_model(name):
    voice = PiperTTS().find_voice(name)
    assert voice.name == name
    assert voice.speaks("en")
    assert not voice.speaks("fr")
    assert PiperTTS().voice_models(voice) == (JOE,)


def test_any_voice_of_piper_is_found_by_its_full_name(tmp_path):
    tts = PiperTTS()
    voice = tts.find_voice("pt_BR-faber-medium")
    assert voice.language == "pt-BR"
    (model,) = tts.voice_models(voice)
    assert model.name == "piper:pt_BR-faber-medium"
    assert model.listing is not None
    assert model.listing.patterns == (
        "pt/pt_BR/faber/medium/pt_BR-faber-medium.onnx",
        "pt/pt_BR/faber/medium/pt_BR-faber-medium.onnx.json",
    )
    assert [p.relative_to(tmp_path).as_posix() for p in voice_files(model, tmp_path)] == list(
        model.listing.patterns
    )


def test_a_speaker_shares_the_model_of_its_voice():
    tts = PiperTTS("upmc#pierre")
    (first, *others) = tts.voices
    assert first.name == "upmc#pierre"
    assert first.language == "fr-FR"
    assert [m.name for m in tts.voice_models(first)] == ["piper:upmc"]
    assert [v.name for v in others] == ["joe", "siwis", "upmc", "tom", "gilles"]


@pytest.mark.parametrize(
    "name", ["joey", "", "#", "en_US-joe", "../../etc/passwd", "fr_FR-siwis-loud", "joe\n"]
)
def test_an_unknown_voice_is_refused_with_the_list(name):
    with pytest.raises(UnknownVoiceError, match="joe, siwis, upmc, tom, gilles"):
        PiperTTS().find_voice(name)


def test_an_unknown_default_voice_is_refused_when_the_backend_is_made():
    with pytest.raises(UnknownVoiceError, match="'joey'"):
        PiperTTS("joey")


def test_a_voice_of_another_engine_is_refused():
    other = Voice(name="x", language="en", model="kokoro:x")
    with pytest.raises(UnknownVoiceError, match="kokoro:x"):
        PiperTTS().voice_models(other)


@pytest.mark.parametrize(
    ("text", "base", "speaker"),
    [
        ("joe", "joe", None),
        ("upmc#pierre", "upmc", "pierre"),
        ("/a#b/c.onnx", "/a#b/c.onnx", None),
        ("/a#b/c.onnx#p3", "/a#b/c.onnx", "p3"),
        ("joe#", "joe#", None),
    ],
)
def test_a_name_is_taken_apart(text, base, speaker):
    assert VoiceName.parse(text) == VoiceName(base, speaker)


def test_a_file_of_ones_own_says_its_language(tiny, configuration):
    path = tiny()
    voice = PiperTTS().find_voice(str(path))
    assert (voice.language, voice.model) == ("en-US", None)
    assert PiperTTS().voice_models(voice) == ()
    assert PiperTTS(str(path)).models() == ()


@pytest.mark.parametrize(
    ("espeak", "language"),
    [("fr", "fr"), ("en-us", "en-US"), ("gmw/en-GB-x-rp", "en-GB"), ("vi-vn-x-central", "vi-VN")],
)
def test_an_old_configuration_says_its_language_through_espeak(
    tiny, configuration, espeak, language
):
    settings = configuration(espeak={"voice": espeak})
    del settings["language"]
    assert PiperTTS().find_voice(str(tiny(configuration=settings))).language == language


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(UnknownVoiceError, match=r"absent\.onnx"):
        PiperTTS().find_voice(str(tmp_path / "absent.onnx"))


def test_a_file_without_its_configuration_is_refused(tiny):
    path = tiny()
    path.with_name(f"{path.name}.json").unlink()
    with pytest.raises(ModelError, match="configuration"):
        PiperTTS().find_voice(str(path))


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff", json.dumps({"espeak": 3}), "{}"])
def test_a_configuration_that_makes_no_sense_is_refused(tiny, content):
    path = tiny()
    path.with_name(f"{path.name}.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match=r"tiny\.onnx\.json"):
        PiperTTS().find_voice(str(path))


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0},
        {"rate": -1},
        {"rate": float("nan")},
        {"rate": 100},
        {"rate": "fast"},
        {"variation": -0.1},
        {"variation": 3},
        {"volume": -1},
        {"volume": float("inf")},
        {"volume": True},
    ],
)
def test_an_option_out_of_range_is_refused_when_the_backend_is_made(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        PiperTTS(**options)
