"""A Stack on devices: policies reach the user, in every place where one looks."""

from __future__ import annotations

import inspect
import logging

import anyio
import pytest

import evakit
from evakit import AsyncConversation, Stack
from evakit.abc import Capabilities
from evakit.devices import Device, DeviceManager
from evakit.errors import (
    GpuLostError,
    NoGpuError,
    PlacementDrift,
    SilentFallbackError,
    SynthesisError,
)
from evakit.testing import (
    PlacedTTS,
    ScriptedLLM,
    SimulatedMachine,
    SimulatedModel,
    rtx_4090,
    virtual,
)

pytestmark = pytest.mark.anyio
GIB = 2**30


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual(request.param)


@pytest.fixture
def machine():
    return SimulatedMachine(rtx_4090())


@pytest.fixture
def model(machine):
    return SimulatedModel(machine=machine)


def stack(machine, model, device="auto", **more):
    manager = more.pop("devices", None) or DeviceManager(instruments=machine)
    more = {"stt": None, "llm": ScriptedLLM(), "tts": PlacedTTS(model)} | more
    return Stack(device=device, devices=manager, **more)


async def test_what_is_proven_is_called_a_gpu(machine, model):
    async with stack(machine, model, "cuda") as loaded:
        tts, llm = loaded.backends["tts"], loaded.backends["llm"]
        assert (tts.device, tts.label, tts.degraded) == ("cuda:0", "cuda:0", None)
        assert tts.proof.verdict == "proven"
        assert (llm.device, llm.label) == ("cpu", "cpu (by design)")
        assert loaded.degraded == ()
    assert model.device is None
    assert machine.used[rtx_4090().uuid] == 0


async def test_without_a_gpu_auto_says_degraded_wherever_one_looks(caplog):
    machine = SimulatedMachine()
    model = SimulatedModel(machine=machine)
    with caplog.at_level(logging.INFO, "evakit"):
        async with (
            stack(machine, model) as loaded,
            AsyncConversation(loaded) as conversation,
        ):
            reply = await conversation.respond("Hello?")
            await conversation.respond("And again?")
            tts = conversation.backends["tts"]
    assert (tts.device, tts.label) == ("cpu", "cpu (degraded)")
    assert "GPU" in tts.degraded
    assert reply.degraded == (f"tts PlacedTTS runs on the CPU: {tts.degraded}",)
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [f"PlacedTTS runs on the CPU, degraded: {tts.degraded}"]
    assert any("tts PlacedTTS on cpu (degraded)" in r.message for r in caplog.records)


async def test_a_gpu_that_is_required_and_not_there_is_refused_before_anything_is_fetched():
    machine = SimulatedMachine()
    fetched = []

    class Fetching(PlacedTTS):
        def models(self):
            fetched.append("models")
            return super().models()

    model = SimulatedModel(machine=machine)
    with pytest.raises(NoGpuError) as caught:
        await stack(machine, model, "cuda", tts=Fetching(model)).load()
    assert caught.value.component == "Fetching"
    assert model.loads == fetched == []


async def test_where_the_device_is_set_outside_the_program_the_error_says_where(monkeypatch):
    monkeypatch.setenv("EVAKIT_DEVICE", "cuda")
    machine = SimulatedMachine()
    manager = DeviceManager(instruments=machine)
    tts = PlacedTTS(SimulatedModel(machine=machine))
    with pytest.raises(NoGpuError, match=r"\(device is set in EVAKIT_DEVICE\.\)"):
        await Stack(stt=None, llm=None, tts=tts, devices=manager).load()


async def test_a_model_that_cannot_be_proven_leaves_nothing_loaded(machine, model):
    model.goes_to = Device("cpu")
    llm = ScriptedLLM()
    with pytest.raises(SilentFallbackError):
        await stack(machine, model, "cuda", llm=llm).load()
    assert model.device is None
    assert not llm.in_stack


class SecondVoiceElsewhere(PlacedTTS):
    """Its second voice goes to the CPU without a word."""

    async def prepare_voice(self, voice, models):
        if voice.name == "ton":
            self.model.device = Device("cpu")


async def test_a_voice_that_is_added_is_proven_too(machine, model):
    async with (
        stack(machine, model, "cuda", tts=SecondVoiceElsewhere(model)) as loaded,
        AsyncConversation(loaded) as conversation,
    ):
        await conversation.respond("Hello?")
        with pytest.raises(SilentFallbackError):
            await conversation.respond("Bonjour ?", voice="ton")
        assert conversation.backends["tts"].label == "drifted"


async def test_a_model_that_moved_takes_no_more_turns_where_the_gpu_was_required(machine, model):
    async with (
        stack(machine, model, "cuda") as loaded,
        AsyncConversation(loaded) as conversation,
    ):
        await conversation.respond("Hello?")
        model.device = Device("cpu")
        for _ in range(2):
            with pytest.raises(PlacementDrift, match="it is on cpu now"):
                await conversation.respond("Hello?")
        assert loaded.backends["tts"].label == "drifted"


