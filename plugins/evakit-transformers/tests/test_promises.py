"""Each promise of the contract, broken in this backend, is caught by its conformance test."""

from __future__ import annotations

import inspect
import os
import threading
import time

import pytest
from attrs import evolve

from evakit.abc import Evidence, Finish, LLMStream, LoadContext, Strength, Usage, WarmUp
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.devices.evidence import MODEL
from evakit.errors import ContextTooLongError, GenerationError
from evakit.testing.conformance import LLMConformance, PlacementConformance
from evakit.testing.conformance import backend as every_kind
from evakit.testing.conformance._promises import touched
from evakit_transformers import TransformersLLM

GENERATE = TransformersLLM.generate
LOAD = TransformersLLM.load_model
EVIDENCE = TransformersLLM.evidence


class Suite(LLMConformance, PlacementConformance):
    pass


@pytest.fixture
def anyio_backend():
    return "asyncio"


def emitting(change, then=()):
    """Generate, but emit `change(piece)` instead of each piece, and more at the end."""

    def generate(self, request, emit):
        GENERATE(self, request, lambda piece: emit(change(piece)))
        for piece in then:
            emit(piece)

    return {"generate": generate}


def same(piece):
    return piece


def as_dict(piece):
    return {"content": piece} if isinstance(piece, str) else piece


def without_text(piece):
    return " " if isinstance(piece, str) else piece


def minus_one(piece):
    return Usage(completion_tokens=-1) if isinstance(piece, Usage) else piece


def as_long_as_it_likes(self, request, emit):
    GENERATE(self, evolve(request, max_tokens=12), emit)


def no_names(self, request, emit):
    if any(message.name for message in request.messages):
        raise GenerationError("The template knows no names.", backend=self.name)
    GENERATE(self, request, emit)


def overflowing(self, request, emit):
    try:
        GENERATE(self, request, emit)
    except ContextTooLongError as error:
        raise ValueError("max_position_embeddings") from error


def unstoppable(self, request, emit):
    def emit_on(piece):
        emit(piece)
        return False

    GENERATE(self, request, emit_on)
    time.sleep(1.5)


def alone(self, request, emit):
    """Serve nobody who comes while another is served, as an engine without a lane would."""
    if vars(self).get("busy"):
        raise GenerationError("busy", backend=self.name)
    self.busy = True
    try:
        GENERATE(self, request, emit)
        time.sleep(0.2)
    finally:
        self.busy = False


def dead_after_a_stop(self, request, emit):
    if vars(self).get("dead"):
        raise GenerationError("The engine was stopped.", backend=self.name)

    def emit_and_see(piece):
        self.dead = emit(piece)
        return self.dead

    GENERATE(self, request, emit_and_see)
    time.sleep(0.3)
    self.dead = emit("") or self.dead


class Stream(LLMStream):
    """The stream of the real backend, to be changed."""

    def __init__(self, stream):
        self.stream = stream
        self.taken = 0

    async def __aenter__(self):
        await self.stream.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.stream.__aexit__(*error)

    async def __anext__(self):
        self.taken += 1
        return await self.stream.__anext__()


class Again(Stream):
    is_over = False

    async def __anext__(self):
        if self.is_over:
            self.is_over = False
            return "And another thing."
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            self.is_over = True
            raise


class MustBeRead(Stream):
    async def __aexit__(self, *error):
        await super().__aexit__(*error)
        if not self.taken:
            raise GenerationError("Nobody read the reply.", backend="transformers")


def replying(stream):
    reply = TransformersLLM.reply
    return {"reply": lambda self, request: stream(reply(self, request))}


def slow_to_begin(self, request):
    time.sleep(0.7)
    return super(TransformersLLM, self).reply(request)


def cannot_read_early(self, request):
    raise GenerationError("not now", backend=self.name)


def unloads_what_is_there(self):
    self._loaded.engine.close()
    self._loaded = None


def leaves_a_thread(self):
    if self._loaded is not None:
        thread = threading.Thread(target=still_at_it.wait, name="monitor", daemon=True)
        thread.start()
        threads.append(thread)
    self._loaded = None


def keeps_the_engine(self):
    """Let go of nothing."""


still_at_it = threading.Event()
threads = []


class Touching:
    """What a backend does before it is loaded."""

    def __init__(self):
        with open(os.devnull) as file:
            self.settings = file.read()

    def models(self):
        return tuple(os.listdir(os.curdir)[:0])


def onto_the_cpu_instead(self, context):
    LOAD(self, evolve(context, device=CPU))


def onto_the_cpu_when_automatic(self, context):
    LOAD(self, evolve(context, device=CPU if context.device.name == "auto" else context.device))


def once_refused_always_refused(self, context):
    if vars(self).get("dead"):
        raise GenerationError("It was refused.", backend=self.name)
    self.dead = context.device != CPU
    LOAD(self, context)


def on_a_gpu(self):
    return (
        Evidence(
            kind=MODEL, strength=Strength.OBSERVED, device=Device("cuda:0"), says="as was asked"
        ),
    )


