"""One attempt at putting a model on one device: load, warm up, prove, or leave nothing behind.

What may not live here: choosing the device, room for it, and what happens after a failure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final

import anyio
from attrs import frozen

from .. import _threads
from .._failures import errors_of
from .._logging import logger
from ..errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    EvakitError,
    GpuLostError,
)
from .device import CPU, Device
from .evidence import CONTEXT, MEMORY, MODEL, WARM_UP, Evidence, Proof, Strength, Verdict, judge
from .instruments import Instruments
from .lease import Lease, LeaseState
from .ledger import shown
from .refusal import not_proven
from .request import Binding
from .watch import ends_work, mark

__all__ = ["Load", "attempt", "give_back", "look_again"]

Load = Callable[[Device, int | None], Awaitable[None]]
"""Loads a model on exactly that device, within so many bytes of its memory."""

_GROWTH: Final = 0.5  # of the estimate: less than that cannot be the model
_RECOVERY: Final = 5.0  # seconds that a driver may take to give memory back
_RECOVERED: Final = 0.8  # of what loading took
_POLL: Final = 0.05  # seconds between two readings

_log = logger(__name__)


@frozen
class _Readings:
    """The machine outside of the engine, at one moment."""

    contexts: frozenset[str] | None
    memory: int | None

    @classmethod
    async def take(cls, instruments: Instruments, uuid: str | None) -> _Readings:
        def read() -> _Readings:
            memory = None if uuid is None else instruments.memory_used(uuid)
            return cls(instruments.active_contexts(), memory)

        return await _threads.run(read)


async def attempt(
    lease: Lease,
    load: Load,
    *,
    instruments: Instruments,
    estimate: int | None,
    limit: float,
    ours: Collection[str],
) -> None:
    """Load what `lease` is for on its device, and prove that it is there.

    Whatever goes wrong, and when it is cancelled, the backend is unloaded again. `ours` are the
    GPUs on which a context of this process is no surprise; it may grow meanwhile.

    Raises:
        PlacementError: it is not there, or it cannot be proven to be.
        GpuLostError: loading on a GPU took longer than `limit` seconds, and may still be under way.
        BackendTimeoutError: the same on the CPU.
        EvakitError: loading failed.

    """
    uuid = None if lease.gpu is None else lease.gpu.uuid
    component = lease.request.component
    before = await _Readings.take(instruments, uuid)
    try:
        with anyio.move_on_after(limit) as scope:
            await load(lease.device, lease.request.vram_bytes)
            with errors_of(BackendUnavailableError, component, "warming up"):
                lease.warm_up = await lease.backend.warm_up()
        if scope.cancelled_caught:
            lease.has_hung = True
            raise _hung(lease, limit)
        after = await _Readings.take(instruments, uuid)
        if before.memory is not None and after.memory is not None:
            lease.measured = max(0, after.memory - before.memory)
        with errors_of(BackendUnavailableError, component, "showing where it is"):
            lease.proof = _look(lease, before, after, estimate=estimate, ours=ours)
        if not _is_enough(lease, lease.proof):
            raise not_proven(lease.request, lease.proof)
    except BaseException as error:
        await _undo(lease, before, instruments, error)
        raise


def _look(
    lease: Lease,
    before: _Readings,
    after: _Readings,
    *,
    estimate: int | None,
    ours: Collection[str],
) -> Proof:
    """Judge what the engine and the machine show."""
    device, gpu = lease.device, lease.gpu
    evidence = list(lease.backend.evidence())
    if lease.warm_up is not None:
        evidence.append(
            Evidence(
                kind=WARM_UP,
                strength=Strength.ENVIRONMENT,
                device=device,
                says=f"a warm-up gave {lease.warm_up}",
            )
        )
    required = {MODEL, WARM_UP}
    if gpu is not None:
        required.add(CONTEXT)
        if after.contexts is not None and gpu.uuid in after.contexts:
            says = f"this process has an active CUDA context on {gpu.name} ({gpu.uuid})"
            evidence.append(_seen(CONTEXT, device, says))
        elif after.contexts is not None:
            says = f"this process has no active CUDA context on {gpu.name} ({gpu.uuid})"
            evidence.append(_seen(CONTEXT, CPU, says))
        if lease.measured is not None and before.memory is not None:
            required.add(MEMORY)
            if lease.measured > _GROWTH * (estimate or 0):
                says = f"the use of {gpu.name} grew by {shown(lease.measured)} while it loaded"
                evidence.append(_seen(MEMORY, device, says))
    elif _could_have_moved(lease) and before.contexts is not None and after.contexts is not None:
        observed = any(e.kind == MODEL and e.strength is Strength.OBSERVED for e in evidence)
        # A context may be somebody else's, who began to use the GPU just now: it contradicts a
        # backend only where nothing was seen in its engine.
        evidence += [
            _seen(
                CONTEXT,
                Device(uuid),
                f"a CUDA context on {uuid} appeared while it loaded",
                share=0.0 if observed else None,
            )
            for uuid in sorted(after.contexts - before.contexts - set(ours))
        ]
    return judge(device, evidence, required=required)


def _could_have_moved(lease: Lease) -> bool:
    """Say whether it is a backend that can use a GPU and is on the CPU because it was asked to."""
    return lease.device == CPU and lease.request.binding is Binding.ASKED


def look_again(lease: Lease) -> None:
    """Judge what the engine shows now, with what the machine showed when the lease was proven.

    Raises:
        PlacementError: it is not, or no longer, where it was required to be; its state says so.

    """
    proof = lease.proof
    if proof is None or lease.state is LeaseState.RELEASED:
        return
    kept = [piece for piece in proof.evidence if piece.kind != MODEL]
    required = {MODEL, WARM_UP, *(piece.kind for piece in kept if piece.share != 0)}
    lease.proof = judge(lease.device, [*lease.backend.evidence(), *kept], required=required)
    if not _is_enough(lease, lease.proof):
        error = not_proven(lease.request, lease.proof)
        mark(lease, LeaseState.DRIFTED, error.why or "what was added is somewhere else")
        if ends_work(lease):
            raise error


def _seen(kind: str, device: Device, says: str, *, share: float | None = None) -> Evidence:
    return Evidence(kind=kind, strength=Strength.ENVIRONMENT, device=device, says=says, share=share)


def _is_enough(lease: Lease, proof: Proof) -> bool:
    """Say whether the verdict is what the request wants.

    On the CPU a backend that holds no model, or is no model of ours, has nothing to show.
    """
    if lease.request.binding is Binding.REMOTE:
        return True
    if lease.device == CPU and proof.verdict is Verdict.UNKNOWN:
        return True
    return proof.verdict is Verdict.PROVEN


def _hung(lease: Lease, limit: float) -> EvakitError:
    component = lease.request.component
    if lease.gpu is None:
        return BackendTimeoutError(
            f"{component} was not loaded within {limit:g} s, and a thread that is still at it "
            "cannot be stopped; start the program again, or allow more time.",
            backend=component,
            seconds=limit,
        )
    return GpuLostError(
        f"{component} was not loaded on {lease.gpu.name} within {limit:g} s, and a thread that is "
        f"still at it cannot be stopped, so that this program does not use {lease.gpu.uuid} again; "
        "start it again, or allow more time.",
        component=component,
        wanted=lease.request.device.name,
    )


async def _undo(
    lease: Lease, before: _Readings, instruments: Instruments, error: BaseException
) -> None:
    with anyio.CancelScope(shield=True):
        try:
            with errors_of(BackendError, lease.request.component, "unloading"):
                await lease.backend.unload()
        except EvakitError as failure:
            error.add_note(f"Then, while it was undone: {failure}")
        await _wait_for_memory(lease, before.memory, instruments)


async def give_back(lease: Lease, instruments: Instruments) -> None:
    """Unload what `lease` is for, and wait until the GPU has its memory back."""
    uuid = None if lease.gpu is None else lease.gpu.uuid
    before = None if uuid is None else await _threads.run(instruments.memory_used, uuid)
    with errors_of(BackendError, lease.request.component, "unloading"):
        await lease.backend.unload()
    taken = lease.measured or 0
    target = None if before is None else round(before - _RECOVERED * taken)
    await _wait_for_memory(lease, target, instruments)


async def _wait_for_memory(lease: Lease, target: int | None, instruments: Instruments) -> None:
    """Wait until a GPU's use is down to `target` bytes, for five seconds at most."""
    if lease.gpu is None or target is None:
        return
    slack = 2**26  # what others take and give meanwhile
    deadline = anyio.current_time() + _RECOVERY
    while True:
        used = await _threads.run(instruments.memory_used, lease.gpu.uuid)
        if used is None or used <= target + slack:
            return
        if anyio.current_time() > deadline:
            _log.warning(
                "%s was unloaded, and %s has not given its memory back after %g s",
                lease.request.component,
                lease.gpu.name,
                _RECOVERY,
            )
            return
        await anyio.sleep(_POLL)
