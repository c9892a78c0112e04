"""Each promise of the contract, broken in this backend, is caught by its conformance test.

The voice is a tiny one, with Piper and ONNX Runtime behind it.
"""

from __future__ import annotations

import inspect
import os
import socket
import threading
import time

import anyio
import pytest
from attrs import evolve

from evakit.abc import Evidence, LoadContext, Speech, Strength, TTSSession, WarmUp
from evakit.audio import Audio
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import SynthesisError
from evakit.testing.conformance import PlacementConformance, TTSConformance
from evakit.testing.conformance import backend as every_kind
from evakit.testing.conformance._promises import touched
from evakit.transcript import Word
from evakit_piper import PiperTTS

SYNTHESIZE, OPEN, LOAD = PiperTTS.synthesize, PiperTTS.open, PiperTTS.load_model
EVIDENCE, CHECK = PiperTTS.evidence, PiperTTS.quick_check


@pytest.fixture
def anyio_backend():
    return "asyncio"


def synthesizing(change):
    """Synthesize, but yield what `change(text, number, audio)` makes of each chunk."""

    def synthesize(self, text, options):
        for number, audio in enumerate(SYNTHESIZE(self, text, options)):
            yield change(text, number, audio)

    return {"synthesize": synthesize}


def silent(text, number, audio):
    return Audio(0 * audio.samples, audio.sample_rate)


def at_another_rate(text, number, audio):
    return Audio(audio.samples, 22_050 if text.startswith("Hello") else 16_000)


def with_another_word(text, number, audio):
    return Speech(audio, [Word("hum", 0, len(audio))])


def with_words_of_the_reply(text, number, audio):
    return Speech(audio, [Word(text, 0, 10 * len(audio))])


def only_words(self, text, options):
    if not any(character.isalnum() for character in text):
        raise SynthesisError("There is nothing to say.", backend=self.name)
    return SYNTHESIZE(self, text, options)


def stuck_after_a_cancellation(self, text, options):
    if vars(self).get("at_work"):
        raise SynthesisError("The engine is at work.", backend=self.name)
    self.at_work = True
    yield from SYNTHESIZE(self, text, options)
    time.sleep(0.2)
    yield from SYNTHESIZE(self, text, options)
    self.at_work = False


class Session(TTSSession):
    """The session of the real backend, to be changed."""

    def __init__(self, session):
        self.session = session
        self.has_text = self.is_over = self.is_left = False

    async def __aenter__(self):
        await self.session.__aenter__()
        return self

    async def __aexit__(self, *error):
        self.is_left = True
        await self.session.__aexit__(*error)

    async def write(self, text):
        self.has_text = True
        await self.session.write(text)

    async def end(self):
        await self.session.end()

    async def __anext__(self):
        try:
            return await self.session.__anext__()
        except StopAsyncIteration:
            self.is_over = True
            raise


class Ahem(Session):
    async def end(self):
        if not self.has_text:
            await self.write("Ahem.")
        await super().end()


class Uncounted(Session):
    async def __anext__(self):
        return evolve(await super().__anext__(), clauses=0)


class LastFirst(Session):
    def __init__(self, session):
        super().__init__(session)
        self.pile = []

    async def write(self, text):
        self.pile.append(text)

    async def end(self):
        while self.pile:
            await super().write(self.pile.pop())
        await super().end()


class Greedy(LastFirst):
    """Takes all that it is given."""


class OnceMore(Session):
    async def __anext__(self):
        if self.is_over:
            self.is_over = False
            return Speech(Audio([0.1] * 100, 22_050), clauses=1)
        return await super().__anext__()


class Offended(Session):
    async def write(self, text):
        if self.is_left:
            raise SynthesisError("The session was closed.", backend="piper")
        await super().write(text)


def opening(session):
    return {"open": lambda self, options: session(OPEN(self, options))}


def one_session(self, options):
    if vars(self).get("session") is None:
        self.session = OPEN(self, options)
    return self.session


def slow_to_open(self, options):
    time.sleep(0.7)
    return OPEN(self, options)


class Touching:
    """What a backend does where it should not touch anything."""

    def __init__(self):
        with open(os.devnull) as file:
            self.settings = file.read()

    def models(self):
        return tuple(os.listdir(os.curdir)[:0])

    def find_voice(self, name):
        socket.socket().close()
        return FIND(self, name)


FIND = PiperTTS.find_voice


def any_voice(self, name):
    return self.voices[0]


def lets_go_once(self):
    self._engine.errors  # noqa: B018 (of None, the second time)
    self._engine = None


def with_a_thread(self, context):
    LOAD(self, context)
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="phonemizer").start()


def elsewhere(self):
    return (
        Evidence(
            kind="model",
            strength=Strength.OBSERVED,
            device=Device("cuda:0"),
            says="what was asked for",
        ),
    )


