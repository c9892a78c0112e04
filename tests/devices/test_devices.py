"""Devices by name."""

from __future__ import annotations

import pytest
from hypothesis import given

from evakit.devices import Device, is_device
from evakit.errors import ConfigurationError
from evakit.testing import strategies as make


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
