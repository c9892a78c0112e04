"""Each promise of the contract, broken in these backends, is caught by its conformance test."""

from __future__ import annotations

import inspect
import os
import threading
import time

import anyio
import pytest
from attrs import evolve

from evakit.abc import Evidence, LoadContext, Strength, STTSession, STTUpdate, WarmUp
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import DetectionError, TranscriptionError
from evakit.testing.conformance import PlacementConformance, STTConformance, VADConformance
from evakit.testing.conformance import backend as every_kind
from evakit.testing.conformance._promises import touched
from evakit.transcript import Transcript
from evakit_whisper import SileroVAD, WhisperSTT

TRANSCRIBE, OPEN, LOAD = WhisperSTT.transcribe, WhisperSTT.open, WhisperSTT.load_model
OPEN_VAD = SileroVAD.open


@pytest.fixture
def anyio_backend():
    return "asyncio"


def transcribing(change):
    """Transcribe, and return what `change` makes of the transcript."""
    return {"transcribe": lambda self, audio, options: change(TRANSCRIBE(self, audio, options))}


def changed_words(**changes):
    """Change the fields of every word; each by a function of its value."""

    def change(transcript):
        segments = [
            evolve(
                segment,
                words=[
                    evolve(word, **{f: new(getattr(word, f)) for f, new in changes.items()})
                    for word in segment.words
                ],
            )
            for segment in transcript.segments
        ]
        return evolve(transcript, segments=segments)

    return transcribing(change)


def always_something(transcript):
    return transcript if transcript.text else evolve(transcript, text="Thanks for watching!")


def in_french(transcript):
    return evolve(transcript, language="fr")


def interim(transcript):
    return evolve(transcript, is_final=False)


def one_at_a_time(self, audio, options):
    if vars(self).get("at_work"):
        raise TranscriptionError("The engine is at work.", backend=self.name)
    self.at_work = True
    heard = TRANSCRIBE(self, audio, options)
    time.sleep(0.2)
    self.at_work = False
    return heard


def never_again(self, audio, options):
    self.calls = vars(self).get("calls", 0) + 1
    if self.calls > 1:
        raise TranscriptionError("The first call was cancelled.", backend=self.name)
    return TRANSCRIBE(self, audio, options)


class Session(STTSession):
    """The session of the real backend, to be changed."""

    def __init__(self, stt, options):
        self.stt = stt
        self.session = OPEN(stt, options)
        self.audio = []

    async def feed(self, audio):
        self.audio.append(audio)
        await self.session.feed(audio)

    async def finish(self):
        return await self.session.finish()


class Eager(Session):
    async def finish(self):
        return await super().finish() if self.audio else Transcript("Hello?")


class AnyRate(Session):
    async def feed(self, audio):
        await super().feed(audio.resample(16_000))


class Piecewise(Session):
    async def finish(self):
        heard = [len(audio) for audio in self.audio]
        return evolve(await super().finish(), text=f"{len(heard)} pieces")


class Leftover(Session):
    async def __aexit__(self, *_):
        self.stt.rest = self.audio

    async def finish(self):
        rest = vars(self.stt).pop("rest", [])
        for audio in rest:
            await self.session.feed(audio)
        heard = await super().finish()
        self.audio = []
        return heard


class Endless(Session):
    def updates(self):
        return self

    def __aiter__(self):
        return self

    async def __anext__(self):
        await anyio.sleep(0.1)
        return STTUpdate(Transcript("Hel", is_final=False))


def opening(session):
    return {"open": session}


def knowing_two_languages(self, options):
    for language in options.languages:
        {"en": 0, "fr": 1}[language]
    return OPEN(self, options)


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


def with_a_thread(self, context):
    LOAD(self, context)
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="tokenizer").start()


def lets_go_once(self):
    if self._silero is None:
        raise TranscriptionError("It is not loaded.", backend=self.name)
    self._engine = self._silero = None


def elsewhere(self):
    return (
        Evidence(
            kind="model",
            strength=Strength.OBSERVED,
            device=Device("cuda:0"),
            says="what was asked for",
        ),
    )


