"""A trial of CTranslate2 on a GPU, for a process of its own: `evakit.devices` starts it.

Some releases of CTranslate2 end the process where a library is missing. What may not live here:
anything that a program calls itself, for it changes the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from evakit.devices import Device

from ._loading import missing_library
from ._refusals import refusal

__all__ = ["try_device", "visible_devices"]


def try_device(device: str) -> None:
    """Move a few numbers to `device` and back.

    Raises:
        PlacementError: that does not work; its class says why.
        RuntimeError: they came back changed.

    """
    # CTranslate2 moves them to the first GPU that it sees, so this process sees one only.
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices(device, os.environ)
    lacking = missing_library("whisper")
    import ctranslate2  # noqa: PLC0415 (the trial begins with it)

    numbers = np.arange(6, dtype=np.float32)
    try:
        there = ctranslate2.StorageView.from_array(numbers).to_device(ctranslate2.Device.cuda)
        back = np.array(there.to_device(ctranslate2.Device.cpu))
    except (RuntimeError, ValueError) as error:
        refused = refusal(error, component="whisper", device=Device(device))
        if refused is not None:
            raise refused from error
        raise
    if there.device != "cuda" or not np.array_equal(back, numbers):
        raise RuntimeError(f"numbers that were moved to {device} came back as {back}")
    if lacking is not None:
        raise lacking


def visible_devices(device: str, environ: Mapping[str, str]) -> str:
    """Return the `CUDA_VISIBLE_DEVICES` that leaves `cuda:N` alone of those visible now."""
    number = int(device.partition(":")[2] or 0)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return str(number)
    names = [name.strip() for name in visible.split(",")]
    return names[number] if number < len(names) else "-1"
