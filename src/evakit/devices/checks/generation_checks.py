"""Whether a build has code for the generation of GPUs that is there: rows 14 and 16 of the table.

What may not live here: which build has code for which.
"""

from __future__ import annotations

from collections.abc import Generator

from ...errors import ArchUnsupportedError
from ..finding import Finding, Remedy, Severity
from ..installed import Wheel
from ..inventory import Gpu, Inventory
from ..machine import Machine
from .driver_fixes import update_driver
from .floors import OLDEST, Code, Support, code_of, support
from .wheel_fixes import NAMES, build_ctranslate2, install_engine

__all__ = ["check_generation"]


def check_generation(machine: Machine, wheel: Wheel, gpus: tuple[Gpu, ...]) -> Generator[Finding]:
    """Yield which of `gpus` a build has no code for."""
    inventory = machine.inventory
    code = code_of(wheel, inventory.host)
    if code is None:
        return
    # Its own wheels have no `+cu130` in their version, and NVML may not say which Jetson it is.
    if inventory.host.is_tegra and not gpus and wheel.engine == "torch":
        yield _not_for_jetson(machine, wheel)
    wanting = []
    for gpu in gpus:
        found = support(code, _capability(inventory, gpu), inventory.driver)
        if found in {Support.NONE, Support.OLD_DRIVER}:
            wanting.append((gpu, found))
    for gpu, found in wanting:
        is_all = len(wanting) == len(gpus)
        # Whoever built xllamacpp from source has code for the GPU, and nothing on disk tells.
        is_sure = found is Support.NONE or wheel.engine != "llama.cpp"
        yield _no_code(
            machine,
            wheel,
            gpu,
            code,
            found,
            severity=Severity.BLOCKER if is_all and is_sure else Severity.WARNING,
        )


def _capability(inventory: Inventory, gpu: Gpu) -> tuple[int, int] | None:
    """Return that of the GPU, or of the one that a MIG instance is a part of."""
    if gpu.compute_capability is not None or gpu.parent is None:
        return gpu.compute_capability
    return next((g.compute_capability for g in inventory.gpus if g.uuid == gpu.parent), None)


def _no_code(
    machine: Machine,
    wheel: Wheel,
    gpu: Gpu,
    code: Code,
    found: Support,
    *,
    severity: Severity,
) -> Finding:
    name, capability = NAMES[wheel.engine], _capability(machine.inventory, gpu) or (0, 0)
    driver = machine.inventory.driver
    what = f"the {name} that is installed has no code for {gpu.name}"
    evidence = f"compute capability {_dotted(capability)}; {code.source} have {code}"
    fix = _code_cures(machine, wheel, gpu, capability)
    if found is Support.OLD_DRIVER:
        what = f"the driver cannot compile {name} for {gpu.name}"
        evidence += (
            f"; it would be compiled with CUDA {_dotted(code.toolkit)}, and driver "
            f"{driver.version if driver else None} is older"
        )
        fix = [update_driver(machine), *fix]
    return Finding(
        code="arch-unsupported",
        severity=severity,
        what=what,
        evidence=evidence,
        fix=fix,
        engine=wheel.engine,
        error=ArchUnsupportedError,
    )


def _code_cures(
    machine: Machine, wheel: Wheel, gpu: Gpu, capability: tuple[int, int]
) -> list[Remedy]:
    if wheel.engine == "ctranslate2":
        return [build_ctranslate2()]
    if capability < OLDEST[wheel.engine]:
        return [
            Remedy(
                what=f"no wheel of {NAMES[wheel.engine]} has code for it any more: ask for "
                "device 'cpu', or build it from source"
            )
        ]
    return install_engine(machine, wheel.engine, gpu)


def _not_for_jetson(machine: Machine, wheel: Wheel) -> Finding:
    return Finding(
        code="jetson-wheel",
        severity=Severity.UNKNOWN,
        what="PyTorch's own build is installed, which may have no code for this Jetson",
        evidence=f"{wheel.evidence}; /etc/nv_tegra_release or /sys/class/tegra-firmware is there",
        fix=install_engine(machine, wheel.engine, None),
        engine=wheel.engine,
        error=ArchUnsupportedError,
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
