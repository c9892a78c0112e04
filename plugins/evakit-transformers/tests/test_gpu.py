"""On a real GPU, `make test-gpu`: that torch is there, and how it is held to its memory.

What holds for every backend is in the tests of evakit itself. Where there is no GPU that can be
used, these fail, and say why.
"""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import evakit
from evakit.abc import LoadContext
from evakit.devices import Device, DeviceManager, Verdict, judge
from evakit.devices.evidence import MODEL, WARM_UP
from evakit.errors import NoGpuError, VramBudgetError
from evakit_transformers import TransformersLLM

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
GPU = Device("cuda:0")


@pytest.fixture
def on_gpu(tiny):
    """The tiny model, loaded onto the first GPU."""
    llm = TransformersLLM(str(tiny), temperature=0)
    llm.name = "transformers"
    llm.load_model(LoadContext(device=GPU))
    yield llm
    llm.unload_model()


def test_everything_of_it_is_on_the_gpu_and_its_work_is_done_there(on_gpu):
    on_gpu.warm_up_model()
    reading = on_gpu._loaded.engine.reading()
    assert {t.device for t in (*reading.parameters, *reading.buffers)} == {"cuda:0"}
    assert reading.output == "cuda:0"
    assert reading.grown["cuda:0"] >= sum(t.size for t in reading.parameters)
    proof = judge(GPU, on_gpu.evidence(), required=[MODEL])
    assert proof.verdict is Verdict.PROVEN
    assert on_gpu.quick_check() == GPU


def test_its_numbers_have_the_type_that_the_gpu_computes_in(on_gpu):
    major, _ = torch.cuda.get_device_capability(0)
    dtypes = {p.dtype for p in on_gpu._loaded.engine._model.parameters()}
    assert dtypes == {torch.bfloat16 if major >= 8 else torch.float16}


def test_unloading_gives_its_memory_back(tiny, on_gpu):
    on_gpu.warm_up_model()  # what cuBLAS works in stays
    before = torch.cuda.memory_allocated(0)
    other = TransformersLLM(str(tiny))
    other.load_model(LoadContext(device=GPU))
    other.warm_up_model()
    assert torch.cuda.memory_allocated(0) > before
    other.unload_model()
    assert torch.cuda.memory_allocated(0) == before


@pytest.fixture
def larger(tokenizer, tmp_path):
    """A random model of 60 MB: torch takes memory in pieces of 2 MB, which hold all of `tiny`."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=2,
        num_attention_heads=8,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_limit_is_kept_and_lifted(larger):
    llm = TransformersLLM(str(larger))
    llm.name = "transformers"
    with pytest.raises(VramBudgetError):
        llm.load_model(LoadContext(device=GPU, vram_bytes=10 * 2**20))
    llm.unload_model()
    assert torch.cuda.memory_allocated(0) < 10 * 2**20
    llm.load_model(LoadContext(device=GPU))
    llm.unload_model()


def test_a_gpu_that_is_not_there_is_refused(tiny):
    with pytest.raises(NoGpuError):
        TransformersLLM(str(tiny)).load_model(LoadContext(device=Device("cuda:63")))


@pytest.mark.anyio
async def test_a_stack_on_the_gpu_is_proven(tiny, anyio_backend):
    manager = DeviceManager()
    brain = TransformersLLM(str(tiny), temperature=0, max_tokens=20)
    async with evakit.Stack(stt=None, llm=brain, tts=None, device="cuda", devices=manager) as stack:
        lease = stack.backends["llm"].lease
        assert lease.proof.verdict is Verdict.PROVEN
        assert {piece.kind for piece in lease.proof.evidence} >= {MODEL, WARM_UP}
    assert manager.leases == ()
