"""What keeps one engine from a GPU that is in order: its wheel, its libraries, the GPU's age.

Rows 1 to 8, 11, 14 and 16 of the table. Nothing is imported or loaded: it is told from what is on
disk. What may not live here: which versions go with which, and the commands.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from attrs import evolve

from ...errors import DriverError, WheelFlavourError
from ..finding import Finding, Remedy, Severity
from ..installed import Wheel
from ..inventory import Gpu
from ..machine import Machine
from .driver_fixes import update_driver
from .floors import driver_floor, driver_supports
from .generation_checks import check_generation
from .library_checks import check_libraries
from .wheel_fixes import NAMES, install_engine, reinstall

__all__ = ["check_engine", "check_package"]

# By what was written last: a build for the CPU, one for CUDA (until the next installation), or
# files that do not tell.
_SHADOWED: Final = {True: Severity.BLOCKER, False: Severity.WARNING, None: Severity.UNKNOWN}


def check_package(machine: Machine, engine: str) -> tuple[Finding, ...]:
    """Return what is wrong with an engine's package on any device: that nothing is left of it."""
    wheel = machine.installed.get(engine)
    if wheel is None or wheel.folder is not None:
        return ()
    return (
        Finding(
            code=f"{_code(engine)}-broken",
            severity=Severity.BLOCKER,
            what=f"{NAMES[engine]} counts as installed, and its files are gone",
            evidence=wheel.evidence,
            fix=[reinstall(wheel)],
            engine=engine,
            error=WheelFlavourError,
        ),
    )


def check_engine(machine: Machine, engine: str, *, gpu: Gpu | None = None) -> tuple[Finding, ...]:
    """Return what keeps `engine` from running on `gpu`, or on all that are visible, worst first.

    Nothing is said of an engine that is not installed.
    """
    wheel = machine.installed.get(engine)
    if wheel is None:
        return ()
    gpus = machine.inventory.visible if gpu is None else (gpu,)
    first = gpus[0] if gpus else None
    cures = install_engine(machine, engine, first)
    broken = tuple(evolve(finding, fix=cures) for finding in check_package(machine, engine))
    found = broken or tuple(_build(machine, wheel, cures))
    if any(finding.severity is Severity.BLOCKER for finding in found):
        return found
    rest = (
        *_driver(machine, wheel, cures),
        *check_libraries(machine, wheel, first),
        *check_generation(machine, wheel, gpus),
    )
    return (*found, *rest)


def _code(engine: str) -> str:
    return engine.replace(".", "")


def _build(machine: Machine, wheel: Wheel, cures: list[Remedy]) -> Generator[Finding]:
    """Whether it was built for CUDA, and whether it is one build."""
    name, owners = NAMES[wheel.engine], ", ".join(map(str, wheel.owners))
    # Those settings are about PyTorch's builds: no other engine has one that is called +cpu.
    settings = machine.installed.index_settings if wheel.engine == "torch" else ()
    evidence = "; ".join((wheel.evidence, *settings))
    if len(wheel.owners) > 1:
        yield Finding(
            code=f"{_code(wheel.engine)}-shadowed",
            severity=_SHADOWED[wheel.is_cpu_only],
            what=f"several builds of {name} are installed over each other"
            + (", and one without CUDA was the last" if wheel.is_cpu_only else ""),
            evidence=f"{wheel.package} belongs to {owners}; {wheel.evidence}",
            fix=cures,
            engine=wheel.engine,
            error=WheelFlavourError,
        )
    elif wheel.is_cpu_only:
        yield Finding(
            code=f"{_code(wheel.engine)}-cpu-wheel",
            severity=Severity.BLOCKER,
            what=f"the {name} that is installed was built without CUDA",
            evidence=evidence,
            fix=cures,
            engine=wheel.engine,
            error=WheelFlavourError,
        )
    elif wheel.is_cpu_only is None:
        yield Finding(
            code=f"{_code(wheel.engine)}-build-unknown",
            severity=Severity.UNKNOWN,
            what=f"it cannot be told whether the {name} that is installed was built for CUDA",
            evidence=evidence,
            fix=cures,
            engine=wheel.engine,
            error=WheelFlavourError,
        )


def _driver(machine: Machine, wheel: Wheel, cures: list[Remedy]) -> Generator[Finding]:
    """Whether the driver is new enough for the CUDA of this build."""
    driver, cuda = machine.inventory.driver, wheel.cuda
    if driver is None or cuda is None or driver_supports(driver, cuda) is not False:
        return
    newest = "" if driver.cuda is None else f", which supports CUDA {_dotted(driver.cuda)}"
    floor = driver_floor(cuda)
    yield Finding(
        code="driver-too-old",
        severity=Severity.BLOCKER,
        what=f"NVIDIA's driver is too old for the {NAMES[wheel.engine]} that is installed",
        evidence=f"{wheel.evidence}; driver {driver.version}{newest}"
        + (f"; CUDA {cuda[0]} needs {floor}" if floor else ""),
        fix=[update_driver(machine), *cures],
        engine=wheel.engine,
        error=DriverError,
    )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
