"""DeviceManager: puts models on devices, proves that they are there, and keeps the books.

The order of work: look at the machine, rule out what cannot be, find room, load on the exact
device, warm up, prove, commit or leave nothing behind. What may not live here: how each of these
is done, and how it is said.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Final

import anyio

from .. import _threads
from .._failures import errors_of
from .._logging import logger
from ..errors import (
    BackendError,
    BackendUnavailableError,
    DeviceError,
    PlacementError,
    StorageError,
)
from .device import CPU, Device
from .finding import Remedy
from .instruments import Instruments
from .inventory import Gpu
from .lease import Evict, Lease, LeaseState, Placeable
from .ledger import Admission, Ledger
from .load_lock import load_lock
from .outlook import Outlook, look_out
from .placing import Load, attempt, give_back, look_again
from .probing import try_in_a_child
from .refusal import no_room, refused
from .report import PlacementReport
from .request import Binding, DeviceRequest, Policy
from .watch import ends_work, examine

__all__ = ["DeviceManager", "default_manager"]

_log = logger(__name__)

LOAD_LIMIT: Final = 300.0
"""Seconds that a load and its warm-up may take: a model of 20 GB from a slow disk takes two
minutes, and code for a new generation of GPUs is compiled in one."""
LOCK_PATIENCE: Final = 4 * LOAD_LIMIT
"""Seconds to wait for other loads on the same GPU: those of the other stages among them."""


class DeviceManager:
    """Puts models on devices. Safe to share between threads and event loops.

    Args:
        budget: How many bytes of each GPU this process may hold, for all or by UUID; None is all
            that is free.
        load_limit: Seconds that loading and warming up one model may take.
        lock_patience: Seconds to wait while another program loads on the same GPU.
        instruments: What the machine is looked at with; for tests.

    """

    def __init__(
        self,
        *,
        budget: Mapping[str, int] | int | None = None,
        load_limit: float = LOAD_LIMIT,
        lock_patience: float = LOCK_PATIENCE,
        instruments: Instruments | None = None,
    ) -> None:
        self._instruments = instruments or Instruments()
        self._ledger = Ledger(budget)
        self._load_limit = load_limit
        self._lock_patience = lock_patience
        self._lock = threading.Lock()
        self._quarantined: dict[str, str] = {}
        self._stuck = 0
        self._told: set[tuple[str, str]] = set()
        self._probed: set[tuple[str, str]] = set()
        self._touched: set[str] = set()  # GPUs that something was ever loaded on, or tried to be

    @property
    def leases(self) -> tuple[Lease, ...]:
        """All that are held, the oldest first."""
        return self._ledger.leases

    async def outlook(self, request: DeviceRequest, engines: Collection[str] = ()) -> Outlook:
        """Say what can come of a request, without loading and without any engine's import.

        Raises:
            PlacementError: a GPU is required, and none can be had; its class says why.

        """
        if request.binding is not Binding.ASKED or request.policy is Policy.CPU:
            return Outlook(request=request)
        machine = await _threads.run(self._instruments.machine)
        outlook = look_out(
            machine,
            request,
            engines,
            self._quarantined,
            is_forked=self._instruments.is_forked_after_cuda(),
        )
        if not outlook.gpus and request.policy is Policy.REQUIRE:
            raise refused(request, outlook.findings)
        return outlook

    async def place(
        self,
        backend: Placeable,
        request: DeviceRequest,
        load: Load,
        *,
        outlook: Outlook | None = None,
        engines: Collection[str] = (),
        estimate: Callable[[Device], int | None] = lambda _device: None,
        evict: Evict | None = None,
    ) -> Lease:
        """Load `backend` where `request` wants it, and return the lease, with its proof.

        `load` loads it on exactly the device that it is given; `estimate` says how many bytes of
        a GPU it will take there. `evict` unloads it where nobody uses it, to make room.

        Raises:
            PlacementError: a GPU is required, and the model is not proven to be there, or the
                CPU was to do and it is elsewhere. Nothing is left loaded.
            EvakitError: loading failed. Nothing is left loaded.

        """
        outlook = outlook or await self.outlook(request, engines)
        if outlook.gpus:
            lease = Lease(request=request, backend=backend, device=CPU, evict=evict)
            try:
                await self._on_a_gpu(lease, outlook.gpus, load, estimate)
                return lease
            except (BackendError, DeviceError, StorageError) as error:
                # A load that hangs may still be at work in this very backend.
                if request.policy is Policy.REQUIRE or lease.has_hung:
                    raise
                why = getattr(error, "why", None) or str(error).rstrip(".")
                fix = tuple(f for f in getattr(error, "fixes", ()) if isinstance(f, Remedy))
        elif outlook.findings:
            why, fix = outlook.findings[0].what, outlook.findings[0].fix
        else:
            why, fix = None, ()
        device = request.device if request.binding is Binding.REMOTE else CPU
        lease = Lease(request=request, backend=backend, device=device, degraded=why, fix=fix)
        await self._try(lease, load, estimate=None)
        self._tell(lease)
        return lease

    async def _on_a_gpu(
        self,
        lease: Lease,
        gpus: Collection[Gpu],
        load: Load,
        estimate: Callable[[Device], int | None],
    ) -> None:
        """Load on the first of `gpus` that has room."""
        request = lease.request
        refusals: list[Admission] = []
        for gpu in self._ranked(gpus):
            device = Device(f"cuda:{gpu.cuda_index}")
            async with load_lock(
                gpu.uuid, component=request.component, patience=self._lock_patience
            ):
                if gpu.uuid in self._quarantined:  # while the lock was waited for
                    continue
                with errors_of(BackendUnavailableError, request.component, "estimating its size"):
                    size = estimate(device)
                limit = size if request.vram_bytes is None else request.vram_bytes
                admission = await self._make_room(gpu, limit or 0)
                if not admission.fits:
                    refusals.append(admission)
                    continue
                await self._probe(lease, gpu, device)
                lease.device, lease.gpu, lease.reserved = device, admission.gpu, admission.needed
                await self._try(lease, load, estimate=size)
                return
        if not refusals:
            machine = await _threads.run(self._instruments.machine)
            raise refused(request, look_out(machine, request, (), self._quarantined).findings)
        best = min(refusals, key=lambda refusal: refusal.missing)
        raise no_room(request, best, self._ledger.holders(best.gpu))

    def _ranked(self, gpus: Iterable[Gpu]) -> list[Gpu]:
        """Return the GPUs in the order of trying: those that hold a model of ours, where a
        context is there already, then those with the most free memory.
        """
        return sorted(gpus, key=lambda g: (not self._ledger.on(g.uuid), -(g.memory_free or 0)))

    async def _make_room(self, gpu: Gpu, size: int) -> Admission:
        admission = await _threads.run(self._admit, gpu, size)
        candidates = self._ledger.evictable(gpu.uuid)
        while not admission.fits and candidates:
            lease = candidates.pop(0)
            if lease.evict is not None and await lease.evict():
                admission = await _threads.run(self._admit, gpu, size)
        return admission

    def _admit(self, gpu: Gpu, size: int) -> Admission:
        now = self._instruments.machine(fresh=True).inventory.find(gpu.uuid) or gpu
        contexts = self._instruments.active_contexts() or frozenset()
        return self._ledger.admit(now, size, has_context=gpu.uuid in contexts)

    async def _probe(self, lease: Lease, gpu: Gpu, device: Device) -> None:
        probe = lease.backend.probe
        if probe is not None and (probe, gpu.uuid) not in self._probed:
            await _threads.run(try_in_a_child, probe, device, lease.request, is_long=True)
            self._probed.add((probe, gpu.uuid))

    async def _try(self, lease: Lease, load: Load, *, estimate: int | None) -> None:
        self._ledger.add(lease)
        if lease.gpu is not None:
            self._touched.add(lease.gpu.uuid)
        try:
            await attempt(
                lease,
                load,
                instruments=self._instruments,
                estimate=estimate,
                limit=self._load_limit,
                ours=self._touched,
            )
        except BaseException as error:
            lease.state = LeaseState.RELEASED
            self._ledger.remove(lease)
            if lease.has_hung:
                self._stuck += 1
                if lease.gpu is not None:
                    self._quarantined[lease.gpu.uuid] = str(error)
            raise
        lease.state = LeaseState.DEGRADED if lease.degraded else LeaseState.VERIFIED

    @asynccontextmanager
    async def growing(self, lease: Lease) -> AsyncGenerator[None]:
        """Add to a model in the block, as to a TTS a voice: under the load lock of its GPU, and
        proven again afterwards.

        Raises:
            PlacementError: what was added is somewhere else; the lease takes no more work.

        """
        if lease.gpu is None:
            yield
        else:
            uuid, component = lease.gpu.uuid, lease.request.component
            async with load_lock(uuid, component=component, patience=self._lock_patience):
                before = await _threads.run(self._instruments.memory_used, uuid)
                yield
                after = await _threads.run(self._instruments.memory_used, uuid)
            if before is not None and after is not None:
                lease.measured = (lease.measured or 0) + max(0, after - before)
        look_again(lease)

    async def release(self, lease: Lease) -> None:
        """Unload what `lease` is for and wait for its memory to come back; twice is fine.

        Is done to its end also where the caller is cancelled meanwhile.
        """
        if lease.state is LeaseState.RELEASED:
            return
        lease.state = LeaseState.RELEASED
        try:
            with anyio.CancelScope(shield=True):
                await give_back(lease, self._instruments)
        finally:
            self._ledger.remove(lease)

    def touch(self, lease: Lease) -> None:
        """Note that a lease is used now: the longest unused is evicted first."""
        self._ledger.touch(lease)

    def check(self, leases: Iterable[Lease] | None = None, *, thorough: bool = False) -> None:
        """Look whether models, by default all, are still where they were proven to be.

        Takes less than a millisecond for each; `thorough` asks the driver too, which may take
        longer, and is for when an engine has failed.

        Raises:
            PlacementDrift: one is somewhere else, and its device was required.
            GpuLostError: the GPU of one is gone.

        """
        contexts = self._instruments.active_contexts()
        lost: dict[str, str] = {}
        if thorough:
            inventory = self._instruments.machine(fresh=True).inventory
            lost = {gpu.uuid: gpu.lost for gpu in inventory.gpus if gpu.lost}
            listed = {gpu.uuid for gpu in inventory.gpus}
            if inventory.nvml is None:  # the driver answers, and has a GPU no more
                ours = {lease.gpu.uuid for lease in self.leases if lease.gpu is not None}
                lost |= dict.fromkeys(ours - listed, "the driver does not list it any more")
        for lease in self.leases if leases is None else leases:
            error = examine(lease, contexts=contexts, lost=lost)
            if error is not None and ends_work(lease):
                raise error

    @asynccontextmanager
    async def watching(
        self, *, interval: float = 5.0, on_trouble: Callable[[PlacementError], None] | None = None
    ) -> AsyncGenerator[None]:
        """Check all models every `interval` seconds while the block runs.

        What is found is logged once, stands in the report, and goes to `on_trouble`; the next
        turn that would use the model fails with it.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, interval, on_trouble)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _watch(
        self, interval: float, on_trouble: Callable[[PlacementError], None] | None
    ) -> None:
        while True:
            await anyio.sleep(interval)
            for lease in self.leases:
                known = lease.trouble
                try:
                    await _threads.run(partial(self.check, [lease], thorough=True))
                except PlacementError as error:
                    if on_trouble is not None and lease.trouble != known:
                        on_trouble(error)

    def report(self) -> PlacementReport:
        """Return what runs where, and what is known of the machine."""
        return PlacementReport(
            inventory=self._instruments.machine(fresh=True).inventory,
            leases=self.leases,
            quarantined=dict(self._quarantined),
            stuck_threads=self._stuck,
        )

    def _tell(self, lease: Lease) -> None:
        if lease.degraded is None:
            return
        key = (lease.request.component, lease.degraded)
        with self._lock:
            is_new = key not in self._told
            self._told.add(key)
        if is_new:
            _log.warning("%s runs on the CPU, degraded: %s", *key)


@cache
def _shared() -> DeviceManager:
    return DeviceManager()


_making = threading.Lock()


def default_manager() -> DeviceManager:
    """Return the manager that the Stacks of this process share."""
    with _making:
        return _shared()


def _after_fork() -> None:
    """Let a forked child make its own: what its parent's holds is of no use to it."""
    global _making  # noqa: PLW0603 (it may have been held in another thread)
    _making = threading.Lock()
    _shared.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
