"""The manager places, proves, refuses, degrades, makes room and gives back, on simulated GPUs."""

from __future__ import annotations

import json
import logging

import anyio
import pytest
from attrs import evolve

from evakit.devices import (
    Binding,
    Device,
    DeviceManager,
    LeaseState,
    NvmlFailure,
    Verdict,
    bind,
)
from evakit.devices.evidence import CONTEXT, MEMORY, MODEL, WARM_UP
from evakit.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    DeviceError,
    GpuLostError,
    MissingLibraryError,
    ModelError,
    NoGpuError,
    PartialPlacementError,
    PlacementDrift,
    PlacementError,
    SilentFallbackError,
    StorageError,
    VramBudgetError,
)
from evakit.testing import SimulatedMachine, SimulatedModel, rtx_4090
from evakit.testing.clock import virtual

GIB = 2**30
CPU, CUDA_0, CUDA_1 = Device("cpu"), Device("cuda:0"), Device("cuda:1")
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual(request.param)  # some loads hang, some memory never comes back


@pytest.fixture
def machine():
    return SimulatedMachine(rtx_4090())


@pytest.fixture
def manager(machine):
    return DeviceManager(instruments=machine)


def asked(device="cuda", component="tts"):
    return bind(device, component=component, supported={"cpu", "cuda"})


async def place(manager, model, device="cuda", **more):
    more.setdefault("estimate", lambda _device: model.size)
    return await manager.place(model, asked(device), model.load, **more)


# --- proven


