"""How a device that cannot be had is said: the right class, one sentence, the exact cure.

What may not live here: deciding whether it can be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import (
    PartialPlacementError,
    PlacementError,
    SilentFallbackError,
    VramBudgetError,
)
from .evidence import Proof, Verdict
from .finding import Finding, Remedy
from .ledger import Admission
from .request import DeviceRequest

__all__ = ["no_room", "not_proven", "refused"]

_BY_VERDICT = {
    Verdict.REFUTED: SilentFallbackError,
    Verdict.PARTIAL: PartialPlacementError,
    Verdict.UNKNOWN: PlacementError,
}


def refused(request: DeviceRequest, findings: Sequence[Finding]) -> PlacementError:
    """Return the error for a device that the machine, or what is installed, rules out."""
    first = findings[0]
    return first.error(
        _sentence(request, "nothing was loaded", str(first), first.fix),
        component=request.component,
        wanted=request.device.name,
        why=str(first),
        findings=findings,
        fixes=[remedy for finding in findings for remedy in finding.fix],
    )


def no_room(request: DeviceRequest, admission: Admission, holders: str) -> VramBudgetError:
    """Return the error for a model that does not fit, naming who holds the memory."""
    total = admission.gpu.memory_total
    if total is not None and admission.needed > total:
        fix = Remedy(what="choose a smaller model or a smaller compute type")
    else:
        fix = Remedy(what="end what holds it, choose a smaller model, or raise the budget")
    return VramBudgetError(
        _sentence(request, "nothing was loaded", f"{admission.why}; held by {holders}", [fix]),
        component=request.component,
        wanted=request.device.name,
        why=admission.why,
        fixes=[fix],
    )


def not_proven(request: DeviceRequest, proof: Proof) -> PlacementError:
    """Return the error for a model that was loaded and is not where it was to be, or may not be."""
    found = "unknown" if proof.device is None else proof.device.name
    error = _BY_VERDICT[proof.verdict]
    return error(
        _sentence(
            request,
            f"it was found on {found} ({proof.verdict.value})",
            "; ".join(proof.reasons),
            proof.fix,
        ),
        component=request.component,
        wanted=request.device.name,
        found=None if proof.device is None else proof.device.name,
        why="; ".join(proof.reasons),
        proof=proof,
        fixes=proof.fix,
    )


def _sentence(request: DeviceRequest, found: str, why: str, fix: Iterable[Remedy]) -> str:
    cure = next(iter(fix), Remedy(what="'evakit doctor' looks at all of the machine"))
    return (
        f"{request.component} was asked for on {request.device}, and {found}: {why}; {cure}"
    ).rstrip(".") + ("." if cure.command is None else "")
