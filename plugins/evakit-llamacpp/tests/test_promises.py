"""Each promise of the contract, broken in this backend, is caught by its conformance test."""

from __future__ import annotations

import inspect
import os
import time

import pytest
from attrs import evolve

from evakit.abc import Evidence, Finish, LLMStream, LoadContext, Strength, Usage
from evakit.devices import Device
from evakit.devices.evidence import MODEL
from evakit.errors import ContextTooLongError, GenerationError
from evakit.testing.conformance import LLMConformance
from evakit.testing.conformance import backend as every_kind
from evakit.testing.conformance._promises import touched
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._models import SMOLLM2

GENERATE = LlamaCppLLM.generate


@pytest.fixture
def anyio_backend():
    return "asyncio"


def emitting(change, then=()):
    """Generate, but emit `change(piece)` instead of each piece, and more at the end."""

    def generate(self, request, emit):
        GENERATE(self, request, lambda piece: emit(change(piece)))
        for piece in then:
            emit(piece)

    return generate


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
        raise ValueError("n_ctx") from error


def unstoppable(self, request, emit):
    def emit_on(piece):
        emit(piece)
        return False

    GENERATE(self, request, emit_on)
    time.sleep(1.5)


def one_at_a_time(self, request, emit):
    if vars(self).get("busy"):
        raise GenerationError("busy", backend=self.name)
    self.busy = True
    try:
        GENERATE(self, request, emit)
    finally:
        self.busy = False


def dead_after_a_stop(self, request, emit):
    if vars(self).get("dead"):
        raise GenerationError("The engine was stopped.", backend=self.name)

    def emit_and_see(piece):
        self.dead = emit(piece)
        return self.dead

    GENERATE(self, request, emit_and_see)


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
            raise GenerationError("Nobody read the reply.", backend="llamacpp")


def replying(stream):
    reply = LlamaCppLLM.reply
    return {"reply": lambda self, request: stream(reply(self, request))}


def slow_to_begin(self, request):
    time.sleep(0.7)
    return super(LlamaCppLLM, self).reply(request)


def cannot_read_early(self, request):
    raise GenerationError("not now", backend=self.name)


def unloads_what_is_there(self):
    self._engine.close()
    self._engine = None


def on_a_gpu(self):
    return (
        Evidence(
            kind=MODEL,
            strength=Strength.OBSERVED,
            device=Device("cuda:0"),
            says="llama.cpp allocated on cuda:0: 92.1 MiB (model)",
        ),
    )


def forgets_the_engine(self):
    if self._engine is not None:
        kept.append(self._engine)
    self._engine = None


kept = []


class Touching:
    """What a backend does before it is loaded."""

    def __init__(self):
        with open(os.devnull) as file:
            self.settings = file.read()

    def models(self):
        return tuple(os.listdir(os.curdir)[:0])


# For each conformance test: what of the backend is replaced.
MUTANTS = {
    "test_making_it_touches_no_file_no_socket_and_no_engine": {"__init__": Touching.__init__},
    "test_naming_its_models_touches_no_disk_and_no_network": {"models": Touching.models},
    "test_it_is_where_it_was_loaded": {"evidence": on_a_gpu},
    "test_what_was_never_loaded_can_be_unloaded": {"unload_model": unloads_what_is_there},
    "test_it_is_unloaded_twice_and_loaded_again": {"unload_model": unloads_what_is_there},
    "test_unloading_gives_threads_and_files_back": {"unload_model": forgets_the_engine},
    "test_two_at_once_are_like_one_after_the_other": {"generate": one_at_a_time},
    "test_it_works_after_it_was_cancelled": {"generate": dead_after_a_stop},
    "test_the_event_loop_is_not_held_up": {"reply": slow_to_begin},
    "test_a_reply_has_text": {"generate": emitting(without_text)},
    "test_a_reply_is_made_of_known_pieces": {"generate": emitting(as_dict)},
    "test_a_reply_says_once_why_it_ends": {"generate": emitting(same, [Finish("stop")])},
    "test_no_text_comes_after_the_end": {"generate": emitting(same, ["!"])},
    "test_a_reply_that_is_over_stays_over": replying(Again),
    "test_usage_is_counted_or_unknown": {"generate": emitting(minus_one)},
    "test_a_reply_is_no_longer_than_was_asked_for": {"generate": as_long_as_it_likes},
    "test_a_whole_conversation_is_answered": {"generate": no_names},
    "test_a_message_that_is_too_long_is_an_error_of_its_own": {"generate": overflowing},
    "test_a_reply_that_is_left_stops": {"generate": unstoppable},
    "test_a_reply_that_nobody_reads_can_be_left": replying(MustBeRead),
    "test_a_prompt_that_was_read_early_is_answered": {"warm": cannot_read_early},
}
# Those that load and unload; the others share one loaded model.
ALONE = {name for name, mutant in MUTANTS.items() if "unload_model" in mutant}


def test_there_is_a_mutant_for_each_promise():
    assert set(MUTANTS) == {name for name in dir(LLMConformance) if name.startswith("test_")}


@pytest.fixture
def backend(name, llm, load):
    """The shared model, or where it is to be unloaded, one of its own."""
    if name == "test_what_was_never_loaded_can_be_unloaded":
        return LlamaCppLLM()
    return load() if name in ALONE else llm


@pytest.fixture
def arguments(name, backend, folder):
    """What the conformance test is called with."""
    if "models" in name or "never_loaded" in name:
        return {"backend": backend}
    wanted = inspect.signature(getattr(LLMConformance, name)).parameters
    given = {
        "loaded": backend,
        "load_context": LoadContext(models={SMOLLM2.name: folder}),
        "delay": 0.1,
    }
    return {key: value for key, value in given.items() if key in wanted}


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_broken_promise_is_caught(name, backend, arguments, monkeypatch, anyio_backend):
    monkeypatch.setattr(every_kind, "_PATIENCE", 1.0)
    for attribute, replacement in MUTANTS[name].items():
        monkeypatch.setattr(LlamaCppLLM, attribute, replacement)
    if "making_it" in name:
        with touched("__init__") as seen:
            arguments = {"touched_as_made": seen, "backend": LlamaCppLLM()}
    suite = LLMConformance()
    try:
        with pytest.raises(AssertionError) as caught:
            result = getattr(suite, name)(**arguments)
            if result is not None:
                await result
        assert str(caught.value).startswith(getattr(suite, name).__doc__)
    finally:
        monkeypatch.undo()
        for flag in ("busy", "dead"):
            vars(backend).pop(flag, None)
        if name in ALONE:
            await backend.unload()
        while kept:
            kept.pop().close()
