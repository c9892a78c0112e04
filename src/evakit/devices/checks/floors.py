"""Which driver each CUDA needs, and for which generations of GPUs each build has code: as data.

A GPU runs machine code that was made for its own compute capability or for a lower one of the
same major number. Where there is none the driver compiles the build's PTX, if that is for a
capability no higher than the GPU's and no newer than the driver itself. What may not live here:
deciding what is wrong, and how it is said.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from attrs import frozen

from ..installed import Wheel
from ..inventory import Driver, Host

__all__ = [
    "OLDEST",
    "TURING",
    "Code",
    "Support",
    "code_of",
    "driver_floor",
    "driver_supports",
    "has_newest_llamacpp",
    "numbers",
    "support",
]

# The oldest driver that each CUDA's programs run on, by major number, since those of one major
# number share a driver ("CUDA minor version compatibility", NVIDIA's CUDA release notes, table 2),
# and the oldest that compiles the PTX of one (table 3). Linux; where NVML says which CUDA the
# driver supports, that is asked instead, on every system.
_FLOORS: Final = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580,)}
_PTX_FLOORS: Final = {
    (12, 8): (570,),
    (13, 0): (580, 65, 6),
    (13, 1): (590, 44),
    (13, 2): (595, 45),
}

TURING: Final = (7, 5)
"""The oldest compute capability that CUDA 13 makes code for."""

# Jetsons: code of the desktop cards of the same major number does not run on them.
_TEGRA: Final = frozenset({(3, 2), (5, 3), (6, 2), (7, 2), (8, 7), (10, 1), (11, 0)})


def _capabilities(*numbers: int) -> tuple[tuple[int, int], ...]:
    """`sm_86` is (8, 6), `sm_120` is (12, 0)."""
    return tuple(divmod(number, 10) for number in numbers)


@frozen(kw_only=True)
class Code:
    """For which generations of GPUs a build has code."""

    native: tuple[tuple[int, int], ...]
    """Machine code, for these and for the later ones of the same major number."""
    exact: tuple[tuple[int, int], ...] = ()
    """Machine code for these alone: `sm_120a`."""
    ptx: tuple[tuple[int, int], ...] = ()
    toolkit: tuple[int, int]
    """The CUDA that made the PTX."""
    source: str
    """Where the list is from, for people."""

    def __str__(self) -> str:
        names = [f"sm_{major}{minor}" for major, minor in sorted({*self.native, *self.exact})]
        names += [f"compute_{major}{minor}" for major, minor in self.ptx]
        return ", ".join(names)


class Support(StrEnum):
    """Whether a build runs on a GPU."""

    NATIVE = "native"
    COMPILED = "compiled"
    """The driver compiles it at the first load, which takes a while once."""
    OLD_DRIVER = "old driver"
    """The driver would have to compile it, and is older than what it was made with."""
    NONE = "none"
    UNKNOWN = "unknown"


# torch/utils and .ci/manywheel of torch 2.13: cu126; cu129, cu130, cu132 for x86-64 and aarch64.
# 2.8 to 2.10 had Volta in their cu128 and cu129 (pytorch#157517). cu118 to cu124: PyTorch's own
# warning on newer cards ("supports CUDA capabilities sm_50 ... sm_90", pytorch#167244).
_TORCH_OLD: Final = _capabilities(50, 60, 70, 75, 80, 86, 90)
_TORCH_NEW: Final = _capabilities(75, 80, 86, 90, 100, 120)
_TORCH_ARM: Final = _capabilities(80, 90, 100, 110, 120)
_TORCH_FIRST_OLD_TAGS: Final = ("cu118", "cu121", "cu124", "cu126")
_TORCH_VOLTA: Final = ((2, 8), (2, 11))

# onnxruntime-gpu: tools/ci_build/github/linux of 1.26 (CUDA 12.8) and 1.28 (CUDA 13.0).
_ONNXRUNTIME: Final = {
    12: Code(
        native=_capabilities(60, 70, 75, 80, 86, 90),
        ptx=_capabilities(90),
        toolkit=(12, 8),
        source="the builds of onnxruntime-gpu 1.24 to 1.26",
    ),
    13: Code(
        native=_capabilities(75, 80, 86, 89, 90, 100, 120),
        ptx=_capabilities(120),
        toolkit=(13, 0),
        source="the builds of onnxruntime-gpu since 1.28",
    ),
}

# Read from the fat binaries in the x86-64 wheel of ctranslate2 4.8.5, built with CUDA 12.8.
_CTRANSLATE2: Final = Code(
    native=_capabilities(53, 60, 61, 70, 75, 80, 86),
    ptx=_capabilities(86),
    toolkit=(12, 8),
    source="the wheels of ctranslate2 since 4.8",
)

# xllamacpp's own metadata, "CUDA GPU Architecture Coverage".
_LLAMACPP: Final = {
    12: Code(
        native=_capabilities(86, 89),
        exact=_capabilities(120),
        ptx=_capabilities(50, 61, 70, 75, 80),
        toolkit=(12, 8),
        source="xllamacpp's wheels for CUDA 12.8",
    ),
    13: Code(
        native=_capabilities(75, 86, 89),
        exact=_capabilities(120, 121),
        ptx=_capabilities(80),
        toolkit=(13, 2),
        source="xllamacpp's wheels for CUDA 13.2",
    ),
}


OLDEST: Final = {
    "torch": (5, 0),
    "onnxruntime": (6, 0),
    "ctranslate2": (6, 0),
    "llama.cpp": (5, 0),
}
"""The oldest compute capability that any of an engine's wheels has code for."""


