"""Where Whisper runs: seen in each run of the encoder, never taken from what was asked for.

CTranslate2 is the real one, on a machine that need not have a GPU.
"""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from attrs import evolve
from faster_whisper import WhisperModel

from evakit.abc import Evidence, LoadContext, Strength, STTOptions
from evakit.audio import Audio
from evakit.devices import Device, DeviceManager, DeviceRequest, Policy, Verdict, judge
from evakit.devices.device import CPU
from evakit.errors import (
    ConfigurationError,
    DeviceError,
    DriverError,
    MissingLibraryError,
    NoGpuError,
    SilentFallbackError,
    TranscriptionError,
    VramBudgetError,
)
from evakit.testing import SimulatedMachine, rtx_4090
from evakit_whisper import WhisperSTT, _engine, _loading
from evakit_whisper._placement import evidence_of, observed

CUDA_1 = Device("cuda:1")
NOWHERE = Device("cuda:63")


def proof_of(evidence, wanted=CUDA_1):
    warm = Evidence(kind="warm-up", strength=Strength.ENVIRONMENT, device=wanted, says="it heard")
    return judge(wanted, [*evidence, warm])


@pytest.fixture
def loaded(whisper_of_chance):
    """A backend that is loaded on the CPU and hears whatever it is given."""
    stt = WhisperSTT(whisper_of_chance, speech_threshold=0)
    stt.load_model(LoadContext())
    yield stt
    stt.unload_model()


@pytest.fixture
def careless(monkeypatch):
    """Makes this backend what others are: it asks for `auto`, and takes what it gets."""

    class Careless(_engine.Engine):
        def __init__(self, folder, *, device, index, compute_type, threads):
            del device, index, compute_type
            super().__init__(
                folder, device="auto", index=0, compute_type="float32", threads=threads
            )

    monkeypatch.setattr(_engine, "Engine", Careless)
    monkeypatch.setattr(_loading, "missing_library", lambda backend: None)


# With the real CTranslate2.


def test_a_gpu_that_is_not_there_is_the_error_that_ctranslate2_means(whisper_of_chance):
    stt = WhisperSTT(whisper_of_chance)
    with pytest.raises((DriverError, NoGpuError)) as caught:  # without a driver, or with one
        stt.load_model(LoadContext(device=NOWHERE))
    error = caught.value
    assert isinstance(error.__cause__, RuntimeError)
    assert (error.component, error.wanted) == ("whisper", "cuda:63")
    assert error.why == f"CTranslate2 failed: {error.__cause__}"
    assert error.fixes
    assert stt.evidence() == ()


@pytest.mark.parametrize("compute_type", ["float16", "int8_float16"])
def test_half_precision_is_refused_on_the_cpu_and_never_converted(whisper_of_chance, compute_type):
    stt = WhisperSTT(whisper_of_chance, compute_type=compute_type)
    with pytest.raises(ConfigurationError, match=f"cannot compute with '{compute_type}' on cpu"):
        stt.load_model(LoadContext())


def test_auto_is_never_passed_on(whisper_of_chance):
    with pytest.raises(DeviceError, match="not on 'auto'"):
        WhisperSTT(whisper_of_chance).load_model(LoadContext(device=Device("auto")))


def test_auto_goes_to_the_cpu_without_a_word_and_is_found_there(whisper_of_chance, careless):
    stt = WhisperSTT(whisper_of_chance)
    stt.load_model(LoadContext(device=CUDA_1))  # nothing is said
    stt.warm_up_model()
    found = stt.quick_check()
    assert found != CUDA_1  # the CPU, or on a machine with a GPU its first
    proof = proof_of(stt.evidence())
    assert (proof.verdict, proof.device) == (Verdict.REFUTED, found)
    assert f"the output of an encoder run is on {found} (CTranslate2 StorageView)" in proof.reasons


async def test_the_manager_refuses_a_whisper_that_went_elsewhere(
    whisper_of_chance, careless, anyio_backend
):
    class WithoutProbe(WhisperSTT):
        probe = None

    stt = WithoutProbe(whisper_of_chance)
    second = rtx_4090(1)
    machine = SimulatedMachine(rtx_4090(0), second)
    request = DeviceRequest(component="whisper", policy=Policy.REQUIRE, device=CUDA_1)

    async def load(device, vram_bytes):
        await stt.load(LoadContext(device=device, vram_bytes=vram_bytes))
        machine.contexts.add(second.uuid)  # even if another engine has opened one

    with pytest.raises(SilentFallbackError, match="encoder run is on") as caught:
        await DeviceManager(instruments=machine).place(stt, request, load)
    assert caught.value.found != "cuda:1"
    with pytest.raises(DeviceError):
        stt.quick_check()