async def test_a_gpu_that_is_asked_for_is_proven(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    assert model.loads == [CUDA_0]
    assert lease.state is LeaseState.VERIFIED
    assert lease.is_on_gpu
    assert (lease.place, lease.label, lease.degraded) == ("cuda:0", "cuda:0", None)
    assert lease.proof.verdict is Verdict.PROVEN
    assert {piece.kind for piece in lease.proof.evidence} == {MODEL, CONTEXT, WARM_UP, MEMORY}
    assert lease.measured == model.size
    assert manager.leases == (lease,)


FLAWS = {
    "the engine shows nothing": {"shows": lambda seen: ()},
    "no context": {"opens_context": False},
    "no warm-up": {"works": False},
    "no memory": {"takes_memory": False},
}


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_proof_that_lacks_one_piece_is_none(manager, machine, flaw):
    model = SimulatedModel(machine=machine, **FLAWS[flaw])
    with pytest.raises(PlacementError) as caught:
        await place(manager, model)
    assert caught.value.proof.verdict is not Verdict.PROVEN
    assert caught.value.wanted == "cuda"
    assert model.device is None
    assert manager.leases == ()
    assert machine.used == {rtx_4090().uuid: 0}


@pytest.mark.parametrize("flaw", FLAWS)
async def test_what_cannot_be_proven_goes_to_the_cpu_where_that_will_do(manager, machine, flaw):
    lease = await place(manager, SimulatedModel(machine=machine, **FLAWS[flaw]), "auto")
    assert (lease.place, lease.label) == ("cpu", "cpu (degraded)")
    assert lease.degraded


async def test_an_engine_that_goes_to_the_cpu_without_a_word_is_caught(manager, machine):
    model = SimulatedModel(machine=machine, goes_to=CPU)
    with pytest.raises(SilentFallbackError) as caught:
        await place(manager, model)
    error = caught.value
    assert (error.component, error.wanted, error.found) == ("tts", "cuda", "cpu")
    assert "the output of a run is on cpu" in error.why
    assert model.device is None


async def test_an_engine_that_takes_another_gpu_is_caught():
    machine = SimulatedMachine(rtx_4090(0), rtx_4090(1))
    manager = DeviceManager(instruments=machine)
    model = SimulatedModel(machine=machine, goes_to=CUDA_1)
    with pytest.raises(SilentFallbackError):
        await place(manager, model, "cuda:0")
    assert set(machine.used.values()) == {0}


async def test_a_model_that_is_only_half_on_the_gpu_is_refused(manager, machine):
    model = SimulatedModel(machine=machine, share=0.6)
    with pytest.raises(PartialPlacementError, match="40% of the run was on the CPU") as caught:
        await place(manager, model)
    assert caught.value.proof.verdict is Verdict.PARTIAL


# --- which GPU


async def test_a_gpu_may_be_named_by_its_uuid():
    machine = SimulatedMachine(rtx_4090(0), rtx_4090(1))
    manager = DeviceManager(instruments=machine)
    lease = await place(manager, SimulatedModel(machine=machine), rtx_4090(1).uuid)
    assert (lease.place, lease.gpu.uuid) == ("cuda:1", rtx_4090(1).uuid)


async def test_models_share_a_gpu_until_it_is_full_then_take_the_other():
    machine = SimulatedMachine(rtx_4090(0, total=8 * GIB), rtx_4090(1, total=6 * GIB))
    manager = DeviceManager(instruments=machine)
    places = [
        (await place(manager, SimulatedModel(machine=machine, size=2 * GIB))).place
        for _ in range(5)
    ]
    assert places == ["cuda:0", "cuda:0", "cuda:0", "cuda:1", "cuda:1"]


@pytest.mark.parametrize("device", ["cuda:1", "GPU-dead", "MIG-1"])
async def test_a_gpu_that_is_not_there_is_refused_and_those_that_are_named(
    manager, machine, device
):
    model = SimulatedModel(machine=machine)
    with pytest.raises(NoGpuError, match=rf"visible are: cuda:0 .*{rtx_4090().uuid}"):
        await place(manager, model, device)
    assert model.loads == []


async def test_without_a_gpu_nothing_is_loaded_where_one_is_required():
    machine = SimulatedMachine()
    model = SimulatedModel(machine=machine)
    with pytest.raises(NoGpuError) as caught:
        await place(DeviceManager(instruments=machine), model)
    assert model.loads == []
    assert caught.value.fixes


async def test_a_forked_child_of_a_process_with_cuda_uses_no_gpu(manager, machine):
    machine.is_forked = True
    with pytest.raises(NoGpuError, match=r"was forked from one that uses the GPU.*'spawn'"):
        await place(manager, SimulatedModel(machine=machine))
    lease = await place(manager, SimulatedModel(machine=machine), "auto")
    assert lease.degraded.startswith("this process was forked")


async def test_a_limit_of_memory_is_admitted_and_is_no_measure_of_the_model(manager, machine):
    model = SimulatedModel(machine=machine)
    request = evolve(asked(), vram_bytes=8 * GIB)
    lease = await manager.place(model, request, model.load, estimate=lambda _device: model.size)
    assert lease.proof.verdict is Verdict.PROVEN
    assert lease.reserved > 8 * GIB


# --- degraded, the CPU, by design, remote


async def test_without_a_gpu_the_cpu_will_do_for_auto_and_says_why():
    machine = SimulatedMachine()
    lease = await place(DeviceManager(instruments=machine), SimulatedModel(machine=machine), "auto")
    assert lease.state is LeaseState.DEGRADED
    assert (lease.place, lease.label) == ("cpu", "cpu (degraded)")
    assert "GPU" in lease.degraded
    assert lease.proof.verdict is Verdict.PROVEN
    assert lease.proof.device == CPU


async def test_degraded_is_logged_once(caplog, monkeypatch):
    machine = SimulatedMachine()
    manager = DeviceManager(instruments=machine)
    with caplog.at_level(logging.WARNING, "evakit"):
        for _ in range(3):
            await manager.release(await place(manager, SimulatedModel(machine=machine), "auto"))
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        "tts runs on the CPU, degraded"
    ]


async def test_an_engine_that_cannot_use_the_gpu_that_is_there_goes_to_the_cpu(manager, machine):
    why = MissingLibraryError("No cuBLAS.", why="libcublas.so.12 is missing")
    model = SimulatedModel(machine=machine, fails=why)
    lease = await place(manager, model, "auto")
    assert model.loads == [CUDA_0, CPU]
    assert model.unloads == 1
    assert lease.degraded == "libcublas.so.12 is missing"


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailableError("It failed.", backend="tts"),
        StorageError("No room for the lock."),
        BackendBusyError("Another loads.", backend="tts"),
    ],
)
async def test_whatever_keeps_it_from_the_gpu_the_cpu_will_do_for_auto(manager, machine, error):
    lease = await place(manager, SimulatedModel(machine=machine, fails=error), "auto")
    assert lease.degraded == str(error).rstrip(".")


async def test_a_failure_that_is_no_matter_of_devices_is_not_hidden_by_the_cpu(manager, machine):
    model = SimulatedModel(machine=machine, fails=ModelError("It is damaged.", model="tts"))
    with pytest.raises(ModelError):
        await place(manager, model, "auto")
    assert model.loads == [CUDA_0]
    assert model.unloads == 1