def numbers(version: str | None) -> tuple[int, ...]:
    """Return the leading numbers of a version, `580.95.05` or `2.13.0+cpu`; () for none."""
    found = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9})*", version or "")
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def driver_floor(cuda: tuple[int, int]) -> str | None:
    """Return the oldest driver that programs of a CUDA run on; None when that is not known."""
    floor = _FLOORS.get(cuda[0])
    return None if floor is None else ".".join(f"{part:02}" for part in floor)


def driver_supports(driver: Driver, cuda: tuple[int, int]) -> bool | None:
    """Say whether programs of a CUDA run on a driver; None when that cannot be told."""
    if driver.cuda is not None:
        return driver.cuda[0] >= cuda[0]
    return _at_least(driver, _FLOORS.get(cuda[0]))


def _compiles(driver: Driver, toolkit: tuple[int, int]) -> bool | None:
    if driver.cuda is not None:
        return driver.cuda >= toolkit
    return _at_least(driver, _PTX_FLOORS.get(toolkit))


def _at_least(driver: Driver, floor: tuple[int, ...] | None) -> bool | None:
    version = numbers(driver.version)
    return version >= floor if version and floor else None


def has_newest_llamacpp(driver: Driver | None, capability: tuple[int, int] | None) -> bool:
    """Say whether xllamacpp's wheel for CUDA 13.2 is one for this driver and GPU."""
    if driver is None or (capability is not None and capability < TURING):
        return False
    return _compiles(driver, _LLAMACPP[13].toolkit) is True


def code_of(wheel: Wheel, host: Host) -> Code | None:
    """Return what an installed build has code for; None when it is none of those that are known:
    one from somebody else, built from source, or older.
    """
    if wheel.cuda is None:
        return None
    is_pc = host.machine in {"x86_64", "amd64", "AMD64"}
    major, version = wheel.cuda[0], numbers(wheel.version)
    if wheel.engine == "torch":
        return _torch(wheel, is_arm=not is_pc)
    if wheel.engine == "onnxruntime" and is_pc and version >= (1, 24):
        return _ONNXRUNTIME.get(major)
    if wheel.engine == "ctranslate2" and is_pc and version >= (4, 8):
        return _CTRANSLATE2
    if wheel.engine == "llama.cpp":
        return _LLAMACPP.get(major)
    return None


def _torch(wheel: Wheel, *, is_arm: bool) -> Code | None:
    """Of PyTorch's own builds, which say in their version for which CUDA they are: `+cu130`."""
    tag = (wheel.version or "").partition("+")[2]
    if wheel.cuda is None or re.fullmatch(r"cu[0-9]{3}", tag) is None:
        return None
    is_old = tag in _TORCH_FIRST_OLD_TAGS
    if is_arm:
        native = _TORCH_ARM if wheel.cuda >= (12, 9) else ()
    else:
        native = _TORCH_OLD if is_old else _TORCH_NEW
        first, end = _TORCH_VOLTA
        if wheel.cuda[0] == 12 and first <= numbers(wheel.version)[:2] < end and not is_old:  # noqa: PLR2004 (CUDA 12)
            native = (*_capabilities(70), *native)
    source = f"PyTorch's builds for {tag}"
    return Code(native=native, toolkit=wheel.cuda, source=source) if native else None


def support(
    code: Code | None, capability: tuple[int, int] | None, driver: Driver | None
) -> Support:
    """Say whether a build with `code` runs on a GPU of `capability`."""
    if code is None or capability is None:
        return Support.UNKNOWN
    if capability in {*code.native, *code.exact}:
        return Support.NATIVE
    if capability not in _TEGRA and any(
        made[0] == capability[0] and made[1] <= capability[1] and made not in _TEGRA
        for made in code.native
    ):
        return Support.NATIVE
    if not any(made <= capability for made in code.ptx):
        return Support.NONE
    compiles = None if driver is None else _compiles(driver, code.toolkit)
    if compiles is None:
        return Support.UNKNOWN
    return Support.COMPILED if compiles else Support.OLD_DRIVER
