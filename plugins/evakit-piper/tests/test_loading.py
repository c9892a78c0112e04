"""Loading and unloading: what is refused, and what is imported when."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys

import psutil
import pytest

from evakit.abc import LoadContext, TTSOptions
from evakit.errors import BackendUnavailableError, DeviceError, ModelError, SynthesisError
from evakit_piper import PiperTTS
from evakit_piper._models import JOE


def test_an_engine_that_is_not_installed_is_named_with_what_to_do(tiny, piper, monkeypatch):
    monkeypatch.setitem(sys.modules, "piper", None)  # what the import system does with None: refuse
    with pytest.raises(BackendUnavailableError, match="pip install evakit-piper"):
        piper(tiny())


@pytest.mark.parametrize("size", [0, 100, 400])
def test_a_damaged_graph_is_refused(tiny, piper, size, capfd):
    path = tiny()
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="cannot speak") as caught:
        piper(path)
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_is_not_a_voice_is_refused(tiny, piper, configuration, capfd):
    with pytest.raises(ModelError, match="sid"):
        piper(tiny(pitches=(0.1, 0.2)))  # the configuration says that there is one speaker
    assert capfd.readouterr() == ("", "")


def test_a_voice_whose_samples_are_not_numbers_is_refused(tiny, piper):
    with pytest.raises(ModelError, match="not a number"):
        piper(tiny(amplitude=float("nan")))


@pytest.mark.parametrize(
    "changes",
    [
        {"audio": {}},
        {"audio": {"sample_rate": 0}},
        {"phoneme_id_map": {}},
        {"phoneme_id_map": {"a": [0]}},
        {"phoneme_id_map": 3},
        {"phoneme_type": "whistles"},
        {"phoneme_type": "pinyin"},
        {"espeak": {"voice": "xx-nobody"}},
        {"inference": 3},
        {"inference": {"length_scale": "long"}},
        {"num_speakers": "two"},
    ],
)
def test_a_wrong_configuration_is_refused(tiny, piper, configuration, changes, capfd):
    with pytest.raises(ModelError) as caught:
        piper(tiny(configuration=configuration(**changes)))
    assert "tiny.onnx" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_graph_is_refused(tmp_path):
    (tmp_path / "en_US-joe-medium.onnx.json").write_text("{}")
    tts = PiperTTS()
    tts.load_model(LoadContext())
    with pytest.raises(ModelError, match="no file"):
        tts.load_voice(tts.voices[0], {JOE.name: tmp_path})


def test_a_missing_configuration_is_refused(tmp_path):
    tts = PiperTTS()
    tts.load_model(LoadContext())
    with pytest.raises(ModelError, match="configuration"):
        tts.load_voice(tts.voices[0], {JOE.name: tmp_path})


def test_a_voice_is_loaded_once(tiny, piper):
    path = tiny()
    tts = piper(path)
    before = tts._loaded[str(path)]
    tts.load_voice(tts.find_voice(str(path)), {})
    assert tts._loaded[str(path)] is before


def test_several_voices_are_loaded_side_by_side(tiny, piper):
    first, second = tiny("first"), tiny("second")
    tts = piper(first)
    tts.load_voice(tts.find_voice(str(second)), {})
    assert list(tts._loaded) == [str(first), str(second)]
    assert any("first, second" in piece.says for piece in tts.evidence())


def test_unloading_gives_the_threads_back_and_may_be_done_twice(tiny, piper):
    path = tiny()
    piper(path).unload_model()  # whatever the libraries start once for all
    gc.collect()  # sessions of earlier tests
    process = psutil.Process()
    before = process.num_threads()
    tts = PiperTTS(str(path))
    tts.load_model(LoadContext(threads=3))
    assert process.num_threads() == before + 2  # the caller's own thread is the third
    tts.unload_model()
    tts.unload_model()
    assert process.num_threads() == before
    with pytest.raises(SynthesisError, match="not loaded"):
        list(tts.synthesize("Hello.", TTSOptions()))
    with pytest.raises(SynthesisError, match="not loaded"):
        tts.load_voice(tts.find_voice("joe"), {})
    assert (tts.evidence(), tts.warm_up_model()) == ((), None)
    with pytest.raises(DeviceError, match="not loaded"):
        tts.quick_check()


def test_a_backend_that_was_unloaded_loads_again(tiny, piper):
    tts = piper(tiny())
    tts.unload_model()
    tts.load_model(LoadContext())
    assert list(tts.synthesize("Hello.", TTSOptions()))


def test_nothing_that_is_said_reaches_a_log(tiny, piper, configuration, caplog):
    few = configuration()
    few["phoneme_id_map"] = {k: v for k, v in few["phoneme_id_map"].items() if k not in "əl"}
    tts = piper(tiny(configuration=few))
    with caplog.at_level(logging.DEBUG):
        list(tts.synthesize("Hello there.", TTSOptions()))
    assert [r for r in caplog.records if r.name.startswith(("piper", "evakit"))] == []


_SCRIPT = """
import sys
from evakit.plugins import discover
from evakit.abc import LoadContext, TTSOptions
from evakit.errors import ModelError
VENDOR = ("piper", "onnxruntime")
spec = discover().get("tts", "piper")
tts = spec.create(sys.argv[1])
tts.find_voice("siwis"), tts.voices, tts.models(), spec.missing()
assert not [m for m in VENDOR if m in sys.modules], "imported before loading"
tts.load_model(LoadContext())
assert all(m in sys.modules for m in VENDOR)
for text in ("Hello there.", "[[ x ]] \\x1b[31m", "你好", "..."):
    list(tts.synthesize(text, TTSOptions()))
try:
    spec.create(sys.argv[2]).load_model(LoadContext())
except ModelError:
    pass
else:
    raise SystemExit("a damaged voice was accepted")
"""


def test_the_engine_is_imported_when_it_loads_and_writes_nothing_to_the_terminal(
    tiny, configuration
):
    few = configuration()
    few["phoneme_id_map"] = {k: v for k, v in few["phoneme_id_map"].items() if k not in "əl"}
    damaged = tiny("damaged")
    damaged.write_bytes(damaged.read_bytes()[:300])
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tiny(configuration=few)), str(damaged)],
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