async def test_the_cpu_is_verified_too(manager, machine):
    model = SimulatedModel(machine=machine, goes_to=CUDA_0)
    with pytest.raises(SilentFallbackError):
        await place(manager, model, "cpu")
    lease = await place(manager, SimulatedModel(machine=machine), "cpu")
    assert (lease.place, lease.label, lease.degraded) == ("cpu", "cpu", None)
    assert lease.proof.verdict is Verdict.PROVEN


async def test_a_context_that_appears_refutes_a_cpu_where_nothing_else_was_seen(manager, machine):
    model = SimulatedModel(machine=machine, goes_to=CUDA_0, shows=lambda seen: ())
    with pytest.raises(SilentFallbackError, match="a CUDA context on GPU-"):
        await place(manager, model, "cpu")


async def test_a_context_of_somebody_else_is_no_matter_where_the_engine_shows_the_cpu(
    manager, machine
):
    model = SimulatedModel(machine=machine)

    async def load(device, vram_bytes):
        await model.load(device, vram_bytes)
        machine.contexts.add(rtx_4090().uuid)

    lease = await manager.place(model, asked("cpu"), load)
    assert lease.proof.verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    ("supported", "label", "binding"),
    [({"cpu"}, "cpu (by design)", Binding.BY_DESIGN), ({"remote"}, "remote", Binding.REMOTE)],
)
@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
async def test_what_cannot_follow_stays_and_is_no_error(supported, label, binding, device):
    machine = SimulatedMachine()
    manager = DeviceManager(instruments=machine)
    model = SimulatedModel(machine=machine)
    request = bind(device, component="x", supported=supported)
    lease = await manager.place(model, request, model.load)
    assert (lease.label, lease.degraded) == (label, None)
    assert lease.request.binding is binding
    assert lease.state is LeaseState.VERIFIED


# --- room


async def test_a_model_that_can_never_fit_is_refused_before_it_is_loaded():
    machine = SimulatedMachine(rtx_4090(total=4 * GIB))
    model = SimulatedModel(machine=machine, size=8 * GIB)
    with pytest.raises(VramBudgetError, match=r"4\.0 GiB of 4\.0 GiB are free.*choose a smaller"):
        await place(DeviceManager(instruments=machine), model)
    assert model.loads == []


async def test_whoever_holds_the_memory_is_named():
    machine = SimulatedMachine(rtx_4090(total=4 * GIB))
    manager = DeviceManager(instruments=machine)
    await place(manager, SimulatedModel(machine=machine, size=2 * GIB))
    with pytest.raises(VramBudgetError, match=r"held by of this program: tts \(2\.0 GiB\)"):
        await place(manager, SimulatedModel(machine=machine, size=2 * GIB))


async def test_a_budget_is_kept(machine):
    manager = DeviceManager(instruments=machine, budget=3 * GIB)
    await place(manager, SimulatedModel(machine=machine, size=2 * GIB))
    with pytest.raises(VramBudgetError, match="left of the budget"):
        await place(manager, SimulatedModel(machine=machine, size=2 * GIB))


async def test_an_idle_model_makes_room_and_its_memory_is_waited_for(machine):
    manager = DeviceManager(instruments=machine, budget=3 * GIB)
    old = SimulatedModel(machine=machine, size=2 * GIB)
    request = bind("cuda", component="old", supported={"cuda", "cpu"})
    leases = []

    async def evict():
        await manager.release(leases[0])
        return True

    leases.append(
        await manager.place(
            old,
            evolve(request, evictable=True),
            old.load,
            estimate=lambda _d: old.size,
            evict=evict,
        )
    )
    lease = await place(manager, SimulatedModel(machine=machine, size=2 * GIB))
    assert lease.is_on_gpu
    assert old.device is None
    assert manager.leases == (lease,)


async def test_a_model_in_use_is_not_evicted(machine):
    manager = DeviceManager(instruments=machine, budget=3 * GIB)
    old = SimulatedModel(machine=machine, size=2 * GIB)

    async def evict():
        return False

    await manager.place(
        old,
        evolve(asked(), evictable=True),
        old.load,
        estimate=lambda _d: old.size,
        evict=evict,
    )
    with pytest.raises(VramBudgetError):
        await place(manager, SimulatedModel(machine=machine, size=2 * GIB))
    assert old.device == CUDA_0