COMMON = {
    "test_making_it_touches_no_file_no_socket_and_no_engine": {"__init__": Touching.__init__},
    "test_naming_its_models_touches_no_disk_and_no_network": {"models": Touching.models},
    "test_it_is_where_it_was_loaded": {"evidence": elsewhere},
    "test_what_was_never_loaded_can_be_unloaded": {"unload_model": lets_go_once},
    "test_it_is_unloaded_twice_and_loaded_again": {"unload_model": lets_go_once},
}
# For each conformance test: what of WhisperSTT is replaced.
STT_MUTANTS = {
    **COMMON,
    "test_unloading_gives_threads_and_files_back": {"load_model": with_a_thread},
    "test_two_at_once_are_like_one_after_the_other": {
        "open": Session,
        "transcribe": one_at_a_time,
        "capabilities": evolve(WhisperSTT.capabilities, serves_many_at_once=True),
    },
    "test_it_works_after_it_was_cancelled": {"transcribe": never_again},
    "test_the_event_loop_is_not_held_up": {"open": slow_to_open},
    "test_nothing_is_heard_in_silence": transcribing(always_something),
    "test_nothing_is_heard_where_nothing_was_fed": opening(Eager),
    "test_another_sample_rate_is_refused": opening(AnyRate),
    "test_pieces_are_heard_as_the_whole": opening(Piecewise),
    "test_what_was_not_finished_is_dropped": opening(Leftover),
    "test_positions_are_in_order_and_inside_the_audio": changed_words(end=lambda end: end * 10),
    "test_a_word_has_letters_and_no_white_space_around_it": changed_words(text=" {}".format),
    "test_how_sure_it_is_lies_between_0_and_1_or_is_unknown": changed_words(
        probability=lambda probability: -probability
    ),
    "test_the_language_is_the_one_that_was_given": transcribing(in_french),
    "test_a_language_is_known_or_an_error_of_its_own": {"open": knowing_two_languages},
    "test_only_the_last_transcript_is_final": transcribing(interim),
    "test_updates_end_with_the_last_transcript": opening(Endless),
}


class Stream:
    """A stream of the real VAD, to be changed."""

    def __init__(self, vad):
        self.vad = vad
        self.stream = OPEN_VAD(vad)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def probability(self, frame):
        return await self.stream.probability(frame)


class Percent(Stream):
    async def probability(self, frame):
        return 100 * await super().probability(frame)


class Wary(Stream):
    async def probability(self, frame):
        return max(0.6, await super().probability(frame))


class Deaf(Stream):
    async def probability(self, frame):
        return 0.1 * await super().probability(frame)


class AnySize(Stream):
    async def probability(self, frame):
        return await super().probability(frame) if len(frame) == 512 else 0.0


class Remembering(Stream):
    def __init__(self, vad):
        super().__init__(vad)
        self.stream = vars(vad).setdefault("stream", self.stream)


class Shared(Stream):
    def __init__(self, vad):
        super().__init__(vad)
        vad.stream = self.stream

    async def probability(self, frame):
        return await self.vad.stream.probability(frame)


class Yielding(Remembering):
    async def probability(self, frame):
        await anyio.sleep(0.001)
        return await super().probability(frame)


class Blocking(Stream):
    def __init__(self, vad):
        time.sleep(0.7)
        super().__init__(vad)


class Stuck(Stream):
    async def probability(self, frame):
        if vars(self.vad).get("at_work"):
            raise DetectionError("The engine is at work.", backend="silero")
        self.vad.at_work = True
        await anyio.sleep(0.02)
        self.vad.at_work = False
        return await super().probability(frame)


def vad_with_a_thread(self, context):
    LOAD_VAD(self, context)
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="watcher").start()


def vad_lets_go_once(self):
    if self._silero is None:
        raise DetectionError("It is not loaded.", backend=self.name)
    self._silero = None


LOAD_VAD = SileroVAD.load_model

# For each conformance test: what of SileroVAD is replaced.
VAD_MUTANTS = {
    **COMMON,
    "test_what_was_never_loaded_can_be_unloaded": {"unload_model": vad_lets_go_once},
    "test_it_is_unloaded_twice_and_loaded_again": {"unload_model": vad_lets_go_once},
    "test_unloading_gives_threads_and_files_back": {"load_model": vad_with_a_thread},
    "test_two_at_once_are_like_one_after_the_other": {"open": Yielding},
    "test_it_works_after_it_was_cancelled": {"open": Stuck},
    "test_the_event_loop_is_not_held_up": {"open": Blocking},
    "test_probabilities_lie_between_0_and_1": {"open": Percent},
    "test_silence_is_not_speech": {"open": Wary},
    "test_speech_is_speech": {"open": Deaf},
    "test_a_frame_of_another_size_is_refused": {"open": AnySize},
    "test_a_stream_starts_afresh": {"open": Remembering},
    "test_streams_do_not_notice_each_other": {"open": Shared},
}
EVERY_MUTANT = [
    (kind, suite, name)
    for kind, suite, mutants in (
        (WhisperSTT, STTConformance, STT_MUTANTS),
        (SileroVAD, VADConformance, VAD_MUTANTS),
    )
    for name in mutants
]


