"""Where the model is, read from the devices that the engine lists: pure.

What may not live here: importing xllamacpp, or asking for a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from evakit.devices import Device, Placement

__all__ = ["read_placement"]

# Of a model on a GPU at least its largest part is there; the rest of what changes is noise.
_SHARE: Final = 4
_ON_CPU: Final = ("CPU", "ACCEL")  # ggml's device types that compute in the main memory


def read_placement(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], model_bytes: int
) -> Placement:
    """Tell from the devices before and after loading where a model of that size went.

    A build without GPU support lists none, which settles it. A GPU that is listed holds the
    model when loading took a quarter of the model's size, or more, of its memory.
    """
    free = {device["name"]: device["memory_free"] for device in before}
    gpus = [device for device in after if not _computes_in_main_memory(device)]
    for gpu in gpus:
        taken = free.get(gpu["name"], 0) - gpu["memory_free"]
        if taken * _SHARE >= model_bytes:
            return Placement(
                Device(gpu["name"].lower()),
                f"loading took {taken} bytes of the memory of {gpu['name']}",
            )
    names = ", ".join(device["name"] for device in after) or "none"
    if not gpus:
        return Placement(
            Device("cpu"), f"n_gpu_layers = 0, and the devices of this xllamacpp are: {names}"
        )
    return Placement(
        Device("cpu"),
        f"n_gpu_layers = 0, and of the devices of this xllamacpp ({names}) no GPU's memory was "
        "taken by loading",
    )


def _computes_in_main_memory(device: dict[str, Any]) -> bool:
    kind = getattr(device["type"], "name", str(device["type"]))
    return kind.rpartition("_")[2] in _ON_CPU