def as_declared(self):
    return tuple(evolve(piece, strength=Strength.DECLARED) for piece in EVIDENCE(self))


def slow_to_show(self):
    time.sleep(0.06)
    return EVIDENCE(self)


def slow_to_check(self):
    time.sleep(0.002)
    return CPU


# For each conformance test: what of the backend is replaced.
MUTANTS = {
    "test_making_it_touches_no_file_no_socket_and_no_engine": {"__init__": Touching.__init__},
    "test_naming_its_models_touches_no_disk_and_no_network": {"models": Touching.models},
    "test_it_is_where_it_was_loaded": {"evidence": on_a_gpu},
    "test_what_was_never_loaded_can_be_unloaded": {"unload_model": unloads_what_is_there},
    "test_it_is_unloaded_twice_and_loaded_again": {"unload_model": unloads_what_is_there},
    "test_unloading_gives_threads_and_files_back": {"unload_model": leaves_a_thread},
    "test_two_at_once_are_like_one_after_the_other": {"generate": alone, "_lane": None},
    "test_it_works_after_it_was_cancelled": {"generate": dead_after_a_stop},
    "test_the_event_loop_is_not_held_up": {"reply": slow_to_begin},
    "test_a_reply_has_text": emitting(without_text),
    "test_a_reply_is_made_of_known_pieces": emitting(as_dict),
    "test_a_reply_says_once_why_it_ends": emitting(same, [Finish("stop")]),
    "test_no_text_comes_after_the_end": emitting(same, ["!"]),
    "test_a_reply_that_is_over_stays_over": replying(Again),
    "test_usage_is_counted_or_unknown": emitting(minus_one),
    "test_a_reply_is_no_longer_than_was_asked_for": {"generate": as_long_as_it_likes},
    "test_a_whole_conversation_is_answered": {"generate": no_names},
    "test_a_message_that_is_too_long_is_an_error_of_its_own": {"generate": overflowing},
    "test_a_reply_that_is_left_stops": {"generate": unstoppable},
    "test_a_reply_that_nobody_reads_can_be_left": replying(MustBeRead),
    "test_a_prompt_that_was_read_early_is_answered": {"warm": cannot_read_early},
    "test_a_device_that_is_not_there_is_refused": {"load_model": onto_the_cpu_instead},
    "test_it_loads_after_a_refusal": {"load_model": once_refused_always_refused},
    "test_a_device_that_is_not_exact_is_refused": {"load_model": onto_the_cpu_when_automatic},
    "test_a_warm_up_is_real_work": {
        "warm_up_model": lambda _: WarmUp(seconds=0.1, amount=0, unit="tokens")
    },
    "test_its_place_is_observed": {"evidence": as_declared},
    "test_evidence_is_cheap_and_repeatable": {"evidence": slow_to_show},
    "test_a_quick_check_takes_less_than_a_millisecond": {"quick_check": slow_to_check},
    "test_an_unloaded_model_is_nowhere": {"unload_model": keeps_the_engine},
}
# Those that are given a backend that is not loaded.
UNLOADED = {
    "test_what_was_never_loaded_can_be_unloaded",
    "test_naming_its_models_touches_no_disk_and_no_network",
    "test_a_device_that_is_not_there_is_refused",
    "test_it_loads_after_a_refusal",
    "test_a_device_that_is_not_exact_is_refused",
}


def test_there_is_a_mutant_for_each_promise():
    assert set(MUTANTS) == {name for name in dir(Suite) if name.startswith("test_")}


@pytest.fixture
async def backend(name, tiny, anyio_backend):
    """The tiny model, loaded as a Stack loads it unless the test does that."""
    llm = TransformersLLM(str(tiny), context_tokens=512, threads=1)
    llm.name = "transformers"
    if name not in UNLOADED:
        await llm.load(LoadContext())
    yield llm
    await llm.unload()


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_broken_promise_is_caught(name, backend, monkeypatch, anyio_backend):
    monkeypatch.setattr(every_kind, "_PATIENCE", 1.0)
    monkeypatch.setattr(every_kind, "_WIND_DOWN", 0.3)
    for attribute, replacement in MUTANTS[name].items():
        of = backend if attribute == "_lane" else TransformersLLM
        monkeypatch.setattr(of, attribute, replacement)
    suite = Suite()
    given = {
        "loaded": backend,
        "backend": backend,
        "load_context": LoadContext(),
        "delay": 0.05,
    }
    if "making_it" in name:
        with touched("__init__") as seen:
            given |= {"touched_as_made": seen, "backend": TransformersLLM()}
    wanted = inspect.signature(getattr(Suite, name)).parameters
    try:
        with pytest.raises(AssertionError) as caught:
            result = getattr(suite, name)(
                **{key: value for key, value in given.items() if key in wanted}
            )
            if result is not None:
                await result
        assert str(caught.value).startswith(getattr(suite, name).__doc__)
    finally:
        monkeypatch.undo()
        still_at_it.set()
        while threads:
            threads.pop().join()
        still_at_it.clear()