EVIDENCE = {kind: kind.evidence for kind in (WhisperSTT, SileroVAD)}
CHECK = {kind: kind.quick_check for kind in EVIDENCE}
LOADING = {kind: kind.load_model for kind in EVIDENCE}


def on_the_cpu(self, context):
    LOADING[type(self)](self, evolve(context, device=CPU))


def as_refused_before(self, context):
    if vars(self).get("refused"):
        raise TranscriptionError("The first load failed.", backend=self.name)
    self.refused = context.device != CPU
    LOADING[type(self)](self, context)


def only_declared(self):
    seen = EVIDENCE[type(self)](self)
    return [piece for piece in seen if piece.strength is Strength.DECLARED]


def counting(self):
    self.looks = vars(self).get("looks", 0) + 1
    seen = EVIDENCE[type(self)](self)
    return [evolve(piece, says=f"{piece.says}, look {self.looks}") for piece in seen]


def slow_to_check(self):
    time.sleep(0.002)
    return CHECK[type(self)](self)


def remembering(self):
    self.memory = EVIDENCE[type(self)](self) or self.memory
    return self.memory


# For each promise of placement: what of either backend is replaced.
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
    ("suite", "mutants"),
    [
        (STTConformance, STT_MUTANTS),
        (VADConformance, VAD_MUTANTS),
        (PlacementConformance, PLACEMENT_MUTANTS),
    ],
)
def test_there_is_a_mutant_for_each_promise(suite, mutants):
    assert set(mutants) == {name for name in dir(suite) if name.startswith("test_")}


@pytest.mark.parametrize("kind", [WhisperSTT, SileroVAD])
@pytest.mark.parametrize("name", PLACEMENT_MUTANTS)
async def test_a_broken_promise_of_placement_is_caught(
    kind, name, whisper_of_chance, monkeypatch, anyio_backend
):
    options = (whisper_of_chance,) if kind is WhisperSTT else ()
    loaded = kind(*options)
    await loaded.load(LoadContext())
    given = {"backend": kind(*options), "loaded": loaded, "load_context": LoadContext()}
    for attribute, replacement in PLACEMENT_MUTANTS[name].items():
        monkeypatch.setattr(kind, attribute, replacement)
    suite = PlacementConformance()
    wanted = inspect.signature(getattr(suite, name)).parameters
    with pytest.raises(AssertionError) as caught, anyio.fail_after(20):
        await getattr(suite, name)(**{key: given[key] for key in wanted})
    assert str(caught.value).startswith(getattr(suite, name).__doc__)
    await loaded.unload()


@pytest.fixture
async def given(kind, name, store, tiny, anyio_backend):
    """What the conformance test may be called with."""
    backend = kind("tiny.en") if kind is WhisperSTT else kind()
    context = LoadContext(models={m.name: store.ensure(m) for m in backend.models()})
    wanted = set(inspect.signature(getattr(SUITES[kind], name)).parameters)
    if kind is WhisperSTT and "loaded" in wanted and name not in ALONE:
        backend = tiny
    elif "loaded" in wanted:
        await backend.load(context)
    before = dict(vars(backend))
    yield {
        "backend": backend,
        "loaded": backend,
        "load_context": context,
        "delay": 0.01,
    }
    vars(backend).clear()
    vars(backend).update(before)


# Those that load and unload; the others share one loaded Whisper.
ALONE = {
    name for name, mutant in STT_MUTANTS.items() if mutant.keys() & {"unload_model", "load_model"}
}
SUITES = {WhisperSTT: STTConformance, SileroVAD: VADConformance}


@pytest.mark.parametrize(("kind", "suite", "name"), EVERY_MUTANT)
async def test_a_broken_promise_is_caught(
    kind, suite, name, given, clips, monkeypatch, anyio_backend
):
    monkeypatch.setattr(every_kind, "_PATIENCE", 1.0)
    mutant = (STT_MUTANTS if kind is WhisperSTT else VAD_MUTANTS)[name]
    if name == "test_two_at_once_are_like_one_after_the_other" and kind is WhisperSTT:
        given["loaded"]._lane = None  # as of an engine that says it serves many at once
    for attribute, replacement in mutant.items():
        monkeypatch.setattr(kind, attribute, replacement, raising=False)
    if "making_it" in name:
        with touched("__init__") as seen:
            given = {"touched_as_made": seen, "backend": kind()}
    tests = suite()
    tests._speech = clips["en/hello_world"][0]
    test = getattr(tests, name)
    wanted = inspect.signature(test).parameters
    with pytest.raises(AssertionError) as caught, anyio.fail_after(30):
        result = test(**{key: value for key, value in given.items() if key in wanted})
        if result is not None:
            await result
    assert str(caught.value).startswith(test.__doc__)
