"""Outlook: what can come of a request, as far as the machine and what is installed tell.

Pure. What may not live here: loading, and room on a GPU, which changes by the second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import frozen

from ..errors import GpuLostError
from .checks import check_engine, check_machine, forked_process
from .device import CUDA
from .finding import Finding, Remedy, Severity
from .inventory import Gpu
from .machine import Machine
from .request import DeviceRequest

__all__ = ["Outlook", "look_out"]


@frozen(kw_only=True)
class Outlook:
    """What can come of a request, as far as it is known without loading anything."""

    request: DeviceRequest
    gpus: tuple[Gpu, ...] = ()
    """The GPUs that nothing rules out."""
    findings: tuple[Finding, ...] = ()
    """What rules all of them out; empty when there are some, or none is wanted."""


def look_out(
    machine: Machine,
    request: DeviceRequest,
    engines: Collection[str],
    quarantined: Mapping[str, str],
    *,
    is_forked: bool = False,
) -> Outlook:
    """Return the GPUs that nothing rules out for `request`, or what rules all of them out.

    `engines` are those that the component runs on; `quarantined` says of GPUs that are not used
    any more why; `is_forked`, that this process was forked from one that had initialised CUDA.
    """
    visible = machine.inventory.visible
    # What could not be told of the machine counts as well: without it, nothing can be proven.
    against = [
        finding
        for finding in check_machine(machine, device=request.device.name)
        if finding.severity is not Severity.WARNING
    ]
    against += [forked_process()] if is_forked else []
    if request.device == CUDA:
        named = visible
    else:
        found = machine.inventory.find(request.device.name)
        named = () if found is None else (found,)
    if against:
        # What is wrong with the engines comes after, so that all of it can be cured at once.
        against += _engine_blockers(machine, engines, None)
        return Outlook(request=request, findings=tuple(against))
    good = []
    for gpu in named:
        wrong = [*_quarantine(gpu, quarantined), *_engine_blockers(machine, engines, gpu)]
        against += [finding for finding in wrong if finding not in against]
        if not wrong:
            good.append(gpu)
    return Outlook(request=request, gpus=tuple(good), findings=() if good else tuple(against))


def _quarantine(gpu: Gpu, quarantined: Mapping[str, str]) -> list[Finding]:
    if gpu.uuid not in quarantined:
        return []
    return [
        Finding(
            code="quarantined",
            severity=Severity.BLOCKER,
            what=f"{gpu.name} is not used any more by this program",
            evidence=quarantined[gpu.uuid],
            fix=[Remedy(what="start the program again")],
            error=GpuLostError,
        )
    ]


def _engine_blockers(machine: Machine, engines: Collection[str], gpu: Gpu | None) -> list[Finding]:
    # What cannot be told of a build does not count: loading tells, and proof decides.
    return [
        finding
        for engine in sorted(engines)
        for finding in check_engine(machine, engine, gpu=gpu)
        if finding.severity is Severity.BLOCKER
    ]
