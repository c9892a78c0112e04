"""Whisper on a real GPU: where the encoder's output lies, what it takes, and its speed.

Run by `make test-gpu`, with `evakit-whisper[cuda]` installed. What is measured is printed.
"""

from __future__ import annotations

import sys
import time

import anyio
import pytest

from evakit.abc import LoadContext, Strength, STTOptions
from evakit.devices import Device, DeviceManager, DeviceRequest, Policy, Verdict
from evakit.devices.device import CPU
from evakit.devices.instruments import Instruments
from evakit.devices.nvml import utilization
from evakit.devices.probing import try_in_a_child
from evakit.errors import DeviceError
from evakit_whisper import WhisperSTT

pytestmark = [pytest.mark.gpu, pytest.mark.anyio, pytest.mark.timeout(600)]

CUDA_0 = Device("cuda:0")
BUSY = 3.0  # seconds of work while the utilisation is read


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
    """A function that places Whisper base; it is released after the test."""
    manager, leases = DeviceManager(), []

    async def start(device=CUDA_0, **options):
        stt = WhisperSTT("base", **options)
        models = {model.name: store.ensure(model) for model in stt.models()}

        async def load(exact, limit):
            await stt.load(LoadContext(device=exact, models=models, vram_bytes=limit))

        lease = await manager.place(
            stt,
            DeviceRequest(
                component="whisper",
                policy=Policy.REQUIRE if device.is_gpu else Policy.CPU,
                device=device,
            ),
            load,
            engines=stt.capabilities.engines,
            estimate=lambda exact: stt.vram_estimate(LoadContext(device=exact, models=models)),
        )
        leases.append(lease)
        return stt, lease

    yield start
    for lease in leases:
        await manager.release(lease)


def hear(stt, audio):
    """Return the seconds that it took and what was heard."""
    begun = time.perf_counter()
    text = stt.transcribe(audio, STTOptions(languages=("en",))).text
    return time.perf_counter() - begun, text


async def test_the_output_of_the_encoder_lies_on_the_gpu(place, clips, tell):
    stt, lease = await place()
    assert lease.proof.verdict is Verdict.PROVEN
    hear(stt, clips["en/hello_world"][0])
    observed = stt.evidence()[0]
    tell(observed.says)
    assert (observed.strength, observed.device) == (Strength.OBSERVED, CUDA_0)
    assert "computed as float16" in stt.evidence()[1].says
    assert stt.quick_check() == CUDA_0


@pytest.mark.parametrize("compute_type", ["float16", "int8_float16"])
async def test_it_hears_on_the_gpu_what_was_said(place, clips, compute_type):
    stt, _ = await place(compute_type=compute_type)
    text = hear(stt, clips["en/quick_brown_fox"][0])[1]
    assert "quick brown fox jumps over the lazy dog" in text.lower()


async def test_the_trial_in_a_process_of_its_own_passes():
    try_in_a_child(WhisperSTT.probe, CUDA_0, DeviceRequest(component="whisper"))


async def test_it_takes_memory_as_it_was_estimated_and_gives_it_back(store, place, tell):
    stt, lease = await place()
    models = {model.name: store.ensure(model) for model in stt.models()}
    estimate = stt.vram_estimate(LoadContext(device=CUDA_0, models=models))
    tell(f"whisper: {lease.measured >> 20} MiB with CUDA's context, estimated {estimate >> 20} MiB")
    assert lease.measured > estimate / 2
    before = Instruments().memory_used(lease.gpu.uuid)
    await stt.unload()
    assert Instruments().memory_used(lease.gpu.uuid) < before
    with pytest.raises(DeviceError):
        stt.quick_check()


async def test_the_gpu_works_while_it_hears(place, clips, tell):
    stt, lease = await place()
    audio, seen = clips["en/quick_brown_fox"][0], [0]

    async def read():
        while True:
            seen.append(await anyio.to_thread.run_sync(utilization, lease.gpu.uuid) or 0)
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        end = time.monotonic() + BUSY
        while time.monotonic() < end:
            await anyio.to_thread.run_sync(hear, stt, audio)
        tasks.cancel_scope.cancel()
    tell(f"whisper: up to {max(seen)} % busy")
    assert max(seen) > 0


async def test_its_speed_stands_beside_that_of_the_cpu(place, clips, tell):
    audio, rtf = clips["en/quick_brown_fox"][0], {}
    for device in (CUDA_0, CPU):
        stt, lease = await place(device)
        hear(stt, audio)
        rtf[device] = hear(stt, audio)[0] / audio.duration
        tell(f"whisper on {lease.label}: RTF {rtf[device]:.4f}")
    assert rtf[CUDA_0] < rtf[CPU]
