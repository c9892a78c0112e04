"""On a real GPU, with a build of xllamacpp for CUDA: `make test-gpu`."""

from __future__ import annotations

import time

import anyio
import pytest
from anyio import to_thread

from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit.devices import DeviceManager, Policy, Verdict, bind
from evakit.devices.device import CPU
from evakit.devices.evidence import MODEL
from evakit.devices.instruments import Instruments
from evakit.errors import PlacementError
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._models import SMOLLM2

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

STORY = LLMRequest(messages=[Message("user", "Tell me a very long story.")], max_tokens=400)


@pytest.fixture
def manager():
    """A manager of this test's own."""
    return DeviceManager()


@pytest.fixture
def place(folder, manager):
    """A function that has a manager place the starter model, and returns the lease."""

    async def placed(device, manager=manager):
        llm = LlamaCppLLM(context_tokens=1024)
        llm.name = "llamacpp"

        def context(where, vram_bytes=None):
            models = {SMOLLM2.name: folder}
            return LoadContext(device=where, vram_bytes=vram_bytes, models=models)

        async def load(where, vram_bytes):
            await llm.load(context(where, vram_bytes))

        supported = llm.capabilities.devices
        return await manager.place(
            llm,
            bind(device, component=llm.name, supported=supported, by_name=True),
            load,
            engines=llm.capabilities.engines,
            estimate=lambda where: llm.vram_estimate(context(where)),
        )

    return placed


async def reply(lease, request=STORY):
    """Return how many tokens a second a reply has."""
    begun = time.perf_counter()
    async with lease.backend.reply(request) as stream:
        pieces = [piece async for piece in stream if isinstance(piece, str)]
    return len(pieces) / (time.perf_counter() - begun)


async def test_it_is_proven_to_be_on_the_gpu(place, manager, capfdbinary):
    lease = await place("cuda")
    try:
        assert lease.is_on_gpu
        assert lease.proof.verdict is Verdict.PROVEN
        (piece,) = [e for e in lease.proof.evidence if e.kind == MODEL]
        assert piece.device == lease.device
        assert piece.share > 0.9
        assert "MiB (model)" in piece.says
        assert await reply(lease) > 0
        assert lease.backend.quick_check() == lease.device
    finally:
        await manager.release(lease)
    assert capfdbinary.readouterr() == (b"", b"")


async def test_it_takes_the_gpus_memory_and_gives_it_back(place, manager, gguf):
    instruments = Instruments()
    lease = await place("cuda")
    weights = gguf.stat().st_size
    used = instruments.memory_used(lease.gpu.uuid)
    assert lease.measured is None or lease.measured > 0.9 * weights
    await manager.release(lease)
    after = instruments.memory_used(lease.gpu.uuid)
    assert used is None or after < used - 0.9 * weights


async def test_the_estimate_is_near_what_it_takes(place, manager):
    first = await place("cuda")  # with the process's own context
    second = await place("cuda")
    try:
        assert second.measured is None or 0.5 < second.measured / second.reserved < 1.5
    finally:
        await manager.release(second)
        await manager.release(first)


async def test_the_gpu_is_busy_while_it_works(place, manager):
    lease = await place("cuda")
    instruments, busy = Instruments(), []
    try:
        async with anyio.create_task_group() as tasks:

            async def watch():
                while True:
                    machine = await to_thread.run_sync(lambda: instruments.machine(fresh=True))
                    busy.append(machine.inventory.find(lease.gpu.uuid).utilization or 0)

            tasks.start_soon(watch)
            await reply(lease)
            tasks.cancel_scope.cancel()
    finally:
        await manager.release(lease)
    assert max(busy) > 0


async def test_its_speed_stands_beside_that_of_the_cpu(place, manager, record_property):
    rates = {}
    for device in ("cuda", "cpu"):
        lease = await place(device)
        try:
            await reply(lease)
            rates[device] = await reply(lease)
        finally:
            await manager.release(lease)
        record_property(f"tokens_per_second_{device}", rates[device])
    assert all(rate > 0 for rate in rates.values())


async def test_a_build_for_cuda_stays_on_the_cpu_where_it_was_asked_to(place, manager):
    lease = await place("cpu")
    try:
        assert lease.request.policy is Policy.CPU
        assert lease.proof.verdict is Verdict.PROVEN
        assert {e.device for e in lease.proof.evidence if e.kind == MODEL} == {CPU}
    finally:
        await manager.release(lease)


async def test_a_gpu_that_is_not_there_is_refused(place):
    with pytest.raises(PlacementError):
        await place("cuda:99")


async def test_less_memory_than_it_needs_is_refused(place):
    with pytest.raises(PlacementError):
        await place("cuda", DeviceManager(budget=2**20))
