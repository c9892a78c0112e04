"""Piper on a real GPU: where its operators are put, what it takes, and its speed beside the CPU's.

Run by `make test-gpu`, with `evakit-piper[cuda]` installed. What is measured is printed.
"""

from __future__ import annotations

import sys
import time

import anyio
import pytest

from evakit.abc import LoadContext, TTSOptions
from evakit.devices import Device, DeviceManager, DeviceRequest, Policy, Strength, Verdict
from evakit.devices.device import CPU
from evakit.devices.nvml import utilization
from evakit_piper import PiperTTS

pytestmark = [pytest.mark.gpu, pytest.mark.anyio, pytest.mark.timeout(600)]

CUDA_0 = Device("cuda:0")
BUSY = 3.0  # seconds of work while the utilisation is read
TEXT = "The quick brown fox jumps over the lazy dog, and it does so all day long."


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def tell(capsys):
    """Show a line although pytest keeps what is printed to itself."""

    def show(line):
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")

    return show


@pytest.fixture
async def place(store):
    """A function that places a backend with the voice joe; it is released after the test."""
    manager, leases = DeviceManager(), []

    async def start(device=CUDA_0, vram_bytes=None):
        tts = PiperTTS()

        async def load(exact, limit):
            await tts.load(LoadContext(device=exact, vram_bytes=limit))
            joe = tts.voices[0]
            await tts.prepare_voice(joe, {m.name: store.ensure(m) for m in tts.voice_models(joe)})

        request = DeviceRequest(
            component="piper",
            policy=Policy.REQUIRE if device.is_gpu else Policy.CPU,
            device=device,
            vram_bytes=vram_bytes,
        )
        lease = await manager.place(
            tts,
            request,
            load,
            engines=tts.capabilities.engines,
            estimate=lambda exact: tts.vram_estimate(LoadContext(device=exact)),
        )
        leases.append(lease)
        return tts, lease

    yield start
    for lease in leases:
        await manager.release(lease)


def speak(tts, text=TEXT):
    """Return the seconds that it took and the seconds of speech that came of it."""
    begun = time.perf_counter()
    spoken = sum(audio.duration for audio in tts.synthesize(text, TTSOptions()))
    return time.perf_counter() - begun, spoken


async def test_every_heavy_operator_is_put_on_the_gpu(place, tell):
    tts, lease = await place()
    assert lease.proof.verdict is Verdict.PROVEN
    (observed,) = [e for e in tts.evidence() if e.strength is Strength.OBSERVED]
    tell(observed.says)
    assert (observed.device, observed.share) == (CUDA_0, None)
    assert "158 of 158" in observed.says
    assert tts.quick_check() == CUDA_0


async def test_it_takes_memory_as_it_was_estimated(place, tell):
    tts, lease = await place()
    estimate = tts.vram_estimate(LoadContext(device=CUDA_0))
    tell(f"piper: {lease.measured >> 20} MiB with CUDA's context, estimated {estimate >> 20} MiB")
    assert lease.measured > estimate / 2


async def test_a_limit_of_memory_is_enough_for_a_sentence(place):
    tts, lease = await place(vram_bytes=512 << 20)
    assert lease.proof.verdict is Verdict.PROVEN
    assert speak(tts)[1] > 2


async def test_the_gpu_works_while_it_speaks(place, tell):
    tts, lease = await place()
    seen = [0]

    async def read():
        while True:
            seen.append(await anyio.to_thread.run_sync(utilization, lease.gpu.uuid) or 0)
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        end = time.monotonic() + BUSY
        while time.monotonic() < end:
            await anyio.to_thread.run_sync(speak, tts)
        tasks.cancel_scope.cancel()
    tell(f"piper: up to {max(seen)} % busy")
    assert max(seen) > 0


async def test_a_length_that_is_new_costs_no_search(place, tell):
    """With the default search for convolutions a new length takes several times as long."""
    tts, _ = await place()
    texts = [" ".join(["word"] * n) + "." for n in range(4, 14)]
    new = [speak(tts, text)[0] for text in texts]
    again = [speak(tts, texts[-1])[0] for _ in texts]
    tell(f"piper: new lengths {max(new) * 1e3:.0f} ms at most, one again {min(again) * 1e3:.0f} ms")
    assert sorted(new)[len(new) // 2] < 5 * sorted(again)[len(again) // 2]


async def test_its_speed_stands_beside_that_of_the_cpu(place, tell):
    """Piper is often no faster on a GPU: what counts is that both are known."""
    for device in (CUDA_0, CPU):
        tts, lease = await place(device)
        speak(tts)
        took, spoken = speak(tts)
        tell(f"piper on {lease.label}: RTF {took / spoken:.4f}")
        assert took < spoken
