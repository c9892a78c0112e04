"""The trial of CTranslate2 on a GPU, in a process of its own."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.devices import Device, DeviceRequest
from evakit.devices.probing import try_in_a_child
from evakit.errors import DriverError, MissingLibraryError, PlacementError
from evakit_whisper import WhisperSTT, _probe
from evakit_whisper._probe import try_device, visible_devices


def test_a_gpu_that_is_not_there_is_refused_by_the_child():
    with pytest.raises(PlacementError, match="CTranslate2 failed"):
        try_in_a_child(WhisperSTT.probe, Device("cuda:63"), DeviceRequest(component="whisper"))


@pytest.mark.parametrize(
    ("device", "visible", "left"),
    [
        ("cuda:0", None, "0"),
        ("cuda:1", None, "1"),
        ("cuda:1", "2,5", "5"),
        ("cuda:0", "GPU-1234, GPU-5678", "GPU-1234"),
        ("cuda:2", "0,1", "-1"),
        ("cuda:0", "", ""),
    ],
)
def test_the_child_sees_the_one_gpu_only(device, visible, left):
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_devices(device, environ) == left


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), st.data())
def test_the_one_gpu_is_the_one_of_that_number_among_those_visible(visible, data):
    number = data.draw(st.integers(0, len(visible) - 1))
    environ = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, visible))}
    assert visible_devices(f"cuda:{number}", environ) == str(visible[number])


class View:
    """A StorageView as of a CTranslate2 with a GPU."""

    goes_to = "cuda"
    comes_back = staticmethod(lambda numbers: numbers)
    error = None

    def __init__(self, numbers, device="cpu"):
        self.numbers = numbers
        self.device = device

    @classmethod
    def from_array(cls, numbers):
        return cls(numbers)

    def to_device(self, device):
        if self.error is not None:
            raise self.error
        if device == "cpu":
            return type(self)(self.comes_back(self.numbers))
        return type(self)(self.numbers, self.goes_to)

    def __array__(self, *_, **__):
        return self.numbers


@pytest.fixture
def gpu(monkeypatch):
    """The class of arrays of a CTranslate2 whose GPU works; what it does may be changed."""
    view = type("View", (View,), {})
    fake = SimpleNamespace(StorageView=view, Device=SimpleNamespace(cuda="cuda", cpu="cpu"))
    monkeypatch.setitem(sys.modules, "ctranslate2", fake)
    monkeypatch.setattr(_probe, "missing_library", lambda component: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    return view


def test_a_gpu_that_works_passes_and_no_other_is_touched(gpu):
    try_device("cuda:1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"


def test_numbers_that_stay_on_the_cpu_do_not_pass(gpu):
    gpu.goes_to = "cpu"
    with pytest.raises(RuntimeError, match="came back"):
        try_device("cuda:0")


def test_numbers_that_come_back_changed_do_not_pass(gpu):
    gpu.comes_back = staticmethod(np.zeros_like)
    with pytest.raises(RuntimeError, match="came back"):
        try_device("cuda:0")


def test_what_ctranslate2_says_is_explained(gpu):
    gpu.error = RuntimeError("CUDA failed with error CUDA driver version is insufficient")
    with pytest.raises(DriverError, match="driver 525"):
        try_device("cuda:0")


def test_what_has_nothing_to_do_with_the_gpu_is_raised_as_it_is(gpu):
    gpu.error = ValueError("unsupported array")
    with pytest.raises(ValueError, match="unsupported array"):
        try_device("cuda:0")


def test_a_library_that_is_missing_does_not_pass(gpu, monkeypatch):
    monkeypatch.setattr(
        _probe, "missing_library", lambda component: MissingLibraryError(f"{component} needs it.")
    )
    with pytest.raises(MissingLibraryError, match="whisper needs it"):
        try_device("cuda:0")
