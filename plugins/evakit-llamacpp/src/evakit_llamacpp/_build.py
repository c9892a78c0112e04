"""EngineBuild: what the xllamacpp that is installed can compute on, as it says itself. Pure.

What may not live here: importing xllamacpp (`_engine.py`), and what follows from it
(`_refusals.py`, `_placement.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

__all__ = ["EngineBuild", "EngineDevice"]

_IN_MAIN_MEMORY: Final = ("CPU", "ACCEL")  # ggml's kinds of devices that compute there
# llama_print_system_info: `CUDA : ARCHS = 860,890 | USE_GRAPHS = 1 | CPU : SSE3 = 1 |`, a build
# for CUDA says so even where it finds no GPU.
_CUDA: Final = re.compile(r"(?:^|\| )CUDA : ")


@frozen(kw_only=True)
class EngineDevice:
    """One device that llama.cpp lists."""

    name: str
    """`CPU`, `BLAS`, `CUDA0`, `Vulkan0`, `MTL0`."""
    kind: str
    """`CPU`, `ACCEL`, `GPU` or `IGPU`."""
    identity: str = ""
    """The PCI address, which two builds of one GPU share; "" where it has none."""

    @property
    def is_gpu(self) -> bool:
        """Whether it computes elsewhere than in the main memory."""
        return self.kind not in _IN_MAIN_MEMORY


def _devices(devices: Iterable[EngineDevice]) -> tuple[EngineDevice, ...]:
    return tuple(devices)


@frozen(kw_only=True)
class EngineBuild:
    """What a build of llama.cpp was made for, and what it finds."""

    devices: tuple[EngineDevice, ...] = field(converter=_devices)
    """In llama.cpp's order; `CUDA0` is `cuda:0`, the first GPU that this process may see."""
    is_for_cuda: bool

    @classmethod
    def read(cls, devices: Iterable[Mapping[str, Any]], features: str) -> EngineBuild:
        """Make it of what `get_device_info` and `get_system_info` return."""
        listed = [
            EngineDevice(
                name=device["name"],
                kind=getattr(device["type"], "name", str(device["type"])).rpartition("_")[2],
                identity=device.get("device_id", ""),
            )
            for device in devices
        ]
        has_one = any(device.name.startswith("CUDA") for device in listed)
        return cls(devices=listed, is_for_cuda=has_one or bool(_CUDA.search(features)))

    @property
    def has_gpu(self) -> bool:
        """Whether a model could be anywhere but in the main memory."""
        return any(device.is_gpu for device in self.devices)

    @property
    def names(self) -> str:
        """The devices, for people."""
        return ", ".join(device.name for device in self.devices) or "none"

    def position(self, name: str) -> int | None:
        """Return what llama.cpp calls `main_gpu`: the place of a GPU among those it would use.

        None when it would not use that one.
        """
        names = [device.name for device in self._usable()]
        return names.index(name) if name in names else None

    def _usable(self) -> Sequence[EngineDevice]:
        """Return the GPUs that a model may be put on, as `llama_prepare_model_devices` has it: one
        of each that is listed twice, and the first integrated one where there are no others.
        """
        gpus: list[EngineDevice] = []
        for device in self.devices:
            if device.kind != "GPU":
                continue
            if not device.identity or all(device.identity != gpu.identity for gpu in gpus):
                gpus.append(device)
        return gpus or [device for device in self.devices if device.kind == "IGPU"][:1]
