"""Where the model is, read from the buffers that llama.cpp says it has allocated."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from evakit.devices import Device, Evidence, Strength, Verdict, judge
from evakit.devices.evidence import MODEL, WARM_UP
from evakit_llamacpp._build import EngineBuild, EngineDevice
from evakit_llamacpp._gguf import read_head
from evakit_llamacpp._log_lines import LogLine
from evakit_llamacpp._placement import in_main_memory, read_buffers, read_evidence

CPU, FIRST, SECOND = Device("cpu"), Device("cuda:0"), Device("cuda:1")
INPUT = 30_081_024  # bytes of the starter model's table of tokens
WARM = Evidence(
    kind=WARM_UP, strength=Strength.ENVIRONMENT, device=CPU, share=0.0, says="8 tokens in 0.1 s"
)


@pytest.fixture
def proof(lines):
    """A function that judges the evidence of a log, for a model that was to be on a device."""

    def judged(name, wanted):
        return judge(wanted, [*read_evidence(lines(name), input_bytes=INPUT), WARM])

    return judged


def test_the_table_of_tokens_is_as_large_as_the_model_says(gguf):
    assert read_head(gguf, model="m", with_tensors=True).input_bytes == INPUT


def test_all_of_a_model_on_one_gpu_is_proven(proof):
    judged = proof("full_offload", FIRST)
    assert (judged.verdict, judged.device) == (Verdict.PROVEN, FIRST)
    (piece,) = [e for e in judged.evidence if e.kind == MODEL]
    assert piece.strength is Strength.OBSERVED
    assert piece.share == pytest.approx(1, abs=0.001)
    assert piece.says == (
        "llama.cpp allocated on cuda:0: 92.1 MiB (model), 22.5 MiB (KV), 13.0 MiB (compute); "
        "30.2 MiB stay in the main memory by design; its work is cut into 2 parts"
    )


def test_the_table_of_tokens_alone_would_make_a_small_model_look_divided(lines):
    sizes = [(b.device, b.mib) for b in read_buffers(lines("full_offload"))]
    on_gpu = sum(mib for device, mib in sizes if device == FIRST)
    assert on_gpu / sum(mib for _, mib in sizes) < 0.9
    devices = [e.device for e in read_evidence(lines("full_offload"), input_bytes=0)]
    assert devices == [FIRST, CPU]


def test_half_of_a_model_on_a_gpu_is_partial(proof):
    judged = proof("half_offload", FIRST)
    assert judged.verdict is Verdict.PARTIAL
    shares = {e.device: e.share for e in judged.evidence if e.kind == MODEL}
    assert shares == {FIRST: pytest.approx(0.711, abs=0.001), CPU: pytest.approx(0.289, abs=0.001)}
    assert judged.reasons[0].startswith("llama.cpp allocated on cpu: 60.4 MiB (model)")


def test_a_model_that_silently_went_to_the_cpu_is_refuted(proof):
    judged = proof("no_offload", FIRST)
    assert (judged.verdict, judged.device) == (Verdict.REFUTED, CPU)
    assert "llama.cpp allocated on cpu: 92.1 MiB (model)" in judged.reasons[0]


@pytest.mark.parametrize("wanted", [FIRST, SECOND])
def test_a_model_divided_between_two_gpus_is_partial(proof, wanted):
    judged = proof("two_gpus", wanted)
    assert judged.verdict is Verdict.PARTIAL
    assert {e.device for e in judged.evidence if e.kind == MODEL} == {FIRST, SECOND}


def test_the_other_gpu_is_another_device(proof):
    assert proof("second_gpu", SECOND).verdict is Verdict.PROVEN
    judged = proof("second_gpu", FIRST)
    assert (judged.verdict, judged.device) == (Verdict.REFUTED, SECOND)


@pytest.mark.parametrize("name", ["no_device", "no_offload"])
def test_a_build_for_cuda_that_was_asked_for_the_cpu_is_proven_there(proof, name):
    assert proof(name, CPU).verdict is Verdict.PROVEN


@pytest.mark.parametrize("name", ["full_offload", "half_offload"])
def test_a_model_that_was_to_be_on_the_cpu_and_is_on_a_gpu_is_not_proven(proof, name):
    assert proof(name, CPU).verdict in {Verdict.PARTIAL, Verdict.REFUTED}


def test_a_model_that_is_hardly_more_than_its_words_is_somewhere_too():
    log = [LogLine("I", "load_tensors:   CPU_Mapped model buffer size =    10.00 MiB")]
    (piece,) = read_evidence(log, input_bytes=10 * 2**20)
    assert (piece.device, piece.share) == (CPU, None)


def test_how_many_layers_were_offloaded_is_no_evidence(lines):
    said = [line for line in lines("full_offload") if "buffer size" not in line.text]
    assert any("offloaded 31/31 layers to GPU" in line.text for line in said)
    assert read_evidence(said, input_bytes=INPUT) == ()


@pytest.mark.parametrize("holds", ["model", "KV", "compute"])
def test_each_kind_of_buffer_counts(lines, holds):
    moved = [
        evolve(line, text=line.text.replace("CUDA0", "  CPU"))
        if f"CUDA0 {holds} buffer" in line.text
        else line
        for line in lines("full_offload")
    ]
    everything = read_evidence(lines("full_offload"), input_bytes=INPUT)
    assert everything[0].share > read_evidence(moved, input_bytes=INPUT)[-1].share


def test_without_the_sizes_of_the_model_nothing_is_known(lines):
    silent = [line for line in lines("full_offload") if "model buffer size" not in line.text]
    assert read_evidence(silent, input_bytes=INPUT) == ()
    assert judge(FIRST, [WARM]).verdict is Verdict.UNKNOWN


def test_work_that_is_allocated_again_counts_once(lines):
    again = [
        *lines("full_offload"),
        LogLine("I", "sched_reserve: CUDA0 compute buffer size = 7.00 MiB"),
    ]
    work = [b.mib for b in read_buffers(again) if (b.where, b.holds) == ("CUDA0", "compute")]
    assert work == [7.0]


@pytest.mark.parametrize(
    ("text", "where", "holds", "device"),
    [
        ("load_tensors:        CUDA0 model", "CUDA0", "model", "cuda:0"),
        ("load_tensors:   CPU_REPACK model", "CPU_REPACK", "model", "cpu"),
        ("load_tensors:    CUDA_Host model", "CUDA_Host", "model", "cpu"),
        ("load_tensors:          AMX model", "AMX", "model", "cpu"),
        ("load_tensors:  MTL0_Mapped model", "MTL0_Mapped", "model", "mtl0_mapped"),
        ("load_tensors:      Vulkan0 model", "Vulkan0", "model", "vulkan0"),
        ("load_tensors:   CUDA_Split model", "CUDA_Split", "model", "cuda_split"),
        ("llama_memory_recurrent:      CUDA1 RS", "CUDA1", "RS", "cuda:1"),
        ("ctx:      CUDA1 DSV4 csa state", "CUDA1", "DSV4 csa state", "cuda:1"),
        ("llama_context:  CUDA_Host  output", "CUDA_Host", "output", "cpu"),
    ],
)
def test_a_buffer_is_where_its_name_says(text, where, holds, device):
    (buffer,) = read_buffers([LogLine("I", f"{text} buffer size =   149.62 MiB")])
    assert (buffer.where, buffer.holds, buffer.mib) == (where, holds, 149.62)
    assert buffer.device == Device(device)


@pytest.mark.parametrize(
    "text",
    [
        "sched_reserve:      CUDA0 compute buffer size is  126.7700 MiB, matches expectation",
        "load_tensors: offloaded 31/31 layers to GPU",
        "llama_kv_cache: size =   22.50 MiB (   512 cells,  30 layers,  2/2 seqs)",
        "slot   print: CUDA0 model buffer size = big",
        "",
    ],
)
def test_what_is_no_size_of_a_buffer_is_none(text):
    assert read_buffers([LogLine("I", text)]) == ()


@given(st.floats(0, 1e5), st.floats(0.01, 1e5), st.floats(0, 1e5))
def test_shares_add_up_and_name_what_weighs(cpu, gpu, table):
    log = [
        LogLine("I", f"load_tensors: CPU_Mapped model buffer size = {cpu:.2f} MiB"),
        LogLine("I", f"load_tensors: CUDA0 model buffer size = {gpu:.2f} MiB"),
    ]
    pieces = read_evidence(log, input_bytes=round(table * 2**20))
    assert sum(piece.share for piece in pieces) <= 1.001
    left = max(0.0, round(cpu, 2) - table)
    is_whole = round(gpu, 2) >= 0.9 * (round(gpu, 2) + left)
    if abs(round(gpu, 2) - 0.9 * (round(gpu, 2) + left)) > 0.01:
        assert (CPU not in {piece.device for piece in pieces}) == is_whole


def test_a_build_without_a_gpu_can_be_nowhere_else():
    build = EngineBuild(devices=[EngineDevice(name="CPU", kind="CPU")], is_for_cuda=False)
    (piece,) = in_main_memory(build)
    assert judge(CPU, [piece, WARM]).verdict is Verdict.PROVEN
    assert judge(FIRST, [piece]).verdict is Verdict.REFUTED
    assert "the devices of this xllamacpp are CPU" in piece.says


def test_taking_the_evidence_away_takes_the_proof_away(lines):
    (piece,) = read_evidence(lines("full_offload"), input_bytes=INPUT)
    warm = evolve(WARM, device=FIRST, share=None)
    assert judge(FIRST, [piece, warm]).verdict is Verdict.PROVEN
    assert judge(FIRST, [warm]).verdict is Verdict.UNKNOWN
    assert judge(FIRST, [piece]).verdict is Verdict.UNKNOWN
    declared = evolve(piece, strength=Strength.DECLARED)
    assert judge(FIRST, [declared, warm]).verdict is Verdict.UNKNOWN
