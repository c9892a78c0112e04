"""Who holds how much of which GPU, and whether one more fits."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from evakit.devices import Device, DeviceRequest, GpuProcess, Lease
from evakit.devices.ledger import CONTEXT_BYTES, HEADROOM, Ledger, shown
from evakit.testing import SimulatedMachine, SimulatedModel, rtx_4090

GIB = 2**30


def lease(component="tts", *, gpu=None, reserved=GIB, measured=None, **request):
    gpu = gpu or rtx_4090()

    async def evict():
        return True

    return Lease(
        request=DeviceRequest(component=component, **request),
        backend=SimulatedModel(machine=SimulatedMachine()),
        device=Device("cuda:0"),
        gpu=gpu,
        reserved=reserved,
        measured=measured,
        evict=evict,
    )


def test_a_model_needs_its_estimate_some_headroom_and_a_context():
    admission = Ledger().admit(rtx_4090(), GIB, has_context=False)
    assert admission.needed == round(GIB * (1 + HEADROOM)) + CONTEXT_BYTES
    assert Ledger().admit(rtx_4090(), GIB, has_context=True).needed == round(GIB * (1 + HEADROOM))


def test_what_is_free_now_decides():
    gpu = evolve(rtx_4090(), memory_free=GIB)
    admission = Ledger().admit(gpu, 2 * GIB, has_context=True)
    assert not admission.fits
    assert admission.missing == admission.needed - GIB
    assert admission.why == (
        "it needs 2.3 GiB and 1.0 GiB of 48.0 GiB are free on NVIDIA GeForce RTX 4090"
    )


def test_a_budget_counts_what_we_hold_as_measured_else_as_reserved():
    ledger = Ledger(budget=4 * GIB)
    gpu = rtx_4090()
    ledger.add(lease(gpu=gpu, reserved=GIB, measured=2 * GIB))
    ledger.add(lease(gpu=gpu, reserved=GIB))
    assert ledger.held(gpu.uuid) == 3 * GIB
    admission = ledger.admit(gpu, GIB, has_context=True)
    assert not admission.fits
    assert "1.0 GiB of 48.0 GiB are left of the budget" in admission.why


def test_a_budget_may_be_given_for_each_gpu():
    one, two = rtx_4090(0), rtx_4090(1)
    ledger = Ledger(budget={one.uuid: GIB})
    assert not ledger.admit(one, 2 * GIB, has_context=True).fits
    assert ledger.admit(two, 2 * GIB, has_context=True).fits


def test_where_memory_cannot_be_read_everything_is_let_in():
    gpu = evolve(rtx_4090(), memory_free=None, memory_total=None, memory_used=None)
    assert Ledger().admit(gpu, 100 * GIB, has_context=False).fits


def test_the_lowest_priority_goes_first_then_the_longest_unused():
    ledger = Ledger()
    important = lease("important", priority=1, evictable=True)
    used, unused = lease("used", evictable=True), lease("unused", evictable=True)
    stays = lease("stays")
    for one in (important, used, unused, stays):
        ledger.add(one)
    ledger.touch(used)
    names = [x.request.component for x in ledger.evictable(rtx_4090().uuid)]
    assert names == ["unused", "used", "important"]


def test_those_who_hold_the_memory_are_named():
    processes = (GpuProcess(pid=7, memory=GIB, name="game"), GpuProcess(pid=9, memory=None))
    gpu = evolve(rtx_4090(), processes=processes)
    ledger = Ledger()
    assert ledger.holders(gpu) == "processes on the GPU: game 7 (1.0 GiB), a process 9"
    ledger.add(lease("whisper", gpu=gpu))
    assert ledger.holders(gpu).startswith("of this program: whisper (1.0 GiB); processes")
    assert Ledger().holders(evolve(gpu, processes=None)) == "who holds it cannot be told here"
    assert Ledger().holders(evolve(gpu, processes=())) == "nobody that can be told"


@given(st.lists(st.integers(0, 2**40), max_size=5), st.integers(0, 2**40))
def test_what_is_taken_out_gives_its_room_back(sizes, size):
    ledger, gpu = Ledger(budget=2**42), rtx_4090(total=2**43)
    before = ledger.admit(gpu, size, has_context=True)
    leases = [lease(gpu=gpu, reserved=each) for each in sizes]
    for each in leases:
        ledger.add(each)
    assert ledger.held(gpu.uuid) == sum(sizes)
    for each in leases:
        ledger.remove(each)
        ledger.remove(each)
    assert ledger.admit(gpu, size, has_context=True) == before
    assert ledger.leases == ()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 MiB"), (2**20, "1 MiB"), (2**30, "1.0 GiB"), (49140 * 2**20, "48.0 GiB")],
)
def test_sizes_are_shown_for_people(size, text):
    assert shown(size) == text
