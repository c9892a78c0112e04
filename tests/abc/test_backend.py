"""What is true of backends of all kinds, and of VADs, which are the shortest to write."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path

import anyio
import numpy as np
import pytest

from evakit.abc import VAD, BlockingTTS, BlockingVAD, BlockingVADSession, LoadContext, VADSession
from evakit.testing.fakes import EnergyVAD


@pytest.mark.parametrize(
    ("context", "models"),
    [
        (LoadContext(), {}),
        (LoadContext(models={"hum:hum-1": Path("hum")}), {"hum:hum-1": Path("hum")}),
    ],
)
def test_a_load_context_can_be_pickled_and_copied(context, models):
    again = pickle.loads(pickle.dumps(context))  # noqa: S301 (made in the same line)
    assert again == context
    assert copy.deepcopy(context) == context
    assert again.models == models


def test_the_models_of_a_load_context_cannot_be_changed():
    models = {"hum:hum-1": Path("hum")}
    context = LoadContext(models=models)
    models["hum:hum-2"] = Path("other")
    assert dict(context.models) == {"hum:hum-1": Path("hum")}
    assert "hum-1" in repr(context)
    with pytest.raises(TypeError):
        context.models["hum:hum-2"] = Path("other")


class Noting(BlockingVAD):
    """Notes in which thread it is asked."""

    def __init__(self):
        self.name = "noting"
        self.asked_in = []

    def start(self):
        return NotingSession(self)


class NotingSession(BlockingVADSession):
    def __init__(self, vad):
        self.vad = vad

    def probability(self, frame):
        self.vad.asked_in.append(threading.get_ident())
        return 0.5


class Fast(Noting):
    answers_within_a_millisecond = True


async def test_a_vad_is_asked_in_a_worker_thread_unless_it_says_that_it_is_fast(anyio_backend):
    frame, here = np.zeros(512, np.float32), threading.get_ident()
    for vad, is_here in ((Noting(), False), (Fast(), True)):
        await vad.load(LoadContext())
        async with vad.open() as session:
            assert await session.probability(frame) == 0.5
        assert [thread == here for thread in vad.asked_in] == [is_here]


async def test_a_vad_session_is_a_context_with_nothing_to_give_back(anyio_backend):
    async with EnergyVAD().open() as session:
        assert await session.probability(np.ones(512, np.float32)) == 1.0


async def test_a_vad_session_may_give_something_back(anyio_backend):
    class Remote(VAD):
        def open(self):
            return RemoteSession()

    class RemoteSession(VADSession):
        is_open = True

        async def __aexit__(self, *_):
            self.is_open = False

        async def probability(self, frame):
            return 0.0

    async with Remote().open() as session:
        assert session.is_open
    assert not session.is_open


@pytest.mark.anyio
async def test_a_model_that_is_loaded_after_nobody_waits_for_it_is_unloaded_at_once():
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    class Slow(BlockingTTS):
        name = "slow"
        is_loaded = False

        def load_model(self, context):
            begun.set()
            go_on.wait(5)
            self.is_loaded = True

        def unload_model(self):
            self.is_loaded = False
            done.set()

        def synthesize(self, text, options):
            return ()

    slow = Slow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slow.load, LoadContext())
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()
        threading.Timer(0.1, go_on.set).start()
    assert done.is_set()
    assert not slow.is_loaded
