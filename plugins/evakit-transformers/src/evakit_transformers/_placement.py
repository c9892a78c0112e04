"""Where a model is, as its tensors and the output of its work show it: pure.

What may not live here: torch; `_engine.py` reads what is judged here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen

from evakit.abc import Evidence, Strength
from evakit.devices import Device
from evakit.devices.evidence import MODEL

__all__ = ["Reading", "Tensor", "evidence_of"]

_NOWHERE: Final = "meta"
"""torch's device of tensors that have a shape and no memory."""
_GROWTH: Final = 0.9  # of a model's bytes; a few small tensors may be shared or made anew


@frozen
class Tensor:
    """One parameter or buffer."""

    device: str
    """torch's name of where it lies: `cpu`, `cuda:0`, `meta`."""
    size: int
    """Bytes."""


def _all(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(tensors)


@frozen(kw_only=True)
class Reading:
    """What was read from a loaded model; a device is named as torch names it."""

    parameters: tuple[Tensor, ...] = field(converter=_all)
    buffers: tuple[Tensor, ...] = field(converter=_all)
    output: str | None
    """Where the output of the last forward pass was; None when there was none yet."""
    device_map: tuple[str, ...] = ()
    """Where accelerate says that it has put the modules; empty where it was not asked to."""
    grown: Mapping[str, int] = field(factory=dict)
    """For each GPU the bytes by which what torch has allocated there grew with the model; empty
    when it was loaded on the CPU."""


def evidence_of(reading: Reading) -> tuple[Evidence, ...]:
    """Say what a reading shows, a piece for each thing that was looked at.

    Before the first forward pass nothing of it counts as observed: tensors that lie somewhere are
    not yet work that is done there.
    """
    strength = Strength.DECLARED if reading.output is None else Strength.OBSERVED
    return (
        *_tensors(reading, strength),
        *_memory(reading, strength),
        *_output(reading),
        *_map(reading),
    )


def _tensors(reading: Reading, strength: Strength) -> Iterable[Evidence]:
    """Where the parameters and buffers lie, a piece for each device, with its share in bytes."""
    tensors = (*reading.parameters, *reading.buffers)
    sizes = _sizes(tensors)
    for device, size in sizes.items():
        count = sum(tensor.device == device for tensor in tensors)
        yield _piece(
            device,
            f"{count} of {len(tensors)} parameters and buffers ({_shown(size)}) lie on {device}",
            strength,
            share=size / sum(sizes.values()) if len(sizes) > 1 and size else None,
        )


def _memory(reading: Reading, strength: Strength) -> Iterable[Evidence]:
    """Whether torch has allocated on a GPU what the parameters there take."""
    sizes = _sizes(reading.parameters)
    for device, grown in reading.grown.items():
        if size := sizes.get(device, 0):
            says = f"torch allocated {_shown(grown)} on {device} for parameters of {_shown(size)}"
            is_there = grown >= _GROWTH * size
            share = size / sum(sizes.values()) if len(sizes) > 1 else None
            yield _piece(device if is_there else _NOWHERE, says, strength, share=share)


def _output(reading: Reading) -> Iterable[Evidence]:
    if reading.output is not None:
        says = f"the output of its last forward pass lies on {reading.output}"
        yield _piece(reading.output, says, Strength.OBSERVED)


def _map(reading: Reading) -> Iterable[Evidence]:
    """What accelerate declares, which may be what it was asked for."""
    for place in dict.fromkeys(reading.device_map):
        yield _piece(place, f"hf_device_map names {place}", Strength.DECLARED)


def _sizes(tensors: Iterable[Tensor]) -> Counter[str]:
    sizes = Counter[str]()
    for tensor in tensors:
        sizes[tensor.device] += tensor.size
    return sizes


def _piece(device: str, says: str, strength: Strength, *, share: float | None = None) -> Evidence:
    return Evidence(kind=MODEL, strength=strength, device=Device(device), says=says, share=share)


def _shown(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