async def test_of_two_that_race_for_the_last_gigabyte_one_gets_it():
    machine = SimulatedMachine(rtx_4090(total=2 * GIB))
    managers = [DeviceManager(instruments=machine) for _ in range(2)]  # as two programs have
    ends = []

    async def race(manager):
        model = SimulatedModel(machine=machine, size=GIB)

        async def slowly(device, vram_bytes):
            await anyio.sleep(0.1)
            await model.load(device, vram_bytes)

        try:
            await manager.place(model, asked(), slowly, estimate=lambda _d: GIB)
            ends.append("placed")
        except VramBudgetError:
            ends.append("refused")

    async with anyio.create_task_group() as tasks:
        for manager in managers:
            tasks.start_soon(race, manager)
    assert sorted(ends) == ["placed", "refused"]
    assert machine.used[rtx_4090().uuid] == GIB


# --- giving back


async def test_releasing_unloads_and_is_done_once(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    await manager.release(lease)
    await manager.release(lease)
    assert model.unloads == 1
    assert lease.state is LeaseState.RELEASED
    assert manager.leases == ()
    assert machine.used[rtx_4090().uuid] == 0


async def test_memory_that_does_not_come_back_is_waited_for_and_told(manager, machine, caplog):
    model = SimulatedModel(machine=machine, gives_memory_back=False)
    lease = await place(manager, model)
    began = anyio.current_time()
    await manager.release(lease)
    assert 5 <= anyio.current_time() - began < 6
    assert "has not given its memory back after 5 s" in caplog.text
    assert manager.leases == ()


async def test_memory_that_comes_back_late_is_waited_for(manager, machine):
    model = SimulatedModel(machine=machine, gives_memory_back=False)
    lease = await place(manager, model)

    async def driver():
        await anyio.sleep(1)
        machine.used[rtx_4090().uuid] = 0

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(driver)
        began = anyio.current_time()
        await manager.release(lease)
        assert 1 <= anyio.current_time() - began < 2


async def test_a_load_that_is_cancelled_leaves_nothing(manager, machine):
    model = SimulatedModel(machine=machine, hangs=True)
    with anyio.move_on_after(1):
        await place(manager, model)
    assert model.unloads == 1
    assert manager.leases == ()
    assert machine.used[rtx_4090().uuid] == 0
    assert (await place(manager, SimulatedModel(machine=machine))).is_on_gpu


async def test_giving_back_is_done_to_its_end_also_when_it_is_cancelled(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await manager.release(lease)
    assert (model.unloads, manager.leases) == (1, ())
    assert machine.used[rtx_4090().uuid] == 0


class Foreign(SimulatedModel):
    """An engine that raises what it likes."""

    def __init__(self, where, **more):
        super().__init__(**more)
        self.where = where

    def go_off(self, where):
        if where == self.where:
            raise TimeoutError("the engine's own")

    async def warm_up(self):
        self.go_off("warm_up")
        return await super().warm_up()

    def evidence(self):
        self.go_off("evidence")
        return super().evidence()

    async def unload(self):
        await super().unload()
        self.go_off("unload")


@pytest.mark.parametrize("where", ["warm_up", "evidence"])
async def test_what_an_engine_raises_is_ours_undone_and_no_hang(manager, machine, where):
    model = Foreign(where, machine=machine)
    with pytest.raises(BackendUnavailableError, match="the engine's own") as caught:
        await place(manager, model)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert (model.unloads, manager.leases) == (1, ())
    assert manager.report().quarantined == {}
    assert machine.used[rtx_4090().uuid] == 0


async def test_what_an_engine_raises_as_it_is_unloaded_is_ours(manager, machine):
    lease = await place(manager, Foreign("unload", machine=machine))
    with pytest.raises(BackendError, match="failed while unloading"):
        await manager.release(lease)
    assert manager.leases == ()


# --- loads that hang


async def test_who_waited_for_a_gpu_whose_load_hung_does_not_use_it(machine):
    manager = DeviceManager(instruments=machine, load_limit=10)
    waiting = SimulatedModel(machine=machine)
    ends = []

    async def hang():
        with pytest.raises(GpuLostError):
            await place(manager, SimulatedModel(machine=machine, hangs=True))

    async def wait():
        await anyio.sleep(1)
        with pytest.raises(GpuLostError, match="is not used any more") as caught:
            await place(manager, waiting)
        ends.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang)
        tasks.start_soon(wait)
    assert ends
    assert waiting.loads == []


async def test_a_load_that_hangs_ends_the_use_of_its_gpu(machine):
    manager = DeviceManager(instruments=machine, load_limit=10)
    with pytest.raises(GpuLostError, match="within 10 s, and a thread"):
        await place(manager, SimulatedModel(machine=machine, hangs=True))
    with pytest.raises(GpuLostError, match="is not used any more by this program"):
        await place(manager, SimulatedModel(machine=machine))
    lease = await place(manager, SimulatedModel(machine=machine), "auto")
    assert "is not used any more" in lease.degraded
    report = manager.report()
    assert report.stuck_threads == 1
    assert list(report.quarantined) == [rtx_4090().uuid]


async def test_a_load_that_hangs_is_not_tried_again_on_the_cpu(machine):
    manager = DeviceManager(instruments=machine, load_limit=10)
    model = SimulatedModel(machine=machine, hangs=True)
    with pytest.raises(GpuLostError):
        await place(manager, model, "auto")
    assert model.loads == [CUDA_0]


async def test_a_load_on_the_cpu_that_hangs_is_a_timeout():
    machine = SimulatedMachine()
    manager = DeviceManager(instruments=machine, load_limit=10)
    with pytest.raises(BackendTimeoutError, match="allow more time") as caught:
        await place(manager, SimulatedModel(machine=machine, hangs=True), "cpu")
    assert caught.value.seconds == 10
    assert manager.report().stuck_threads == 1


async def test_the_load_of_another_program_is_waited_for_but_not_for_ever(machine):
    slow = DeviceManager(instruments=machine)
    hasty = DeviceManager(instruments=machine, lock_patience=0.05)
    model = SimulatedModel(machine=machine)
    errors = []

    async def load(device, vram_bytes):
        try:
            await place(hasty, SimulatedModel(machine=machine))
        except BackendBusyError as error:
            errors.append(error)
        await model.load(device, vram_bytes)

    await slow.place(model, asked(), load)
    assert errors[0].retryable
    assert "another program to finish loading" in str(errors[0])


# --- drift


async def test_a_model_that_stays_passes_every_check(manager, machine):
    await place(manager, SimulatedModel(machine=machine))
    manager.check()
    manager.check(thorough=True)


async def test_a_model_that_moved_is_found(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    model.device = CPU
    with pytest.raises(PlacementDrift, match="it is on cpu now"):
        manager.check()
    assert (lease.state, lease.place, lease.label) == (LeaseState.DRIFTED, "drifted", "drifted")
    assert not lease.is_on_gpu


async def test_a_context_that_is_gone_is_found(manager, machine):
    await place(manager, SimulatedModel(machine=machine))
    machine.contexts.clear()
    with pytest.raises(PlacementDrift, match="no active CUDA context"):
        manager.check()


async def test_a_gpu_that_is_lost_is_found_by_asking_the_driver(manager, machine):
    lease = await place(manager, SimulatedModel(machine=machine))
    machine.lost[rtx_4090().uuid] = "GPU is lost"
    manager.check()
    with pytest.raises(GpuLostError, match="GPU is lost"):
        manager.check(thorough=True)
    assert lease.place == "lost"
    with pytest.raises(GpuLostError):
        manager.check()  # and stays so


async def test_a_gpu_that_the_driver_does_not_list_any_more_is_lost(manager, machine):
    lease = await place(manager, SimulatedModel(machine=machine))
    machine.vanished.add(rtx_4090().uuid)
    with pytest.raises(GpuLostError, match="does not list it any more"):
        manager.check(thorough=True)
    assert (lease.place, lease.is_on_gpu) == ("lost", False)


async def test_a_driver_that_does_not_answer_says_nothing_of_the_gpu(manager, machine):
    lease = await place(manager, SimulatedModel(machine=machine))
    machine.vanished.add(rtx_4090().uuid)
    machine.fail(NvmlFailure(code=999, text="Unknown Error"))
    manager.check(thorough=True)
    assert lease.place == "cuda:0"


async def test_a_quick_check_that_fails_is_kept_and_ends_no_watch(manager, machine, monkeypatch):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    told = []

    def broken(self):
        raise ZeroDivisionError("the engine's own")

    monkeypatch.setattr(SimulatedModel, "quick_check", broken)
    async with manager.watching(interval=5, on_trouble=told.append):
        await anyio.sleep(12)
    assert [type(error) for error in told] == [GpuLostError]
    assert lease.trouble == "ZeroDivisionError: the engine's own"


async def test_what_is_given_back_is_not_watched(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    await manager.release(lease)
    manager.check([lease], thorough=True)
    assert lease.trouble is None


async def test_a_model_that_was_only_preferred_on_a_gpu_goes_on_when_it_moves(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model, "auto")
    assert lease.place == "cuda:0"
    model.device = CPU
    manager.check()
    assert lease.place == "drifted"
    assert lease.degraded == "it was proven on cuda:0 and is so no longer: it is on cpu now"


async def test_the_watchdog_tells_once_and_the_log_too(manager, machine, caplog):
    model = SimulatedModel(machine=machine)
    await place(manager, model)
    told = []
    async with manager.watching(interval=5, on_trouble=told.append):
        await anyio.sleep(12)
        assert told == []
        model.device = CPU
        await anyio.sleep(12)
    assert [type(error) for error in told] == [PlacementDrift]
    assert caplog.text.count("no longer proven") == 1


async def test_a_model_that_grows_is_measured_and_proven_again(manager, machine):
    model = SimulatedModel(machine=machine)
    lease = await place(manager, model)
    async with manager.growing(lease):
        machine.used[rtx_4090().uuid] += GIB
    assert lease.measured == 2 * GIB
    with pytest.raises(SilentFallbackError):
        async with manager.growing(lease):
            model.device = CPU
    assert lease.place == "drifted"


async def test_what_is_proven_again_needs_all_that_it_needed_before(manager, machine):
    lease = await place(manager, SimulatedModel(machine=machine))
    for kind in (CONTEXT, WARM_UP, MEMORY):
        whole = lease.proof
        lease.proof = evolve(whole, evidence=[e for e in whole.evidence if e.kind != kind])
        if kind == WARM_UP:
            with pytest.raises(PlacementError, match="has not done any work"):
                async with manager.growing(lease):
                    pass
        lease.proof, lease.state, lease.trouble = whole, LeaseState.VERIFIED, None


# --- what the machine shows


async def test_a_context_on_another_gpu_proves_nothing_here():
    machine = SimulatedMachine(rtx_4090(0), rtx_4090(1))
    machine.contexts.add(rtx_4090(1).uuid)
    manager = DeviceManager(instruments=machine)
    model = SimulatedModel(machine=machine, opens_context=False)
    with pytest.raises(SilentFallbackError, match="has no active CUDA context on") as caught:
        await place(manager, model, "cuda:0")
    assert [e.device for e in caught.value.proof.evidence if e.kind == CONTEXT] == [CPU]


async def test_contexts_that_cannot_be_told_prove_nothing(manager, machine, monkeypatch):
    monkeypatch.setattr(machine, "active_contexts", lambda: None)
    with pytest.raises(PlacementError, match="it is not known whether") as caught:
        await place(manager, SimulatedModel(machine=machine))
    assert caught.value.proof.verdict is Verdict.UNKNOWN


async def test_memory_that_grows_by_less_than_half_of_the_model_is_none(manager, machine):
    model = SimulatedModel(machine=machine)
    with pytest.raises(PlacementError, match="memory did not grow") as caught:
        await place(manager, model, estimate=lambda _device: 10 * model.size)
    assert caught.value.proof.verdict is Verdict.UNKNOWN


async def test_where_memory_cannot_be_read_it_is_not_asked_for(manager, machine, monkeypatch):
    monkeypatch.setattr(machine, "memory_used", lambda _uuid: None)
    lease = await place(manager, SimulatedModel(machine=machine))
    assert lease.is_on_gpu
    assert lease.measured is None


# --- the report


async def test_the_report_says_what_runs_where_and_why(manager, machine):
    await place(manager, SimulatedModel(machine=machine))
    cpu_only = SimulatedModel(machine=machine, fails=DeviceError("No.", why="it has no kernels"))
    await manager.place(cpu_only, asked("auto", "stt"), cpu_only.load)
    report = manager.report()
    text = str(report)
    assert "cuda:0 NVIDIA GeForce RTX 4090" in text
    assert "1.0 GiB of 48.0 GiB in use" in text
    assert "stt: cpu (degraded)\n  because it has no kernels" in text
    assert "so: proven" in text
    told = json.loads(json.dumps(report.to_json()))
    assert [c["device"] for c in told["components"]] == ["cuda:0", "cpu"]
    assert told["gpus"][0]["memory_used_bytes"] == GIB


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("flaw", FLAWS)
async def test_nothing_is_called_a_gpu_without_proof(manager, machine, device, flaw):
    lease = await place(manager, SimulatedModel(machine=machine, **FLAWS[flaw]), device)
    assert "cuda" not in f"{lease.to_json()['device']} {lease.label} {lease.place}"
