"""Devices by name, and where a model may and does run."""

from __future__ import annotations

import pytest
from hypothesis import given

from evakit.devices import Device, Placement, choose_device, is_device, verify_placement
from evakit.errors import ConfigurationError, DeviceError
from evakit.testing import strategies as make

CPU, REMOTE = Device("cpu"), Device("remote")


@given(make.devices())
def test_what_can_be_asked_for_reads_like_a_device(name):
    assert is_device(name)


@pytest.mark.parametrize(
    "name",
    ["", "CPU", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:\u0661", "cpu\n", "remote", "mps"],
)
def test_other_words_do_not(name):
    assert not is_device(name)
    with pytest.raises(ConfigurationError, match="is not a device; write 'cpu', 'cuda'"):
        Device.parse(name)


def test_auto_is_a_wish_and_not_a_device():
    assert is_device("auto")
    with pytest.raises(ConfigurationError, match="'auto' is not a device"):
        Device.parse("auto")


@pytest.mark.parametrize(
    ("text", "name", "is_gpu"),
    [
        ("cpu", "cpu", False),
        ("cuda", "cuda:0", True),
        ("cuda:3", "cuda:3", True),
        ("cuda:00", "cuda:0", True),
        ("GPU-8a5c", "GPU-8a5c", True),
        ("MIG-77", "MIG-77", True),
    ],
)
def test_a_device_has_one_name(text, name, is_gpu):
    device = Device.parse(text)
    assert str(device) == name
    assert device.is_gpu is is_gpu


@pytest.mark.parametrize("request_", [None, "", "auto", "cpu"])
def test_everything_is_placed_on_the_cpu(request_):
    assert choose_device(request_, component="whisper", supported={"cpu", "cuda"}) == CPU


@pytest.mark.parametrize("request_", ["cuda", "cuda:1", "GPU-8a5c", "MIG-77"])
def test_a_gpu_is_refused_rather_than_silently_replaced(request_):
    with pytest.raises(DeviceError, match="ask for device 'cpu' or 'auto'") as caught:
        choose_device(request_, component="whisper", supported={"cpu", "cuda"})
    assert (caught.value.component, caught.value.wanted) == ("whisper", request_)
    assert caught.value.found is None


@pytest.mark.parametrize("request_", [None, "auto", "cpu", "cuda"])
def test_a_backend_elsewhere_stays_there_whatever_is_asked(request_):
    assert choose_device(request_, component="groq", supported={"remote"}) == REMOTE


def test_a_word_that_is_no_device_is_refused_for_every_backend():
    for supported in ({"cpu"}, {"remote"}):
        with pytest.raises(ConfigurationError, match="'gpu' is not a device; write 'auto'"):
            choose_device("gpu", component="whisper", supported=supported)


def test_a_model_found_where_it_was_wanted_is_used():
    placement = Placement(CPU, "model.device = 'cpu'")
    assert verify_placement("whisper", CPU, placement) is placement
    assert str(placement) == "cpu"


def test_a_model_found_somewhere_else_is_not_used():
    with pytest.raises(DeviceError, match=r"loaded for cuda:0 but was found on cpu") as caught:
        verify_placement("whisper", Device("cuda:0"), Placement(CPU, "model.device = 'cpu'"))
    error = caught.value
    assert (error.component, error.wanted, error.found) == ("whisper", "cuda:0", "cpu")
    assert "model.device = 'cpu'" in str(error)