def test_loading_alone_proves_nothing(loaded):
    assert proof_of(loaded.evidence(), CPU).verdict is Verdict.UNKNOWN
    loaded.warm_up_model()
    assert proof_of(loaded.evidence(), CPU).verdict is Verdict.PROVEN


def test_a_warm_up_hears_and_writes(loaded, monkeypatch):
    written = []
    model = loaded._engine.model

    class Listening:
        def __getattr__(self, name):
            return getattr(model, name)

        def generate(self, output, prompts, **options):
            result = model.generate(output, prompts, **options)
            written.append((list(output.shape), result[0].sequences_ids[0]))
            return result

    monkeypatch.setattr(loaded._engine, "model", Listening())
    done = loaded.warm_up_model()
    assert (done.amount, done.unit) == (1, "s of audio")
    assert done.seconds > 0
    ((shape, tokens),) = written
    assert shape == [1, 50, 16]  # a second is a hundred frames, halved
    assert 1 <= len(tokens) <= 8


@pytest.mark.parametrize("use", ["transcribe", "first_window", "warm_up"])
def test_every_run_of_the_encoder_is_looked_at(loaded, use):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    if use == "transcribe":
        loaded.transcribe(Audio(noise, 16_000), STTOptions())
    elif use == "first_window":
        loaded._engine.first_window(noise)
    else:
        loaded.warm_up_model()
    assert loaded.evidence()[0].strength is Strength.OBSERVED


def test_a_run_that_was_somewhere_else_shows_at_once(loaded, monkeypatch):
    loaded.warm_up_model()
    view = SimpleNamespace(device="cuda", device_index=1)
    monkeypatch.setattr(WhisperModel, "encode", lambda self, features: view)
    loaded._engine.encode(np.zeros((80, 100), np.float32))
    proof = proof_of(loaded.evidence(), CPU)
    assert (proof.verdict, proof.device) == (Verdict.REFUTED, CUDA_1)


def test_the_vad_in_front_is_on_the_cpu_and_takes_nothing_from_the_proof(loaded):
    loaded.warm_up_model()
    *_, vad = loaded.evidence()
    assert (vad.device, vad.share) == (CPU, 0.0)
    assert "the Silero VAD on CPUExecutionProvider" in vad.says
    there = evidence_of(CUDA_1, model_on("cuda", 1))
    assert proof_of([*there, vad]).verdict is Verdict.PROVEN
    assert proof_of([*there, evolve(vad, share=None)]).verdict is Verdict.REFUTED


def test_a_model_that_was_taken_out_is_nowhere(loaded):
    assert loaded.quick_check() == CPU
    model = loaded._engine.model
    for _ in range(1000):  # CTranslate2 does nothing, and says so nowhere, while a worker ends
        model.unload_model()
        if not model.model_is_loaded:
            break
    with pytest.raises(DeviceError, match="nowhere"):
        loaded.quick_check()
    model.load_model()
    assert loaded.quick_check() == CPU


def test_unloading_lets_go_of_the_weights_and_of_the_model(loaded, monkeypatch):
    told = []
    real = loaded._engine.model
    monkeypatch.setattr(
        loaded._engine, "model", SimpleNamespace(unload_model=lambda: told.append("unload"))
    )
    loaded.unload_model()
    loaded.unload_model()
    assert told == ["unload"]
    assert real.model_is_loaded  # nobody else unloads it
    assert loaded.evidence() == ()
    with pytest.raises(DeviceError, match="is not loaded"):
        loaded.quick_check()
    with pytest.raises(TranscriptionError, match="is not loaded"):
        loaded.warm_up_model()


# With what CTranslate2 would show on a GPU.


def model_on(device, *numbers):
    return SimpleNamespace(device=device, device_index=list(numbers), compute_type="float16")


def test_an_output_on_a_gpu_is_a_proof_for_that_gpu_alone():
    seen = observed(SimpleNamespace(device="cuda", device_index=1))
    evidence = evidence_of(seen, model_on("cuda", 1))
    assert proof_of(evidence).verdict is Verdict.PROVEN
    assert proof_of(evidence, Device("cuda:0")).verdict is Verdict.REFUTED
    assert "computed as float16" in evidence[1].says


def test_without_the_output_of_a_run_there_is_no_proof():
    seen, said = evidence_of(CUDA_1, model_on("cuda", 1))
    assert proof_of([seen]).verdict is Verdict.PROVEN
    assert proof_of([said]).verdict is Verdict.UNKNOWN


def test_a_model_that_says_it_is_elsewhere_refutes_an_older_run():
    """The declaration's own worth: the output seen last may be from before it was moved."""
    seen, said = evidence_of(CUDA_1, model_on("cpu", 0))
    assert proof_of([seen]).verdict is Verdict.PROVEN
    assert proof_of([seen, said]).verdict is Verdict.REFUTED


