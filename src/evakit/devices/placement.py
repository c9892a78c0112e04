"""Placement: where a model was found to be, and the rule that it must be where it was asked for.

What may not live here: reading a placement from an engine (each backend reads its own).
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from ..errors import ConfigurationError, DeviceError
from .device import CPU, REMOTE, Device, is_device

__all__ = ["Placement", "choose_device", "verify_placement"]


@frozen
class Placement:
    """Where a loaded model is, as read back from its engine."""

    device: Device
    observed: str
    """What was looked at and what it said, for people: `ctranslate2 model.device = 'cpu'`."""

    def __str__(self) -> str:
        return self.device.name


def choose_device(request: str | None, *, component: str, supported: Collection[str]) -> Device:
    """Turn what was asked for into the exact device to load on.

    `request` is `auto`, `cpu`, `cuda`, `cuda:0` or a GPU's UUID; None means `auto`. A backend
    that works elsewhere (`supported` is `{"remote"}`) stays there whatever is asked.

    Raises:
        ConfigurationError: `request` does not read like a device.
        DeviceError: a GPU was asked for; this version places everything on the CPU.

    """
    request = request or "auto"
    if not is_device(request):
        raise ConfigurationError(
            f"{request!r} is not a device; write 'auto', 'cpu', 'cuda', 'cuda:0' or a GPU's UUID."
        )
    if set(supported) == {"remote"}:
        return REMOTE
    if Device(request).is_gpu:
        raise DeviceError(
            f"{component} was asked for on {request}, but this version of evakit can prove only "
            "the CPU and loads nothing where it cannot prove it; ask for device 'cpu' or 'auto'.",
            component=component,
            wanted=request,
        )
    return CPU


def verify_placement(component: str, wanted: Device, placement: Placement) -> Placement:
    """Return `placement` when it is on `wanted`.

    Raises:
        DeviceError: the engine says that the model is somewhere else.

    """
    if placement.device != wanted:
        raise DeviceError(
            f"{component} was loaded for {wanted} but was found on {placement.device} "
            f"({placement.observed}); it is not used, please report this.",
            component=component,
            wanted=wanted.name,
            found=placement.device.name,
        )
    return placement
