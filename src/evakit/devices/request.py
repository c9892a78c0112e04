"""DeviceRequest: which device a backend is to have, and how much that matters.

What may not live here: finding out which devices there are.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from attrs import frozen

from ..errors import ConfigurationError, PlacementError
from .device import CPU, CUDA, REMOTE, Device, is_device

__all__ = ["Binding", "DeviceRequest", "Policy", "bind"]


class Policy(StrEnum):
    """What is to happen when the device cannot be had."""

    REQUIRE = "require"
    """It is that device, proven, or an error."""
    PREFER = "prefer"
    """A GPU where one can be proven, else the CPU, reported as degraded."""
    CPU = "cpu"
    """The CPU, verified too."""


class Binding(StrEnum):
    """What decides where a backend runs."""

    ASKED = "asked"
    """What was asked for."""
    BY_DESIGN = "by design"
    """Its nature: it runs on the CPU, whatever is asked of the others."""
    REMOTE = "remote"
    """Its nature: it works on another machine."""


@frozen(kw_only=True)
class DeviceRequest:
    """What is asked for one component."""

    component: str
    """The backend's name, for messages."""
    policy: Policy = Policy.PREFER
    device: Device = CUDA
    """Any GPU where it is `cuda`, and that one where it is a number or a UUID."""
    binding: Binding = Binding.ASKED
    vram_bytes: int | None = None
    """How much of the GPU's memory it may take; None leaves it to the backend's estimate."""
    priority: int = 0
    """Of two that can be evicted, the lower goes first."""
    evictable: bool = False
    """Whether it may be unloaded, while nobody uses it, to make room for another."""


def bind(
    asked: str | None, *, component: str, supported: Collection[str], by_name: bool = False
) -> DeviceRequest:
    """Return the request that `asked` means for a backend that can run on `supported`.

    `asked` is `auto`, `cpu`, `cuda`, `cuda:0` or a GPU's UUID; None means `auto`. A backend that
    works elsewhere, or on the CPU only, stays where it is: what is asked for all backends binds
    those that can follow. `by_name` says that it was asked for this very backend.

    Raises:
        ConfigurationError: `asked` does not read like a device.
        PlacementError: a GPU was asked for this very backend, which cannot use any.

    """
    asked = asked or "auto"
    if not is_device(asked):
        raise ConfigurationError(
            f"{asked!r} is not a device; write 'auto', 'cpu', 'cuda', 'cuda:0' or a GPU's UUID."
        )
    wants_gpu = asked not in {"auto", "cpu"}
    if set(supported) == {"remote"}:
        return DeviceRequest(
            component=component, policy=Policy.CPU, device=REMOTE, binding=Binding.REMOTE
        )
    if "cuda" not in supported:
        if wants_gpu and by_name:
            raise PlacementError(
                f"{component} was asked for on {asked}, but runs on the CPU by design; leave "
                f"'@{asked}' out of its name.",
                component=component,
                wanted=asked,
                found="cpu",
            )
        return DeviceRequest(
            component=component, policy=Policy.CPU, device=CPU, binding=Binding.BY_DESIGN
        )
    if wants_gpu:
        device = CUDA if asked == "cuda" else Device.parse(asked)
        return DeviceRequest(component=component, policy=Policy.REQUIRE, device=device)
    if asked == "cpu":
        return DeviceRequest(component=component, policy=Policy.CPU, device=CPU)
    return DeviceRequest(component=component)
