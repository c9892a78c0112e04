"""PlacementConformance: what a backend with a model of its own must do, so that it can be proven
where it runs.

What may not live here: promises about its work, and anything that needs a GPU.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

import pytest
from attrs import evolve

from ...abc import LoadContext, WarmUp
from ...devices import Device, Evidence, Strength, Verdict, judge
from ...devices.evidence import WARM_UP
from ...errors import ConfigurationError, DeviceError
from ._promises import promised
from ._suite import Suite

__all__ = ["PlacementConformance"]

_NOWHERE: Final = Device("cuda:63")  # no machine has as many
_CHECK: Final = 1e-3  # seconds: a check before each turn is not felt
_SHOW: Final = 0.05  # seconds: a voice that is added is proven while somebody waits for it
_TIMES: Final = 31


class PlacementConformance(Suite):
    """For backends that load a model in this process, on the CPU or on a GPU."""

    @promised
    async def test_a_device_that_is_not_there_is_refused(
        self, backend: Any, load_context: LoadContext
    ) -> None:
        """A device that cannot be had is refused with a DeviceError and never replaced."""
        with pytest.raises(DeviceError):
            await self._try(backend, evolve(load_context, device=_NOWHERE))

    @promised
    async def test_it_loads_after_a_refusal(self, backend: Any, load_context: LoadContext) -> None:
        """A load that was refused leaves nothing behind that is in the way of the next."""
        with pytest.raises(DeviceError):
            await self._try(backend, evolve(load_context, device=_NOWHERE))
        await backend.unload()
        await self.start(backend, load_context)
        await backend.warm_up()
        assert backend.quick_check() == load_context.device
        await backend.unload()

    @promised
    async def test_a_device_that_is_not_exact_is_refused(
        self, backend: Any, load_context: LoadContext
    ) -> None:
        """The device is asked for exactly: `auto` is refused, and never passed to the engine."""
        with pytest.raises((DeviceError, ConfigurationError)):
            await self._try(backend, evolve(load_context, device=Device("auto")))

    @promised
    async def test_a_warm_up_is_real_work(self, loaded: Any) -> None:
        """A warm-up has the model do real work, and says how much and how long it took."""
        done = await loaded.warm_up()
        assert isinstance(done, WarmUp), "it says nothing of its warm-up"
        assert done.seconds > 0, "it took no time"
        assert done.amount > 0, "nothing came of it"
        assert done.unit, "it does not say of what"

    @promised
    async def test_its_place_is_observed(self, loaded: Any, load_context: LoadContext) -> None:
        """After a warm-up, something that was observed in the engine says where the model is."""
        await loaded.warm_up()
        warm = Evidence(
            kind=WARM_UP, strength=Strength.ENVIRONMENT, device=load_context.device, says="done"
        )
        proof = judge(load_context.device, [*loaded.evidence(), warm])
        assert proof.verdict is Verdict.PROVEN, f"it is {proof.verdict}: {proof.reasons}"

    @promised
    async def test_evidence_is_cheap_and_repeatable(self, loaded: Any) -> None:
        """Evidence can be asked for again: it says the same, within 50 milliseconds."""
        await loaded.warm_up()
        before = loaded.evidence()
        started = time.perf_counter()
        again = loaded.evidence()
        took = time.perf_counter() - started
        assert again == before, "it says something else the second time"
        assert took < _SHOW, f"it took {took * 1000:.0f} ms"

    @promised
    async def test_a_quick_check_takes_less_than_a_millisecond(self, loaded: Any) -> None:
        """A quick check takes less than a millisecond."""
        await loaded.warm_up()
        times = []
        for _ in range(_TIMES):
            started = time.perf_counter()
            loaded.quick_check()
            times.append(time.perf_counter() - started)
        assert statistics.median(times) < _CHECK, f"it took {statistics.median(times) * 1e3:.1f} ms"

    @promised
    async def test_an_unloaded_model_is_nowhere(self, loaded: Any) -> None:
        """A backend that was unloaded shows no evidence, and its quick check is a DeviceError."""
        await loaded.warm_up()
        await loaded.unload()
        assert not loaded.evidence(), "it still says where it is"
        with pytest.raises(DeviceError):
            loaded.quick_check()

    async def _try(self, backend: Any, context: LoadContext) -> None:
        backend.name = backend.name or type(backend).__name__
        try:
            await self.start(backend, context)
            await backend.warm_up()
        finally:
            await backend.unload()
