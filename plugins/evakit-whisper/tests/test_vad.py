"""The VAD `silero`."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from evakit.abc import LoadContext, Strength
from evakit.devices import Device, Verdict, judge
from evakit.devices.device import CPU
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


def test_its_operators_are_seen_on_the_cpu(vad):
    observed, declared = vad.evidence()
    assert (observed.strength, observed.device) == (Strength.OBSERVED, CPU)
    assert "7 of 7 compute operators of the Silero VAD on CPUExecutionProvider" in observed.says
    assert (declared.strength, declared.device) == (Strength.DECLARED, CPU)
    assert "the providers CPUExecutionProvider" in declared.says
    assert vad.quick_check() == CPU


def test_a_warm_up_judges_a_few_frames(vad):
    done = vad.warm_up_model()
    assert (done.amount, done.unit) == (10, "frames")
    assert done.seconds > 0


class Session:
    """A session as of another ONNX Runtime."""

    def __init__(self, places, providers):
        self.places = places
        self.providers = providers

    def get_providers(self):
        return self.providers

    def get_provider_graph_assignment_info(self):
        return [
            SimpleNamespace(
                ep_name=place, get_nodes=lambda sort=sort: [SimpleNamespace(op_type=sort)]
            )
            for place, sort in self.places
        ]


@pytest.fixture
def elsewhere(vad, monkeypatch):
    """A function that gives the VAD's network a session with operators at `places`."""

    def replace(*places, providers=("CUDAExecutionProvider", "CPUExecutionProvider")):
        monkeypatch.setattr(vad._silero, "_session", Session(places, providers))
        return vad

    return replace


def test_a_network_on_a_gpu_would_be_seen(elsewhere):
    vad = elsewhere(("CUDAExecutionProvider", "Conv"), ("CPUExecutionProvider", "Shape"))
    observed, declared = vad.evidence()
    assert (observed.device, observed.share) == (Device("cuda"), None)
    assert declared.device == Device("cuda")
    assert judge(CPU, vad.evidence(), required=["model"]).verdict is Verdict.REFUTED
    assert vad.quick_check() != CPU


def test_a_network_that_is_divided_would_be_seen(elsewhere):
    vad = elsewhere(
        ("CPUExecutionProvider", "Conv"),
        ("CPUExecutionProvider", "Conv"),
        ("DmlExecutionProvider", "LSTM"),
        providers=["CPUExecutionProvider"],
    )
    first, second, _ = vad.evidence()
    assert (first.device, first.share) == (CPU, pytest.approx(2 / 3))
    assert (second.device, second.share) == (Device("dml"), pytest.approx(1 / 3))
    assert judge(CPU, vad.evidence(), required=["model"]).verdict is Verdict.PARTIAL


def test_a_declaration_alone_says_nothing_of_where_the_network_is(vad, monkeypatch):
    older = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(vad._silero, "_session", older)
    assert [piece.strength for piece in vad.evidence()] == [Strength.DECLARED]
    assert judge(CPU, vad.evidence(), required=["model"]).verdict is Verdict.UNKNOWN


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
    assert vad.evidence() == ()
    with pytest.raises(DeviceError, match="is not loaded"):
        vad.quick_check()


def test_a_network_that_is_not_the_known_one_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "faster_whisper"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "assets" / "silero_vad_v6.onnx").write_bytes(b"another network")
    monkeypatch.delitem(sys.modules, "faster_whisper", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelIntegrityError, match="is not the Silero VAD"):
        SileroVAD().load_model(LoadContext())
