"""Where a loaded model is, read from what llama.cpp says that it has allocated. Pure.

The sizes of its buffers are what it did; how many layers it offloads (`offloaded 31/31 layers`) is
what it was asked to do, and no evidence. What may not live here: getting the log
(`_captured_log.py`), and asking for a device.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from evakit.abc import Evidence, Strength
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.devices.evidence import MODEL

from ._build import EngineBuild
from ._log_lines import LogLine

__all__ = ["Buffer", "in_main_memory", "read_buffers", "read_evidence"]

# `load_tensors:        CUDA0 model buffer size =  1918.36 MiB`, and so for KV, RS, compute, output
# (llama-model.cpp, llama-kv-cache.cpp, llama-memory-recurrent.cpp, llama-context.cpp).
_BUFFER: Final = re.compile(
    r"\S+: +(?P<where>\S+) +(?P<holds>\w[\w ]*?) buffer size = +(?P<mib>\d+\.\d+) MiB"
)
_SPLITS: Final = re.compile(r"sched_reserve: graph\b.*\bsplits += +(?P<splits>\d+)")
_CUDA: Final = re.compile(r"CUDA(?P<number>\d+)(?:_\w+)?")
# `CUDA_Host` is main memory that a GPU reads from; `CPU_Mapped` is the model's file; `AMX` and
# those that begin with `CPU_` are layouts for certain processors.
_HOST: Final = re.compile(r"CPU(?:_\w+)?|\w+_Host|BLAS|AMX")
_WHOLE: Final = 0.9
"""The share on a GPU from which on nothing of weight is missing there."""
_MIB: Final = 2**20


@frozen(kw_only=True)
class Buffer:
    """Memory that llama.cpp has allocated."""

    where: str
    """Its name for the place: `CUDA0`, `CPU_Mapped`."""
    holds: str
    """`model`, `KV`, `RS`, `compute`, `output`."""
    mib: float

    @property
    def device(self) -> Device:
        """The device that computes on it."""
        if (cuda := _CUDA.fullmatch(self.where)) is not None:
            return Device(f"cuda:{cuda['number']}")
        return CPU if _HOST.fullmatch(self.where) else Device(self.where.lower())


def read_buffers(lines: Iterable[LogLine]) -> tuple[Buffer, ...]:
    """Return the buffers that the log of one load tells of."""
    found: list[Buffer] = []
    for line in lines:
        if (match := _BUFFER.fullmatch(line.text)) is None:
            continue
        buffer = Buffer(where=match["where"], holds=match["holds"], mib=float(match["mib"]))
        if buffer.holds == "compute":  # said again each time that it is allocated anew
            found = [b for b in found if (b.where, b.holds) != (buffer.where, buffer.holds)]
        found.append(buffer)
    return tuple(found)


def read_evidence(lines: Iterable[LogLine], *, input_bytes: int) -> tuple[Evidence, ...]:
    """Tell from the log of a load where the model is.

    `input_bytes` is the size of the tables that turn tokens into numbers: llama.cpp looks things up
    in them in the main memory, wherever the rest is. With a small model and many words that is a
    quarter of the file.
    """
    lines = tuple(lines)
    buffers = read_buffers(lines)
    if not any(buffer.holds == "model" and buffer.mib > 0 for buffer in buffers):
        return ()
    sizes: dict[Device, float] = {CPU: 0.0}
    for buffer in buffers:
        sizes[buffer.device] = sizes.get(buffer.device, 0.0) + buffer.mib
    on_gpus = sum(mib for device, mib in sizes.items() if device != CPU)
    if not on_gpus:
        return (_seen(CPU, None, _allocated(CPU, buffers)),)
    kept = _kept_by_design(buffers, input_bytes / _MIB)
    sizes[CPU] = max(0.0, sizes[CPU] - kept)
    total = on_gpus + sizes[CPU]
    if on_gpus >= _WHOLE * total:
        del sizes[CPU]
    notes = f"; {kept:.1f} MiB stay in the main memory by design{_splits(lines)}"
    return tuple(
        _seen(device, mib / total, _allocated(device, buffers) + notes)
        for device, mib in sorted(sizes.items(), key=lambda size: -size[1])
        if mib > 0
    )


def in_main_memory(build: EngineBuild) -> tuple[Evidence, ...]:
    """Return the evidence that a build gives which computes on nothing but the CPU."""
    says = f"llama.cpp can compute on nothing else: the devices of this xllamacpp are {build.names}"
    return (_seen(CPU, None, says),)


def _seen(device: Device, share: float | None, says: str) -> Evidence:
    return Evidence(kind=MODEL, strength=Strength.OBSERVED, device=device, share=share, says=says)


def _kept_by_design(buffers: Iterable[Buffer], input_mib: float) -> float:
    """Return how many MiB stay in the main memory when all that can be is on a GPU: the tables for
    the input, the output's logits, and what is copied to and fro.
    """
    on_host = [buffer for buffer in buffers if buffer.device == CPU]
    weights = sum(buffer.mib for buffer in on_host if buffer.holds == "model")
    staging = sum(
        buffer.mib
        for buffer in on_host
        if buffer.holds == "output"
        or (buffer.holds == "compute" and buffer.where.endswith("_Host"))
    )
    return min(weights, input_mib) + staging


def _allocated(device: Device, buffers: Iterable[Buffer]) -> str:
    held: dict[str, float] = {}
    for buffer in buffers:
        if buffer.device == device and buffer.mib > 0:
            held[buffer.holds] = held.get(buffer.holds, 0.0) + buffer.mib
    sizes = ", ".join(f"{mib:.1f} MiB ({holds})" for holds, mib in held.items())
    return f"llama.cpp allocated on {device}: {sizes}"


def _splits(lines: Iterable[LogLine]) -> str:
    """Say into how many parts the work is cut; a model on one GPU has one or two."""
    found = [match["splits"] for line in lines if (match := _SPLITS.match(line.text))]
    return f"; its work is cut into {found[-1]} parts" if found else ""
