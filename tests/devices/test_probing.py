"""An engine that may end its process is tried in a process of its own first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import anyio
import pytest

from evakit import _threads
from evakit.devices import Device, DeviceManager, bind
from evakit.devices.probing import try_in_a_child
from evakit.errors import DriverError, MissingLibraryError, PlacementError
from evakit.testing import SimulatedMachine, SimulatedModel, rtx_4090

CUDA = Device("cuda:0")
REQUEST = bind("cuda", component="whisper", supported={"cpu", "cuda"})
ENGINE = """
import os, sys, time

def works(device):
    assert device == "cuda:0"

def raises(device):
    raise RuntimeError("CUDA failed with error no kernel image")

def refuses(device):
    from evakit.errors import DriverError
    raise DriverError("It cannot; update the driver.", why="the driver is too old")

def aborts(device):
    os.write(2, b"Could not load library libcudnn_ops.so.9\\n")
    os.abort()

def leaves(device):
    sys.stderr.write("no licence")
    sys.stderr.flush()
    os._exit(7)

def never_returns(device):
    time.sleep(60)

def chats(device):
    print("hello")
    raise ValueError("what?")
"""


@pytest.fixture(autouse=True)
def engine(tmp_path, monkeypatch):
    (tmp_path / "engine_on_trial.py").write_text(ENGINE)
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(tmp_path), *([inherited] if inherited else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def try_it(function, **more):
    try_in_a_child(f"engine_on_trial:{function}", CUDA, REQUEST, **more)


def test_what_works_there_may_be_loaded_here():
    try_it("works")
    assert "engine_on_trial" not in sys.modules


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("raises", "RuntimeError: CUDA failed with error no kernel image"),
        ("chats", "ValueError: what?"),
        ("absent", "AttributeError"),
    ],
)
def test_what_is_raised_there_is_told(function, why):
    with pytest.raises(PlacementError, match=why) as caught:
        try_it(function)
    assert type(caught.value) is PlacementError
    assert (caught.value.component, caught.value.wanted) == ("whisper", "cuda")
    assert why in caught.value.why


def test_what_is_an_error_of_ours_there_is_the_same_here():
    with pytest.raises(DriverError) as caught:
        try_it("refuses")
    assert caught.value.why == "the driver is too old"


def test_an_engine_that_aborts_takes_only_that_process_with_it():
    with pytest.raises(MissingLibraryError, match="libcudnn_ops") as caught:
        try_it("aborts")
    if hasattr(signal, "SIGKILL"):  # elsewhere an abort is a status
        assert "SIGABRT" in str(caught.value)
    assert "evakit doctor" in str(caught.value)


def test_an_engine_that_leaves_is_told_with_its_last_words():
    with pytest.raises(MissingLibraryError, match="with status 7: no licence"):
        try_it("leaves")


def test_an_engine_that_never_returns_is_given_up():
    with pytest.raises(PlacementError, match="did not return within 1 s"):
        try_it("never_returns", limit=1.0)


def test_a_program_in_one_file_has_nothing_to_try_with(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    try_it("aborts")


@pytest.mark.anyio
async def test_the_manager_tries_before_it_loads_and_once_a_gpu(monkeypatch):
    tried = []

    def note(target, device, request):
        tried.append((target, device.name))

    monkeypatch.setattr("evakit.devices.manager.try_in_a_child", note)
    monkeypatch.setattr(SimulatedModel, "probe", "engine_on_trial:works")
    machine = SimulatedMachine(rtx_4090())
    manager = DeviceManager(instruments=machine)
    for _ in range(2):
        model = SimulatedModel(machine=machine)
        await manager.place(model, REQUEST, model.load)
    assert tried == [("engine_on_trial:works", "cuda:0")]


@pytest.mark.anyio
async def test_an_engine_that_aborts_is_not_loaded(monkeypatch):
    monkeypatch.setattr(SimulatedModel, "probe", "engine_on_trial:aborts")
    machine = SimulatedMachine(rtx_4090())
    manager = DeviceManager(instruments=machine)
    model = SimulatedModel(machine=machine)
    with pytest.raises(MissingLibraryError):
        await manager.place(model, REQUEST, model.load)
    assert model.loads == []
    lease = await manager.place(
        model, bind("auto", component="whisper", supported={"cpu", "cuda"}), model.load
    )
    assert lease.degraded.startswith("the engine ended the process")


@pytest.mark.anyio
async def test_a_trial_that_nobody_waits_for_any_more_is_ended(monkeypatch):
    children = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with anyio.move_on_after(0.3):
        await _threads.run(try_it, "never_returns")
    (child,) = children
    assert child.poll() is not None
