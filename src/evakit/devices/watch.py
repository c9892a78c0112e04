"""Whether a model is still where it was proven to be.

What may not live here: when to look, and reading the machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._logging import logger
from ..errors import DeviceError, GpuLostError, PlacementDrift, PlacementError
from .lease import Lease, LeaseState
from .request import Binding, Policy

__all__ = ["ends_work", "examine", "mark"]

_log = logger(__name__)


def examine(
    lease: Lease, *, contexts: frozenset[str] | None, lost: Mapping[str, str]
) -> PlacementError | None:
    """Look at one lease; note what is wrong in it, and return that as an error.

    `contexts` are the GPUs on which this process has an active context, None where that cannot be
    told; `lost` says of GPUs that do not answer any more why.
    """
    if lease.state in {LeaseState.LOADING, LeaseState.RELEASED}:
        return None
    if lease.request.binding is Binding.REMOTE:
        return None
    trouble = _trouble(lease, contexts, lost)
    return None if trouble is None else mark(lease, *trouble)


def _trouble(
    lease: Lease, contexts: frozenset[str] | None, lost: Mapping[str, str]
) -> tuple[LeaseState, str] | None:
    """Say what is wrong with a lease, if anything is: what it is now, and why."""
    gpu = lease.gpu
    found: tuple[LeaseState, str] | None = None
    if lease.trouble is not None:  # what was lost once is not trusted again
        found = lease.state, lease.trouble
    elif gpu is not None and gpu.uuid in lost:
        found = LeaseState.LOST, lost[gpu.uuid]
    else:
        try:
            now = lease.backend.quick_check()
        except Exception as error:  # noqa: BLE001 (an engine's own; kept, told, and ends the work)
            state = LeaseState.DRIFTED if gpu is None else LeaseState.LOST
            kind = "" if isinstance(error, DeviceError) else f"{type(error).__name__}: "
            return state, f"{kind}{error}".rstrip(".")
        if now != lease.device:
            found = LeaseState.DRIFTED, f"it is on {now} now"
        elif gpu is not None and contexts is not None and gpu.uuid not in contexts:
            why = f"this process has no active CUDA context on {gpu.name} any more"
            found = LeaseState.DRIFTED, why
    return found


def mark(lease: Lease, state: LeaseState, why: str) -> PlacementError:
    """Note what is wrong with a lease, and return it as an error; it is logged where it is news."""
    kind = GpuLostError if state is LeaseState.LOST else PlacementDrift
    is_news = lease.trouble != why
    lease.state, lease.trouble = state, why
    component = lease.request.component
    if lease.request.policy is Policy.PREFER:
        lease.degraded = f"it was proven on {lease.device} and is so no longer: {why}"
    if is_news:
        _log.warning("%s is no longer proven on %s: %s", component, lease.device, why)
    return kind(
        f"{component} was proven on {lease.device} and is so no longer: {why}; close what uses it "
        "and load it again, and see 'evakit doctor' where that fails.",
        component=component,
        wanted=lease.request.device.name,
        found=None,
        why=why,
        proof=lease.proof,
    )


def ends_work(lease: Lease) -> bool:
    """Say whether what is wrong with a lease means that it takes no more work."""
    if lease.state is LeaseState.LOST:
        return True
    return lease.state is LeaseState.DRIFTED and lease.request.policy is not Policy.PREFER
