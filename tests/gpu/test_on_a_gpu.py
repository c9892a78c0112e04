"""On a real GPU: `make test-gpu`. Proof, memory, utilisation, and speed beside the CPU.

What is measured is printed, so that it can be kept. Where there is no GPU that can be used, these
tests fail, and say what `evakit doctor --require cuda` says.
"""

from __future__ import annotations

import sys
import time

import anyio
import pytest

import evakit
from evakit.devices import DeviceManager, LeaseState, Verdict
from evakit.devices.doctor import examine
from evakit.devices.evidence import CONTEXT, MEMORY, MODEL, WARM_UP
from evakit.devices.instruments import Instruments
from evakit.devices.nvml import utilization
from evakit.errors import VramBudgetError
from evakit.plugins import discover

pytestmark = [pytest.mark.gpu, pytest.mark.anyio, pytest.mark.timeout(600)]

LOCAL = [
    (spec.kind, spec.name)
    for spec in discover()
    if "cuda" in spec.capabilities.devices and spec.missing() is None
]
BUSY = 3.0  # seconds of work while the utilisation is read: the driver's window is up to one


@pytest.fixture(scope="module")
def gpu():
    """The first GPU; what keeps it from being used fails the tests."""
    machine = Instruments().machine()
    diagnosis = examine(machine, require="cuda")
    if not machine.inventory.visible:
        pytest.fail(f"There is no GPU that these tests could use.\n{diagnosis}", pytrace=False)
    return machine.inventory.visible[0]


@pytest.fixture
def tell(capsys):
    """Show a line although pytest keeps what is printed to itself."""

    def show(line):
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return show


def alone(kind, name, device="cuda", **more):
    return evakit.Stack(
        **({"stt": None, "llm": None, "tts": None} | {kind: name}), device=device, **more
    )


@pytest.mark.parametrize(("kind", "name"), LOCAL)
async def test_it_is_proven_takes_memory_and_gives_it_back(gpu, tell, kind, name):
    instruments = Instruments()
    manager = DeviceManager(instruments=instruments)
    before = instruments.memory_used(gpu.uuid)
    async with alone(kind, name, devices=manager) as stack:
        lease = stack.backends[kind].lease
        tell(f"{manager.report()}")
        assert lease.place.startswith("cuda:")
        assert lease.proof.verdict is Verdict.PROVEN
        assert {e.kind for e in lease.proof.evidence} >= {MODEL, CONTEXT, WARM_UP, MEMORY}
        assert lease.measured > 0
        assert instruments.memory_used(gpu.uuid) > before
        started = time.perf_counter()
        manager.check([lease])
        assert time.perf_counter() - started < 0.001
    assert lease.state is LeaseState.RELEASED
    assert manager.leases == ()


@pytest.mark.parametrize(("kind", "name"), LOCAL)
async def test_the_gpu_is_busy_while_it_works(gpu, tell, kind, name):
    async with alone(kind, name) as stack:
        backend = stack.backends[kind].backend
        seen = [0]

        async def read():
            while True:
                seen.append(await anyio.to_thread.run_sync(utilization, gpu.uuid) or 0)
                await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            end = time.monotonic() + BUSY
            while time.monotonic() < end:
                await backend.warm_up()
            tasks.cancel_scope.cancel()
    tell(f"{name}: up to {max(seen)} % busy")
    assert max(seen) > 0


@pytest.mark.parametrize(("kind", "name"), LOCAL)
async def test_its_speed_stands_beside_that_of_the_cpu(gpu, tell, kind, name):
    rates = {}
    for device in ("cuda", "cpu"):
        async with alone(kind, name, device) as stack:
            await stack.backends[kind].backend.warm_up()
            done = await stack.backends[kind].backend.warm_up()
            rates[device] = done.rate
            label = stack.backends[kind].label
            tell(f"{name} on {label}: {done}, {done.rate:.1f} {done.unit}/s")
    tell(f"{name}: {rates['cuda'] / rates['cpu']:.1f} times the CPU's speed")
    assert rates["cuda"] > 0


async def test_a_whole_conversation_runs_on_it(gpu, tell):
    async with evakit.AsyncConversation(device="cuda", language="en", voice="joe") as conversation:
        reply = await conversation.respond("What is the capital of France?")
        labels = {stage: loaded.label for stage, loaded in conversation.backends.items()}
    tell(f"{labels} {reply.timings}")
    assert reply.audio is not None
    assert reply.degraded == ()
    assert all(label.startswith("cuda:") for label in labels.values())


@pytest.mark.parametrize(("kind", "name"), LOCAL)
async def test_a_budget_that_is_too_small_is_kept(gpu, kind, name):
    manager = DeviceManager(budget=2**20)
    with pytest.raises(VramBudgetError, match="left of the budget"):
        await alone(kind, name, devices=manager).load()
