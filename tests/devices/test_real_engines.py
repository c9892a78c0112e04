"""The engines that are installed, for real: builds for the CPU, on a machine without a GPU.

What each of them says is refused, degraded or proven on the CPU, and nothing is ever called a GPU.
"""

from __future__ import annotations

import json
import time

import pytest

import evakit
from evakit.devices import DeviceManager, Verdict
from evakit.devices.checks import check_engine
from evakit.devices.instruments import Instruments
from evakit.errors import (
    DriverError,
    MissingLibraryError,
    NoGpuError,
    PlacementError,
    SilentFallbackError,
    WheelFlavourError,
)
from evakit.plugins import discover
from evakit.testing import SimulatedMachine, rtx_4090

from .native import run

pytestmark = pytest.mark.anyio
LIMIT = 2.0  # seconds that a refusal may take


def local():
    """The backends of installed plugins that can use CUDA."""
    return [
        (spec.kind, spec.name)
        for spec in discover()
        if "cuda" in spec.capabilities.devices and (spec.distribution or "").startswith("evakit-")
    ]


def alone(kind, name, **more):
    return evakit.Stack(**({"stt": None, "llm": None, "tts": None} | {kind: name} | more))


def test_the_plugins_that_can_use_cuda_are_known():
    assert {("stt", "whisper"), ("llm", "llamacpp"), ("tts", "piper")} <= set(local())


@pytest.mark.parametrize(("kind", "name"), local())
@pytest.mark.parametrize("asked", ["device", "name"])
async def test_without_a_gpu_each_refuses_cuda_with_the_reason_and_the_cure(kind, name, asked):
    stack = alone(kind, name, device="cuda") if asked == "device" else alone(kind, f"{name}@cuda:0")
    started = time.perf_counter()
    with pytest.raises(NoGpuError) as caught:
        await stack.load()
    assert time.perf_counter() - started < LIMIT
    error = caught.value
    assert error.component == name
    assert error.wanted in {"cuda", "cuda:0"}
    assert error.found is None
    assert error.why
    assert error.fixes
    assert f"{name} was asked for on cuda" in str(error)


# What each of them lacks on a machine with an RTX 4090 and a driver: that is the order of cures.
LACKS = {
    "whisper": (MissingLibraryError, "libcublas.so.12", "nvidia-cublas-cu12"),
    "llamacpp": (WheelFlavourError, "xllamacpp", "xorbitsai.github.io/xllamacpp/whl/cu"),
    "piper": (WheelFlavourError, "onnxruntime", "onnxruntime-gpu"),
}

ON_A_4090 = """
import json, time
import anyio
import evakit

async def main():
    stages = {{"stt": None, "llm": None, "tts": None, "{kind}": "{name}"}}
    started = time.perf_counter()
    try:
        await evakit.Stack(**stages, device="cuda").load()
    except evakit.errors.PlacementError as error:
        took = time.perf_counter() - started
        print(json.dumps(dict(
            kind=type(error).__name__, text=str(error), why=error.why, took=took,
            pip=[f.pip for f in error.fixes], uv=[f.uv for f in error.fixes],
        )))

anyio.run(main)
"""


@pytest.mark.parametrize(("kind", "name"), [pair for pair in local() if pair[1] in LACKS])
def test_beside_an_rtx_4090_each_names_what_its_engine_lacks(fake_nvml, kind, name):
    told = run(ON_A_4090.format(kind=kind, name=name), fake_nvml("4090"))
    error, what, cure = LACKS[name]
    assert told["kind"] == error.__name__, told
    assert what in told["why"]
    assert any(cure in (command or "") for command in told["pip"]), told["pip"]
    assert any(cure in (command or "") for command in told["uv"]), told["uv"]
    assert told["took"] < LIMIT


class Hopeful(SimulatedMachine):
    """A machine with a GPU, whose engines are taken on trust: only proof is left to catch them."""


# What the real engine itself does when it is asked for a GPU that is not there.
DOES = {"whisper": DriverError, "llamacpp": WheelFlavourError, "piper": SilentFallbackError}


@pytest.mark.parametrize(("kind", "name"), [pair for pair in local() if pair[1] in DOES])
async def test_an_engine_that_is_really_asked_for_cuda_is_caught(kind, name, monkeypatch):
    backend = next(s for s in discover() if (s.kind, s.name) == (kind, name)).create()
    monkeypatch.setattr(type(backend), "probe", None)
    manager = DeviceManager(instruments=Hopeful(rtx_4090()))
    with pytest.raises(DOES[name]) as caught:
        await alone(kind, backend, device="cuda", devices=manager).load()
    assert caught.value.component == name
    assert caught.value.why
    assert manager.leases == ()


@pytest.mark.parametrize(("kind", "name"), [pair for pair in local() if pair[1] in DOES])
async def test_an_engine_that_cannot_do_it_works_degraded_where_auto_will_do(
    kind, name, monkeypatch
):
    backend = next(s for s in discover() if (s.kind, s.name) == (kind, name)).create()
    monkeypatch.setattr(type(backend), "probe", None)
    manager = DeviceManager(instruments=Hopeful(rtx_4090()))
    async with alone(kind, backend, device="auto", devices=manager) as stack:
        loaded = stack.backends[kind]
        assert (loaded.device, loaded.label) == ("cpu", "cpu (degraded)")
        assert loaded.degraded
        assert loaded.proof.verdict is Verdict.PROVEN


@pytest.mark.parametrize(("kind", "name"), local())
async def test_the_cpu_is_proven_where_it_is_asked_for(kind, name):
    async with alone(kind, name, device="cpu") as stack:
        loaded = stack.backends[kind]
        assert (loaded.device, loaded.label, loaded.degraded) == ("cpu", "cpu", None)
        assert loaded.proof.verdict is Verdict.PROVEN, loaded.proof.reasons


async def test_a_whole_conversation_says_degraded_everywhere_and_no_gpu_anywhere(caplog):
    with caplog.at_level("INFO", "evakit"):
        async with evakit.AsyncConversation(language="en", voice="joe") as conversation:
            reply = await conversation.respond("What is the capital of France?")
            backends = conversation.backends
            report = evakit.devices.default_manager().report()
    assert reply.audio is not None
    assert len(reply.degraded) == len(backends) == 3
    assert {loaded.label for loaded in backends.values()} == {"cpu (degraded)"}
    told = json.dumps([b.lease.to_json() for b in backends.values()] + [report.to_json()])
    places = [c["device"] for c in report.to_json()["components"]]
    assert "cuda" not in {*places, *(b.device for b in backends.values())}
    assert '"device": "cuda' not in told
    assert "cpu (degraded)" in str(report)
    assert sum("degraded: " in record.getMessage() for record in caplog.records) <= 3


def test_this_machine_is_read_as_it_is():
    machine = Instruments().machine()
    for engine in ("onnxruntime", "ctranslate2", "llama.cpp"):
        assert machine.installed.get(engine) is not None
    assert issubclass(check_engine(machine, "llama.cpp")[0].error, PlacementError)