# For each conformance test: what of the backend is replaced.
MUTANTS = {
    "test_making_it_touches_no_file_no_socket_and_no_engine": {"__init__": Touching.__init__},
    "test_naming_its_models_touches_no_disk_and_no_network": {"models": Touching.models},
    "test_it_is_where_it_was_loaded": {"evidence": elsewhere},
    "test_what_was_never_loaded_can_be_unloaded": {"unload_model": lets_go_once},
    "test_it_is_unloaded_twice_and_loaded_again": {"unload_model": lets_go_once},
    "test_unloading_gives_threads_and_files_back": {"load_model": with_a_thread},
    "test_two_at_once_are_like_one_after_the_other": {"open": one_session},
    "test_it_works_after_it_was_cancelled": {"synthesize": stuck_after_a_cancellation},
    "test_the_event_loop_is_not_held_up": {"open": slow_to_open},
    "test_no_text_is_no_speech": opening(Ahem),
    "test_each_text_is_heard": synthesizing(silent),
    "test_a_reply_has_one_sample_rate": synthesizing(at_another_rate),
    "test_texts_are_counted_as_they_are_spoken": opening(Uncounted),
    "test_a_text_with_nothing_to_say_is_counted": {"synthesize": only_words},
    "test_texts_are_spoken_in_the_order_of_writing": opening(LastFirst),
    "test_words_are_those_of_the_text": synthesizing(with_another_word),
    "test_words_are_in_order_and_end_inside_their_chunk": synthesizing(with_words_of_the_reply),
    "test_writing_waits_while_enough_is_queued": opening(Greedy),
    "test_a_reply_that_is_over_stays_over": opening(OnceMore),
    "test_a_reply_that_is_left_takes_no_more_text": opening(Offended),
    "test_voices_are_found_by_name": {"find_voice": any_voice},
    "test_finding_a_voice_touches_no_network": {"find_voice": Touching.find_voice},
}


def on_the_cpu(self, context):
    LOAD(self, evolve(context, device=CPU))


def as_refused_before(self, context):
    if vars(self).get("refused"):
        raise SynthesisError("The first load failed.", backend=self.name)
    self.refused = context.device != CPU
    LOAD(self, context)


def only_declared(self):
    return [piece for piece in EVIDENCE(self) if piece.strength is Strength.DECLARED]


def counting(self):
    self.looks = vars(self).get("looks", 0) + 1
    return [evolve(piece, says=f"{piece.says}, look {self.looks}") for piece in EVIDENCE(self)]


def slow_to_check(self):
    time.sleep(0.002)
    return CHECK(self)


def remembering(self):
    self.memory = EVIDENCE(self) or self.memory
    return self.memory


# The same for the promises of placement.
PLACEMENT_MUTANTS = {
    "test_a_device_that_is_not_there_is_refused": {"load_model": on_the_cpu},
    "test_it_loads_after_a_refusal": {"load_model": as_refused_before},
    "test_a_device_that_is_not_exact_is_refused": {"load_model": on_the_cpu},
    "test_a_warm_up_is_real_work": {
        "warm_up_model": lambda self: WarmUp(seconds=0.1, amount=0, unit="s of audio")
    },
    "test_its_place_is_observed": {"evidence": only_declared},
    "test_evidence_is_cheap_and_repeatable": {"evidence": counting},
    "test_a_quick_check_takes_less_than_a_millisecond": {"quick_check": slow_to_check},
    "test_an_unloaded_model_is_nowhere": {"evidence": remembering},
}


@pytest.mark.parametrize(
    ("suite", "mutants"), [(TTSConformance, MUTANTS), (PlacementConformance, PLACEMENT_MUTANTS)]
)
def test_there_is_a_mutant_for_each_promise(suite, mutants):
    assert set(mutants) == {name for name in dir(suite) if name.startswith("test_")}


@pytest.mark.parametrize("name", PLACEMENT_MUTANTS)
async def test_a_broken_promise_of_placement_is_caught(
    name, tiny, piper, monkeypatch, anyio_backend
):
    path = tiny()
    given = {"backend": PiperTTS(str(path)), "loaded": piper(path), "load_context": LoadContext()}
    for attribute, replacement in PLACEMENT_MUTANTS[name].items():
        monkeypatch.setattr(PiperTTS, attribute, replacement)
    suite = PlacementConformance()
    wanted = inspect.signature(getattr(suite, name)).parameters
    with pytest.raises(AssertionError) as caught, anyio.fail_after(20):
        await getattr(suite, name)(**{key: given[key] for key in wanted})
    assert str(caught.value).startswith(getattr(suite, name).__doc__)


@pytest.fixture
def arguments(name, tiny, piper):
    """What the conformance test is called with."""
    if "models" in name or "never_loaded" in name:
        return {"backend": PiperTTS()}
    given = {"loaded": piper(tiny()), "load_context": LoadContext(), "delay": 0.1}
    wanted = inspect.signature(getattr(TTSConformance, name)).parameters
    return {key: value for key, value in given.items() if key in wanted}


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_broken_promise_is_caught(name, arguments, monkeypatch, anyio_backend):
    monkeypatch.setattr(every_kind, "_PATIENCE", 1.0)
    for attribute, replacement in MUTANTS[name].items():
        monkeypatch.setattr(PiperTTS, attribute, replacement)
    if "making_it" in name:
        with touched("__init__") as seen:
            arguments = {"touched_as_made": seen, "backend": PiperTTS()}
    suite = TTSConformance()
    with pytest.raises(AssertionError) as caught, anyio.fail_after(20):
        result = getattr(suite, name)(**arguments)
        if result is not None:
            await result
    assert str(caught.value).startswith(getattr(suite, name).__doc__)
