"""Where a model is: what is read from it, what that shows, and that each piece of it counts."""

from __future__ import annotations

import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from evakit.abc import Evidence, Strength
from evakit.devices import Device, Verdict, judge
from evakit.devices.evidence import WARM_UP
from evakit_transformers._placement import Reading, Tensor, evidence_of

GPU = Device("cuda:0")
MIB = 2**20
# As it is read from a model of 300 MiB that was loaded on a GPU and has written a few tokens.
THERE = Reading(
    parameters=[Tensor("cuda:0", 100 * MIB)] * 3,
    buffers=[Tensor("cuda:0", 128), Tensor("cuda:0", 0)],
    output="cuda:0",
    device_map=("cuda:0",),
    grown={"cuda:0": 301 * MIB},
)


def warm(device):
    return Evidence(kind=WARM_UP, strength=Strength.ENVIRONMENT, device=device, says="done")


def judged(reading, device=GPU):
    return judge(device, [*evidence_of(reading), warm(device)])


def test_a_model_that_works_on_a_gpu_is_proven_to_be_there():
    proof = judged(THERE)
    assert (proof.verdict, proof.device) == (Verdict.PROVEN, GPU)
    assert [piece.says for piece in evidence_of(THERE)] == [
        "5 of 5 parameters and buffers (300.0 MiB) lie on cuda:0",
        "torch allocated 301.0 MiB on cuda:0 for parameters of 300.0 MiB",
        "the output of its last forward pass lies on cuda:0",
        "hf_device_map names cuda:0",
    ]


def test_before_the_first_run_nothing_is_proven():
    evidence = evidence_of(evolve(THERE, output=None))
    assert {piece.strength for piece in evidence} == {Strength.DECLARED}
    assert judged(evolve(THERE, output=None)).verdict is Verdict.UNKNOWN


# For each piece: a model that is not where it should be, which this piece alone shows.
ELSEWHERE = {
    "a parameter has no memory": {
        "parameters": [*[Tensor("cuda:0", 100 * MIB)] * 2, Tensor("meta", 100 * MIB)],
        "grown": {},
    },
    "a buffer is in the main memory": {"buffers": [Tensor("cpu", 128)]},
    "an empty buffer is in the main memory": {"buffers": [Tensor("cpu", 0)]},
    "all of it is in the main memory": {
        "parameters": [Tensor("cpu", 100 * MIB)],
        "buffers": [Tensor("cpu", 128)],
    },
    "it is on another gpu": {
        "parameters": [Tensor("cuda:1", 300 * MIB)],
        "buffers": [Tensor("cuda:1", 8)],
    },
    "the output comes from the cpu": {"output": "cpu"},
    "accelerate moves a part of it in and out": {"device_map": ("cuda:0", "cpu")},
    "accelerate has a part of it on the disk": {"device_map": ("cuda:0", "disk")},
    "the gpu's memory did not grow": {"grown": {"cuda:0": 1 * MIB}},
}


@pytest.mark.parametrize("change", ELSEWHERE.values(), ids=ELSEWHERE)
def test_one_thing_that_is_elsewhere_is_enough_against_it(change):
    assert judged(evolve(THERE, **change)).verdict in {Verdict.REFUTED, Verdict.PARTIAL}


def test_a_part_that_is_elsewhere_is_told_with_its_share():
    reading = evolve(
        THERE,
        parameters=[Tensor("cuda:0", 300 * MIB), Tensor("cpu", 100 * MIB)],
        buffers=[],
        device_map=(),
    )
    proof = judged(reading)
    assert (proof.verdict, proof.device) == (Verdict.PARTIAL, GPU)
    assert {p.device.name: p.share for p in evidence_of(reading) if p.share} == {
        "cuda:0": 0.75,
        "cpu": 0.25,
    }
    assert proof.reasons == ("1 of 2 parameters and buffers (100.0 MiB) lie on cpu",)


def test_a_model_on_the_cpu_needs_no_memory_of_a_gpu():
    reading = Reading(parameters=[Tensor("cpu", 5)], buffers=[], output="cpu")
    assert judged(reading, Device("cpu")).verdict is Verdict.PROVEN
    assert judged(reading, GPU).verdict is Verdict.REFUTED


places = st.sampled_from(["cpu", "cuda:0", "cuda:1", "meta"])
tensors = st.lists(st.builds(Tensor, places, st.integers(0, 100)), min_size=1, max_size=8)


@given(tensors, tensors, places)
def test_it_is_proven_only_where_all_of_it_is(parameters, buffers, output):
    reading = Reading(parameters=parameters, buffers=buffers, output=output)
    found = {t.device for t in (*parameters, *buffers)} | {output}
    for device in ("cpu", "cuda:0", "cuda:1"):
        is_proven = judged(reading, Device(device)).verdict is Verdict.PROVEN
        assert is_proven == (found == {device})


# --- the reading


def test_what_is_read_is_what_the_loaded_model_has(llm, ask):
    ask(llm, "hello", max_tokens=2)
    model = llm._loaded.engine._model
    reading = llm._loaded.engine.reading()
    assert len(reading.parameters) == len(list(model.parameters())) > 10
    assert sum(t.size for t in reading.parameters) == 4 * model.num_parameters()
    assert len(reading.buffers) == len(list(model.buffers())) > 0
    assert {t.device for t in (*reading.parameters, *reading.buffers)} == {"cpu"}
    assert (reading.output, reading.grown) == ("cpu", {})


def proof_of(llm, device="cpu"):
    return judge(Device(device), [*llm.evidence(), warm(Device(device))])


def test_a_loaded_model_is_proven_by_its_warm_up_and_not_before(loaded):
    llm = loaded()
    assert proof_of(llm).verdict is Verdict.UNKNOWN
    assert llm.quick_check() == Device("cpu")
    done = llm.warm_up_model()
    assert (done.amount, done.unit) == (8, "tokens")
    assert proof_of(llm).verdict is Verdict.PROVEN
    assert proof_of(llm, "cuda:0").verdict is Verdict.REFUTED


def test_a_parameter_that_leaves_after_loading_is_seen(loaded):
    llm = loaded()
    llm.warm_up_model()
    llm._loaded.engine._model.lm_head.to("meta")
    assert proof_of(llm).verdict is Verdict.PARTIAL


def test_a_buffer_that_leaves_after_loading_is_seen(loaded):
    llm = loaded()
    llm.warm_up_model()
    llm._loaded.engine._model.model.rotary_emb.to("meta")
    assert proof_of(llm).verdict is Verdict.PARTIAL


def test_what_accelerate_declares_is_heard_as_torch_would_say_it(loaded):
    llm = loaded()
    llm.warm_up_model()
    llm._loaded.engine._model.hf_device_map = {"a": 0, "b": "disk", "c": torch.device("cpu")}
    assert llm._loaded.engine.reading().device_map == ("cuda:0", "disk", "cpu")
    assert proof_of(llm).verdict is Verdict.REFUTED


def test_a_quick_check_says_where_the_model_is_now(loaded):
    llm = loaded()
    llm._loaded.engine._model.to("meta")
    assert llm.quick_check() == Device("meta")
