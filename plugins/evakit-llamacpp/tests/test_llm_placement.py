"""The backend on the CPU, and on a build for CUDA whose log is known: where it says that it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from evakit.abc import LoadContext, WarmUp
from evakit.devices import Device, Strength, Verdict, judge
from evakit.devices.evidence import MODEL
from evakit.errors import BackendUnavailableError, DeviceError, ModelError, VramBudgetError
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._models import SMOLLM2

CPU, FIRST, SECOND = Device("cpu"), Device("cuda:0"), Device("cuda:1")


def proof(llm, wanted):
    return judge(wanted, llm.evidence(), required=(MODEL,))


# On the CPU


def test_it_can_be_on_the_cpu_and_on_cuda():
    assert LlamaCppLLM.capabilities.devices == {"cpu", "cuda"}
    assert LlamaCppLLM.capabilities.engines == {"llama.cpp"}


def test_on_the_cpu_it_is_proven_to_be_there(llm):
    (piece,) = llm.evidence()
    assert piece.strength is Strength.OBSERVED
    assert "the devices of this xllamacpp are CPU" in piece.says
    assert proof(llm, CPU).verdict is Verdict.PROVEN
    assert proof(llm, FIRST).verdict is Verdict.REFUTED


def test_the_warm_up_writes_tokens(llm):
    warm_up = llm.warm_up_model()
    assert isinstance(warm_up, WarmUp)
    assert (warm_up.amount, warm_up.unit) == (8, "tokens")
    assert warm_up.rate > 0


def test_the_warm_up_is_as_long_for_a_model_that_has_nothing_to_say(llm, monkeypatch):
    bodies = []
    stream = llm._engine.stream

    def spied(body, on_chunk):
        bodies.append(body)
        stream(body, on_chunk)

    monkeypatch.setattr(llm._engine, "stream", spied)
    llm.warm_up_model()
    assert [(body["ignore_eos"], body["max_tokens"]) for body in bodies] == [(True, 8)]


def test_the_quick_check_takes_less_than_a_millisecond(llm):
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        assert llm.quick_check() == CPU
        seconds.append(time.perf_counter() - begun)
    assert sorted(seconds)[10] < 0.001


def test_what_is_not_loaded_is_nowhere(load):
    llm = load()
    llm.unload_model()
    for one in (llm, LlamaCppLLM()):
        assert one.evidence() == ()
        with pytest.raises(DeviceError, match="its model is not loaded"):
            one.quick_check()
        with pytest.raises(BackendUnavailableError):
            one.warm_up_model()


def test_an_engine_that_was_closed_is_nowhere(load):
    llm = load()
    llm._engine.close()
    with pytest.raises(DeviceError, match="its model is not loaded"):
        llm.quick_check()


# On a build for CUDA


@pytest.fixture
def on(cuda_build, folder):
    """A function that loads the starter model on a device of a build for CUDA."""
    loaded = []

    def load(log, device=FIRST, *, gpus=1, **about) -> LlamaCppLLM:
        llm = LlamaCppLLM(context_tokens=512)
        llm.name = "llamacpp"
        llm.vendor = cuda_build(log, gpus=gpus)
        llm.load_model(LoadContext(device=device, models={SMOLLM2.name: folder}, **about))
        loaded.append(llm)
        return llm

    yield load
    for llm in loaded:
        llm.unload_model()


def test_a_gpu_is_asked_for_with_all_of_the_model_and_no_other(on):
    asked = on("full_offload").vendor.asked
    assert asked == {
        "n_gpu_layers": 999,
        "main_gpu": 0,
        "split_mode": 0,  # none
        "no_kv_offload": False,
        "no_op_offload": False,
        "fit_params": False,
        "verbosity": 4,
        "flash_attn_type": -1,  # as it suits the GPU
    }


def test_the_second_gpu_is_asked_for_by_its_number(on):
    llm = on("second_gpu", SECOND, gpus=2)
    assert llm.vendor.asked["main_gpu"] == 1
    assert proof(llm, SECOND).verdict is Verdict.PROVEN
    assert llm.quick_check() == SECOND


def test_a_model_that_is_all_on_the_gpu_is_proven_there(on, capfdbinary):
    llm = on("full_offload")
    assert llm.warm_up_model().amount == 8
    judged = proof(llm, FIRST)
    assert (judged.verdict, judged.device) == (Verdict.PROVEN, FIRST)
    assert llm.quick_check() == FIRST
    assert capfdbinary.readouterr() == (b"", b"")


@pytest.mark.parametrize(
    ("log", "verdict", "found"),
    [
        ("half_offload", Verdict.PARTIAL, FIRST),
        ("no_offload", Verdict.REFUTED, CPU),
        ("second_gpu", Verdict.REFUTED, SECOND),
        ("two_gpus", Verdict.PARTIAL, SECOND),
        ("silence", Verdict.UNKNOWN, None),
    ],
)
def test_a_model_that_is_elsewhere_is_not_proven(on, log, verdict, found):
    judged = proof(on(log, gpus=2), FIRST)
    assert (judged.verdict, judged.device) == (verdict, found)


def test_on_the_cpu_a_build_for_cuda_is_told_to_forget_its_gpus_and_is_not_believed(on):
    llm = on("no_device", CPU)
    assert (llm.vendor.asked["n_gpu_layers"], llm.vendor.asked["main_gpu"]) == (0, -1)
    assert llm.vendor.asked["no_kv_offload"]
    assert llm.vendor.asked["no_op_offload"]
    assert proof(llm, CPU).verdict is Verdict.PROVEN
    assert proof(on("full_offload", CPU), CPU).verdict is Verdict.REFUTED


def test_a_build_whose_log_nobody_understands_works_on_the_cpu_unproven(on):
    llm = on("silence", CPU)
    assert llm.evidence() == ()
    assert llm.quick_check() == CPU


def test_a_gpu_that_is_full_is_an_error_about_its_memory(on, capfdbinary):
    with pytest.raises(VramBudgetError, match="cudaMalloc failed: out of memory"):
        on("out_of_memory")
    assert capfdbinary.readouterr() == (b"", b"")


def test_a_model_that_may_not_take_what_it_needs_is_not_loaded(on):
    with pytest.raises(VramBudgetError, match="may take 50 MiB"):
        on("full_offload", vram_bytes=50 * 2**20)
    assert on("full_offload", vram_bytes=2**30).quick_check() == FIRST


def test_a_damaged_file_is_told_with_the_engines_own_words(cuda_build, tiny, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.read_bytes()[:9000])
    cuda_build("silence")
    llm = LlamaCppLLM(str(damaged))
    with pytest.raises(ModelError, match=r"it says .*data is not within the file bounds"):
        llm.load_model(LoadContext(device=FIRST))


# The trial in a process of its own


def probe(device):
    command = [sys.executable, "-m", "evakit.devices.probe", LlamaCppLLM.probe, device]
    return subprocess.run(command, capture_output=True, check=False, text=True, env=os.environ)


def test_the_trial_has_a_tiny_model_work_and_leaves_nothing():
    done = probe("cpu")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_trial_says_why_a_gpu_cannot_be_had():
    done = probe("cuda:0")
    assert done.returncode == 1
    assert "WheelFlavourError" in done.stdout