class FailsWithItsGpu(PlacedTTS):
    """Fails as engines do when their GPU is gone: with a word of its own."""

    def open(self, options):
        if self.model.machine.lost:
            raise SynthesisError("CUDA error 719: unspecified launch failure.", backend=self.name)
        return super().open(options)


async def test_a_gpu_that_is_lost_in_a_call_is_said_and_others_go_on():
    one, two = rtx_4090(0), rtx_4090(1)
    machine = SimulatedMachine(one, two)
    manager = DeviceManager(instruments=machine)
    models = [SimulatedModel(machine=machine) for _ in range(2)]
    stacks = [
        stack(machine, m, f"cuda:{n}", tts=FailsWithItsGpu(m), devices=manager)
        for n, m in enumerate(models)
    ]
    async with stacks[0], stacks[1]:
        async with AsyncConversation(stacks[0]) as first:
            await first.respond("Hello?")
            machine.lost[one.uuid] = "GPU is lost"
            with pytest.raises(GpuLostError, match="GPU is lost"):
                await first.respond("Hello?")
            assert stacks[0].backends["tts"].label == "lost"
    assert [model.device for model in models] == [None, None]


async def test_a_conversation_on_another_gpu_is_unharmed():
    one, two = rtx_4090(0), rtx_4090(1)
    machine = SimulatedMachine(one, two)
    manager = DeviceManager(instruments=machine)
    models = [SimulatedModel(machine=machine) for _ in range(2)]
    async with (
        stack(machine, models[0], "cuda:0", devices=manager) as first,
        stack(machine, models[1], "cuda:1", devices=manager) as second,
        AsyncConversation(first) as harmed,
        AsyncConversation(second) as unharmed,
    ):
        machine.lost[one.uuid] = "GPU is lost"
        with pytest.raises(GpuLostError):
            manager.check(thorough=True)
        with pytest.raises(GpuLostError):
            await harmed.respond("Hello?")
        assert (await unharmed.respond("Hello?")).audio is not None


async def test_an_idle_stack_makes_room_and_loads_again_when_it_is_used(machine):
    manager = DeviceManager(instruments=machine, budget=3 * GIB)
    old, new = (SimulatedModel(machine=machine, size=2 * GIB) for _ in range(2))
    async with (
        stack(machine, old, "cuda", devices=manager, evictable=True) as first,
        AsyncConversation(first) as conversation,
    ):
        await conversation.respond("Hello?")
        async with stack(machine, new, "cuda", devices=manager):
            assert (old.device, new.device) == (None, Device("cuda:0"))
        assert (await conversation.respond("Hello?")).audio is not None
        assert old.device == Device("cuda:0")
    assert manager.leases == ()


async def test_making_room_is_done_to_its_end_also_where_it_is_no_longer_wanted(machine):
    manager = DeviceManager(instruments=machine, budget=3 * GIB)
    old = SimulatedModel(machine=machine, size=2 * GIB)
    new = SimulatedModel(machine=machine, size=2 * GIB)
    old.gives_memory_back = False  # so that it is waited for
    async with stack(machine, old, "cuda", devices=manager, evictable=True):
        with anyio.move_on_after(1):
            async with stack(machine, new, "cuda", devices=manager):
                pass
        assert (old.device, old.unloads) == (None, 1)
    assert manager.leases == ()


async def test_a_voice_that_drifts_goes_on_degraded_where_a_gpu_was_preferred(machine, model):
    async with (
        stack(machine, model, "auto", tts=SecondVoiceElsewhere(model)) as loaded,
        AsyncConversation(loaded) as conversation,
    ):
        await conversation.respond("Hello?")
        reply = await conversation.respond("Bonjour ?", voice="ton")
    assert reply.audio is not None
    assert reply.degraded[0].startswith("tts SecondVoiceElsewhere has drifted: it was proven on")


async def test_a_stack_in_a_turn_is_not_evicted(machine):
    manager = DeviceManager(instruments=machine, budget=3 * GIB)
    old, new = (SimulatedModel(machine=machine, size=2 * GIB) for _ in range(2))
    tts = PlacedTTS(old)
    tts.delay = 60.0  # seconds before each chunk
    async with (
        stack(machine, old, "cuda", devices=manager, evictable=True, tts=tts) as first,
        AsyncConversation(first) as conversation,
        conversation.turn("Hello?") as turn,
    ):
        async for _ in turn:
            break
        lease = await manager.place(
            new,
            evakit.devices.bind("auto", component="new", supported={"cpu", "cuda"}),
            new.load,
            estimate=lambda _device: new.size,
        )
        assert lease.label == "cpu (degraded)"
        assert old.device == Device("cuda:0")


async def test_a_load_that_is_left_gives_the_gpu_back(machine, model):
    model.hangs = True
    with anyio.move_on_after(1):
        await stack(machine, model, "cuda").load()
    assert machine.used[rtx_4090().uuid] == 0
    model.hangs = False
    async with stack(machine, model, "cuda") as loaded:
        assert loaded.backends["tts"].label == "cuda:0"


def test_capabilities_say_what_is_looked_at_before_loading():
    assert Capabilities(engines=["torch"]).engines == {"torch"}
    assert "engines" in inspect.signature(Capabilities).parameters
