"""The VAD `silero`."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from evakit.abc import LoadContext
from evakit.devices import Device
from evakit.errors import AudioFormatError, DetectionError, DeviceError, ModelIntegrityError
from evakit_whisper import SileroVAD
from evakit_whisper._silero import SileroStream, load_silero


async def _probabilities(vad, audio):
    session = vad.open()
    return [await session.probability(frame) for frame in audio.frames(vad.frame_size)]


async def test_speech_is_likely_in_speech_and_not_in_silence(vad, clips):
    fox, _ = clips["en/quick_brown_fox"]
    speech = await _probabilities(vad, fox)
    assert np.mean(np.array(speech) > 0.5) > 0.7
    session = vad.open()
    silence = [await session.probability(np.zeros(512, np.float32)) for _ in range(50)]
    assert max(silence) < 0.1


async def test_streams_do_not_know_of_each_other(vad, clips):
    fox, _ = clips["en/quick_brown_fox"]
    alone = await _probabilities(vad, fox)
    one, other = vad.open(), vad.open()
    mixed = []
    for frame in fox.frames(vad.frame_size):
        mixed.append(await one.probability(frame))
        await other.probability(frame[::-1].copy())
    assert mixed == alone


async def test_frame_by_frame_equals_many_at_once(vad, clips):
    bonjour, _ = clips["fr/bonjour_monde"]
    samples = np.concatenate(list(bonjour.frames(512)))
    at_once = SileroStream(load_silero("silero")).probabilities(samples)
    assert at_once == pytest.approx(await _probabilities(vad, bonjour), abs=1e-4)


def test_a_frame_takes_at_most_three_tenths_of_a_millisecond_back_to_back(vad):
    session = vad.start()
    frame = np.zeros(vad.frame_size, np.float32)
    means = []
    for _ in range(10):  # the best of several: others may use the cores too
        before = time.perf_counter()
        for _ in range(100):
            session.probability(frame)
        means.append((time.perf_counter() - before) / 100)
    assert min(means) <= 0.0003


def test_the_cpu_time_of_the_process_is_that_of_the_frames(vad):
    """A pool of threads that spins would burn a core while nothing is asked."""
    session = vad.start()
    frame = np.zeros(vad.frame_size, np.float32)
    session.probability(frame)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(300):
        session.probability(frame)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert cpu < wall * 1.3


async def test_a_frame_of_another_size_is_refused(vad):
    with pytest.raises(AudioFormatError, match="512 samples"):
        await vad.open().probability(np.zeros(160, np.float32))


def test_its_placement_is_read_back(vad):
    placement = vad.placement()
    assert placement.device == Device("cpu")
    assert "get_providers() = ['CPUExecutionProvider']" in placement.observed


def test_a_gpu_is_refused():
    with pytest.raises(DeviceError, match="the CPU by design"):
        SileroVAD().load_model(LoadContext(device=Device("cuda:0")))


async def test_it_can_be_unloaded_twice_and_then_says_so():
    vad = SileroVAD()
    await vad.load(LoadContext())
    await vad.unload()
    await vad.unload()
    with pytest.raises(DetectionError, match="is not loaded"):
        vad.open()


def test_a_network_that_is_not_the_known_one_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "faster_whisper"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "assets" / "silero_vad_v6.onnx").write_bytes(b"another network")
    monkeypatch.delitem(sys.modules, "faster_whisper", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelIntegrityError, match="is not the Silero VAD"):
        SileroVAD().load_model(LoadContext())
