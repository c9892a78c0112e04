"""`evakit doctor --deep`: each installed backend, loaded with its smallest model, and proven.

What may not live here: what proof is (`evakit.devices`), and how it is shown (`doctor.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from .. import _threads
from .._failures import errors_of
from ..abc import TTS, LoadContext
from ..devices import (
    Device,
    DeviceManager,
    DeviceRequest,
    Finding,
    Lease,
    Policy,
    Remedy,
    Severity,
    bind,
)
from ..devices.device import CPU
from ..devices.doctor import Trial
from ..errors import BackendUnavailableError, DeviceError, EvakitError, PlacementError
from ..models import Model, ModelStore, Progress
from ..registry import BackendSpec, Registry

__all__ = ["try_backends"]


async def try_backends(
    registry: Registry, device: str | None, progress: Progress
) -> tuple[list[Trial], list[Finding]]:
    """Load each backend that is installed, one after the other, and give it back.

    Returns what was proven, and what went wrong.
    """
    manager, store = DeviceManager(), ModelStore()
    trials, findings = [], []
    for spec in registry:
        if spec.missing() is not None or spec.capabilities.devices == {"remote"}:
            continue
        candidate = _Candidate(spec, _smallest(spec, store), store, progress)
        try:
            trials.append(await _try(candidate, manager, device))
        except EvakitError as error:
            findings.append(_finding(candidate.name, error))
    return trials, findings


def _smallest(spec: BackendSpec, store: ModelStore) -> str | None:
    """Return the name of the smallest model, as the backend takes it; None for its own choice.

    One that is here comes before one that would have to be fetched, and of those the starter model.
    """

    def order(model: Model) -> tuple[bool, bool, int]:
        absent = store.path(model) is None
        return absent, absent and not model.starter, sum(file.size for file in model.files)

    sized = [model for model in spec.models if model.files]
    smallest = min(sized, key=order, default=None)
    return None if smallest is None else smallest.name.partition(":")[2] or None


@frozen
class _Candidate:
    """A backend that is tried."""

    spec: BackendSpec
    model: str | None
    store: ModelStore
    progress: Progress

    @property
    def name(self) -> str:
        """What people call it."""
        return " ".join(filter(None, (self.spec.kind, self.spec.name, self.model)))

    async def place(self, manager: DeviceManager, request: DeviceRequest) -> Lease:
        """Load a new one where `request` wants it."""
        backend = self.spec.create(self.model)
        outlook = await manager.outlook(request, backend.capabilities.engines)
        folders = await self._fetch(backend.models())
        voice = backend.voices[0] if isinstance(backend, TTS) and backend.voices else None
        voices: dict[str, Path] = {}
        if voice is not None and isinstance(backend, TTS):
            voices = await self._fetch(backend.voice_models(voice))

        async def load(device: Device, vram_bytes: int | None) -> None:
            with errors_of(BackendUnavailableError, backend.name, "loading"):
                context = LoadContext(device=device, models=folders, vram_bytes=vram_bytes)
                await backend.load(context)
                if voice is not None and isinstance(backend, TTS):
                    await backend.prepare_voice(voice, voices)

        def estimate(device: Device) -> int | None:
            return backend.vram_estimate(LoadContext(device=device, models=folders))

        return await manager.place(backend, request, load, outlook=outlook, estimate=estimate)

    async def _fetch(self, models: Iterable[Model]) -> dict[str, Path]:
        ensure = partial(self.store.ensure, progress=self.progress)
        return {model.name: await _threads.run(ensure, model) for model in models}


async def _try(candidate: _Candidate, manager: DeviceManager, device: str | None) -> Trial:
    spec = candidate.spec
    request = bind(device, component=spec.name, supported=spec.capabilities.devices)
    lease = await candidate.place(manager, request)
    trial = Trial(
        component=candidate.name, label=lease.label, proof=lease.proof, warm_up=lease.warm_up
    )
    is_on_gpu = lease.is_on_gpu
    await manager.release(lease)
    if not is_on_gpu:
        return trial
    # A small model is often no faster on a GPU: whoever sees both figures can choose.
    beside = DeviceRequest(component=spec.name, policy=Policy.CPU, device=CPU)
    lease = await candidate.place(manager, beside)
    await manager.release(lease)
    return evolve(trial, on_cpu=lease.warm_up)


def _finding(component: str, error: EvakitError) -> Finding:
    if not isinstance(error, DeviceError):
        return Finding(
            code="not-tried",
            severity=Severity.UNKNOWN,
            what=f"{component} could not be loaded, so that nothing is known of where it would run",
            evidence=str(error).rstrip("."),
        )
    return Finding(
        code="not-proven",
        severity=Severity.BLOCKER,
        what=f"{component} could not be proven to be where it was to run",
        evidence=error.why or str(error).rstrip("."),
        fix=[fix for fix in error.fixes if isinstance(fix, Remedy)],
        error=type(error) if isinstance(error, PlacementError) else PlacementError,
    )