@pytest.fixture
def on_gpu(whisper_of_chance, careless):
    """A backend that was loaded for a GPU, and computes on the CPU."""
    stt = WhisperSTT(whisper_of_chance)
    stt.load_model(LoadContext(device=CUDA_1))
    return stt


def test_a_gpu_is_warmed_up_with_a_whole_window(on_gpu):
    assert on_gpu.warm_up_model().amount == 30


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Library libcublas.so.12 is not found or cannot be loaded", MissingLibraryError),
        ("CUDA failed with error out of memory", VramBudgetError),
    ],
)
def test_a_first_run_that_fails_on_a_gpu_is_a_matter_of_the_device(
    on_gpu, monkeypatch, said, error
):
    def fail(self, features):
        raise RuntimeError(said)

    monkeypatch.setattr(WhisperModel, "encode", fail)
    with pytest.raises(error, match=said[:20]) as caught:
        on_gpu.warm_up_model()
    assert caught.value.wanted == "cuda:1"


def test_a_first_run_that_fails_on_the_cpu_is_a_matter_of_the_engine(loaded, monkeypatch):
    def fail(self, features):
        raise RuntimeError("CUDA failed with error out of memory")  # of another library

    monkeypatch.setattr(WhisperModel, "encode", fail)
    with pytest.raises(TranscriptionError):
        loaded.warm_up_model()


# What is prepared before, and estimated.


def test_a_missing_cublas_is_said_before_the_first_run_wants_it(
    whisper_of_chance, careless, monkeypatch
):
    monkeypatch.setattr(
        _loading, "missing_library", lambda backend: MissingLibraryError(f"{backend} needs it.")
    )
    stt = WhisperSTT(whisper_of_chance)
    with pytest.raises(MissingLibraryError, match="whisper needs it"):
        stt.load_model(LoadContext(device=CUDA_1))
    assert stt.evidence() == ()


def test_cublas_is_loaded_for_a_gpu_and_not_for_the_cpu(monkeypatch, whisper_of_chance):
    from evakit.devices import libraries

    done = []
    monkeypatch.setattr(
        libraries, "preload", lambda installed, names, component: done.append((names, component))
    )
    stt = WhisperSTT(whisper_of_chance)
    stt.load_model(LoadContext())
    assert done == []
    with pytest.raises(DeviceError):
        stt.load_model(LoadContext(device=NOWHERE))
    assert done == [(("libcublasLt.so.12", "libcublas.so.12"), "whisper")]


@pytest.mark.parametrize(
    ("compute_type", "gigabytes"),
    # faster-whisper's README on large-v2: 4.5 GB and 2.9 GB, with CUDA's context.
    [(None, 4.4), ("int8_float16", 2.9)],
)
def test_what_it_takes_of_a_gpu_is_estimated_as_it_was_measured(tmp_path, compute_type, gigabytes):
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(3_086_912_962)  # large-v2's; a file of zeros that takes no room
    stt = WhisperSTT(tmp_path, compute_type=compute_type)
    estimate = stt.vram_estimate(LoadContext(device=CUDA_1))
    assert estimate / 1e9 == pytest.approx(gigabytes, abs=0.1)


def test_what_is_not_there_yet_is_not_estimated(tmp_path):
    assert WhisperSTT(tmp_path).vram_estimate(LoadContext(device=CUDA_1)) is None
    assert WhisperSTT("base").vram_estimate(LoadContext(device=CUDA_1)) is None


def test_a_gpu_with_a_number_is_what_the_engine_is_asked_for(whisper_of_chance, monkeypatch):
    asked = []

    class Asked(_engine.Engine):
        def __init__(self, folder, **options):
            asked.append(options)
            super().__init__(
                folder, **{**options, "device": "cpu", "compute_type": "int8"} | {"index": 0}
            )

    monkeypatch.setattr(_engine, "Engine", Asked)
    monkeypatch.setattr(_loading, "missing_library", lambda backend: None)
    for device in (CUDA_1, CPU):
        WhisperSTT(whisper_of_chance).load_model(LoadContext(device=device, threads=2))
    first, second = asked
    assert first == {"device": "cuda", "index": 1, "compute_type": "float16", "threads": 2}
    assert second == {"device": "cpu", "index": 0, "compute_type": "int8", "threads": 2}


async def test_a_backend_is_placed_and_proven_on_the_cpu(whisper_of_chance, anyio_backend):
    stt = WhisperSTT(whisper_of_chance)

    async def load(device, vram_bytes):
        await stt.load(LoadContext(device=device, vram_bytes=vram_bytes))

    with anyio.fail_after(20):
        lease = await DeviceManager(instruments=SimulatedMachine()).place(
            stt, DeviceRequest(component="whisper", policy=Policy.CPU, device=CPU), load
        )
    assert lease.proof.verdict is Verdict.PROVEN
    await stt.unload()
