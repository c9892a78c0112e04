"""What a device that is asked for means for a backend."""

from __future__ import annotations

import pytest

from evakit.devices import Binding, Device, Policy, bind
from evakit.errors import ConfigurationError, PlacementError

BOTH = {"cpu", "cuda"}


@pytest.mark.parametrize("asked", [None, "", "auto"])
def test_without_a_wish_a_gpu_is_preferred(asked):
    request = bind(asked, component="whisper", supported=BOTH)
    assert request.policy is Policy.PREFER
    assert request.device == Device("cuda")
    assert request.binding is Binding.ASKED


def test_the_cpu_is_asked_for_as_exactly_that():
    request = bind("cpu", component="whisper", supported=BOTH)
    assert (request.policy, request.device) == (Policy.CPU, Device("cpu"))


@pytest.mark.parametrize(
    ("asked", "device"),
    [
        ("cuda", "cuda"),
        ("cuda:0", "cuda:0"),
        ("cuda:01", "cuda:1"),
        ("GPU-8a5c", "GPU-8a5c"),
        ("MIG-7", "MIG-7"),
    ],
)
def test_a_gpu_that_is_asked_for_is_required(asked, device):
    request = bind(asked, component="whisper", supported=BOTH)
    assert (request.policy, request.device) == (Policy.REQUIRE, Device(device))


@pytest.mark.parametrize("asked", [None, "auto", "cpu", "cuda", "GPU-1"])
def test_a_backend_elsewhere_stays_there_whatever_is_asked(asked):
    request = bind(asked, component="groq", supported={"remote"}, by_name=True)
    assert (request.binding, request.device) == (Binding.REMOTE, Device("remote"))


@pytest.mark.parametrize("asked", [None, "auto", "cpu", "cuda", "GPU-1"])
def test_a_backend_for_the_cpu_only_stays_there_whatever_is_asked_of_all(asked):
    request = bind(asked, component="silero", supported={"cpu"})
    assert (request.binding, request.device) == (Binding.BY_DESIGN, Device("cpu"))
    assert request.policy is Policy.CPU


@pytest.mark.parametrize("asked", ["cuda", "cuda:3", "GPU-1"])
def test_a_gpu_asked_for_in_the_name_of_a_backend_that_cannot_use_any_is_refused(asked):
    with pytest.raises(PlacementError, match=f"leave '@{asked}' out of its name") as caught:
        bind(asked, component="silero", supported={"cpu"}, by_name=True)
    assert (caught.value.component, caught.value.wanted) == ("silero", asked)
    assert caught.value.found == "cpu"


@pytest.mark.parametrize("supported", [{"cpu"}, {"remote"}, BOTH])
def test_a_word_that_is_no_device_is_refused_for_every_backend(supported):
    with pytest.raises(ConfigurationError, match="'gpu' is not a device; write 'auto'"):
        bind("gpu", component="whisper", supported=supported)
