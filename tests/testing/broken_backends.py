"""Backends with one thing wrong each, and the conformance test that must find it.

Not collected by itself: `test_conformance_catches.py` runs it and reads which tests failed.
Longer than 400 lines because it is a list: one backend for each conformance test.
"""

from __future__ import annotations

import time
from typing import ClassVar

import anyio
import numpy as np
import pytest

from evakit import Audio, Segment, Transcript, Voice, Word
from evakit.abc import STT, BlockingSTT, BlockingTTS, Finish, Speech, STTSession, Usage
from evakit.devices import Device, Placement
from evakit.testing import conformance
from evakit.testing.conformance import (
    LLMConformance,
    STTConformance,
    TTSConformance,
    VADConformance,
)
from evakit.testing.fakes import (
    EnergyVAD,
    ScriptedLLM,
    ToneTTS,
    _EnergySession,
    _ToneSession,
)

conformance._PATIENCE = 0.5  # some of these never end


@pytest.fixture(params=["asyncio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def backend(request):
    return request.cls.Backend()


# --- any kind


class TestElsewhere(TTSConformance):
    caught_by = "test_it_is_where_it_was_loaded"

    class Backend(ToneTTS):
        def placement(self):
            return Placement(Device("cuda:0"), "what was asked for")


class TestUnloadedOnce(TTSConformance):
    caught_by = "test_it_is_unloaded_twice_and_loaded_again"

    class Backend(ToneTTS):
        async def load(self, context):
            self.engine = [1]

        async def unload(self):
            self.engine.pop()


class TestSharedState(STTConformance):
    caught_by = "test_two_at_once_are_like_one_after_the_other"

    class Backend(STT):
        def open(self, options):
            self.heard = 0
            return SharedSession(self)


class SharedSession(STTSession):
    """Keeps its state with the backend."""

    def __init__(self, stt):
        self._stt = stt

    async def feed(self, audio):
        audio.require_sample_rate(16_000)
        await anyio.sleep(0.01)
        self._stt.heard += len(audio) if audio.peak else 0

    async def finish(self):
        return Transcript(str(self._stt.heard or ""))


class TestKeepsItsLock(TTSConformance):
    caught_by = "test_it_works_after_it_was_cancelled"

    class Backend(ToneTTS):
        def open(self, options):
            return LockingSession(self)

        async def load(self, context):
            self.lock = anyio.Lock()


class LockingSession(_ToneSession):
    """Does not let go when it is cancelled."""

    async def __anext__(self):
        await self._backend.lock.acquire()
        await anyio.sleep(0.02)
        try:
            return await super().__anext__()
        finally:
            self._backend.lock.release()


class TestBlocks(TTSConformance):
    caught_by = "test_the_event_loop_is_not_held_up"

    class Backend(ToneTTS):
        def open(self, options):
            time.sleep(0.7)
            return super().open(options)


# --- STT


def transcript(text="hello", start=0, end=100):
    return Transcript(
        text, [Segment(text, start, end, [Word(text, start, end)])], None, None, 16_000
    )


class FunctionSTT(BlockingSTT):
    """Hears nothing in silence."""

    def transcribe(self, audio, options):
        return self.hear(audio) if audio.peak else Transcript("")

    def hear(self, audio):
        return transcript()


class TestThanksForWatching(STTConformance):
    caught_by = "test_nothing_is_heard_in_silence"

    class Backend(FunctionSTT):
        def transcribe(self, audio, options):
            return transcript("Thanks for watching!")


class TestHearsWhatWasNotFed(STTConformance):
    caught_by = "test_nothing_is_heard_where_nothing_was_fed"

    class Backend(STT):
        def open(self, options):
            return EagerSession()


class EagerSession(STTSession):
    """Joins nothing at all without complaint."""

    async def feed(self, audio):
        audio.require_sample_rate(16_000)

    async def finish(self):
        return Transcript("hello")


class TestAnyRate(STTConformance):
    caught_by = "test_another_sample_rate_is_refused"

    class Backend(STT):
        def open(self, options):
            return PieceSession()


class TestHearsPieces(STTConformance):
    caught_by = "test_pieces_are_heard_as_the_whole"

    class Backend(STT):
        def open(self, options):
            return PieceSession()


class PieceSession(STTSession):
    """Hears each piece by itself, at any rate."""

    def __init__(self):
        self._heard = []

    async def feed(self, audio):
        self._heard += ["hello"] if audio.peak else []

    async def finish(self):
        return Transcript(" ".join(self._heard))


class TestWordAfterTheEnd(STTConformance):
    caught_by = "test_positions_are_in_order_and_inside_the_audio"

    class Backend(FunctionSTT):
        def hear(self, audio):
            return transcript(end=2 * len(audio))


class TestNeverFinal(STTConformance):
    caught_by = "test_only_the_last_transcript_is_final"

    class Backend(FunctionSTT):
        def hear(self, audio):
            return Transcript("hello", is_final=False)


# --- LLM


class TestEmptyReply(LLMConformance):
    caught_by = "test_a_reply_has_text"

    class Backend(ScriptedLLM):
        def __init__(self):
            super().__init__(*[[" ", Finish("stop")]] * 10)


class TestNeverFinishes(LLMConformance):
    caught_by = "test_a_reply_says_once_why_it_ends"

    class Backend(ScriptedLLM):
        def __init__(self):
            super().__init__(*[["hello"]] * 10)


class TestUnknownIsMinusOne(LLMConformance):
    caught_by = "test_usage_is_counted_or_unknown"

    class Backend(ScriptedLLM):
        def __init__(self):
            super().__init__(*[["hello", Usage(completion_tokens=-1), Finish("stop")]] * 10)


class TestGoesOnAlone(LLMConformance):
    caught_by = "test_a_reply_that_is_left_stops"

    class Backend(ScriptedLLM):
        async def load(self, context):
            self.script.extend([["hello", Finish("stop")]] * 10)
            self.free = anyio.Event()
            self.free.set()

        def reply(self, request):
            stream = super().reply(request)
            stream.__class__ = EndlessStream
            return stream


class EndlessStream(type(ScriptedLLM("x").reply(None))):
    """Holds the engine until its last token."""

    async def __anext__(self):
        if len(self._chunks) == 2:
            await self._backend.free.wait()
            self._backend.free = anyio.Event()
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            self._backend.free.set()
            raise


class TestCannotReadEarly(LLMConformance):
    caught_by = "test_a_prompt_that_was_read_early_is_answered"

    class Backend(ScriptedLLM):
        async def prefill(self, request):
            self.script.append([Finish("stop")])


# --- TTS


def tone(size=8000, sample_rate=16_000, peak=0.5):
    return Audio(np.full(size, peak), sample_rate)


class TestClearsItsThroat(TTSConformance):
    caught_by = "test_no_text_is_no_speech"

    class Backend(ToneTTS):
        def open(self, options):
            return ThroatSession(self)


class ThroatSession(_ToneSession):
    """Never says nothing."""

    async def end(self):
        await self.write("ahem")
        await super().end()


class TestSilent(TTSConformance):
    caught_by = "test_each_text_is_heard"

    class Backend(BlockingTTS):
        def synthesize(self, text, options):
            yield tone(peak=0.0)


class TestTwoRates(TTSConformance):
    caught_by = "test_a_reply_has_one_sample_rate"

    class Backend(BlockingTTS):
        def synthesize(self, text, options):
            yield tone()
            yield tone(sample_rate=8000)


class TestCountsNothing(TTSConformance):
    caught_by = "test_texts_are_counted_or_their_words_timed"

    class Backend(ToneTTS):
        def open(self, options):
            return UncountedSession(self)


class UncountedSession(_ToneSession):
    """Never says what it has spoken."""

    async def __anext__(self):
        return Speech((await super().__anext__()).audio)


class TestWordsOfTheWhole(TTSConformance):
    caught_by = "test_words_are_in_order_and_end_inside_their_chunk"

    class Backend(BlockingTTS):
        def synthesize(self, text, options):
            yield Speech(tone(), [Word(text, 0, 8000)])
            yield Speech(tone(), [Word(text, 8000, 16_000)])


class TestTellsTheWriter(TTSConformance):
    caught_by = "test_a_reply_that_is_left_takes_no_more_text"

    class Backend(ToneTTS):
        def open(self, options):
            return RaisingSession(self)


class RaisingSession(_ToneSession):
    """Lets its stream's errors out."""

    async def write(self, text):
        await self._write.send(text)


class TestAnyVoice(TTSConformance):
    caught_by = "test_voices_are_found_by_name"

    class Backend(ToneTTS):
        def find_voice(self, name):
            return Voice(name=name, language="en")


# --- VAD


class VADOf(EnergyVAD):
    """Judges each frame by `judge`."""

    def open(self):
        return VADOfSession(self)

    def judge(self, frame):
        return float(np.abs(frame).max())


class VADOfSession(_EnergySession):
    async def probability(self, frame):
        await super().probability(frame)
        return self._backend.judge(frame)


class TestLogits(VADConformance):
    caught_by = "test_probabilities_lie_between_0_and_1"

    class Backend(VADOf):
        def judge(self, frame):
            return float(np.abs(frame).max()) * 20 - 5


class TestUnsure(VADConformance):
    caught_by = "test_silence_is_not_speech"

    class Backend(VADOf):
        def judge(self, frame):
            return 0.5


class TestAnyFrame(VADConformance):
    caught_by = "test_a_frame_of_another_size_is_refused"

    class Backend(EnergyVAD):
        def open(self):
            return AnyFrameSession(self)


class AnyFrameSession(_EnergySession):
    async def probability(self, frame):
        return float(np.abs(frame).max(initial=0.0))


class TestRemembers(VADConformance):
    caught_by = "test_a_stream_starts_afresh"

    class Backend(VADOf):
        loudest = 0.0

        def judge(self, frame):
            self.loudest = max(self.loudest, float(np.abs(frame).max()))
            return self.loudest


# --- the suite itself


class TestAFlawThatIsKnown(TestUnsure):
    xfail: ClassVar = {"test_silence_is_not_speech": "it guesses"}


class TestAFlawThatIsGone(VADConformance):
    caught_by = "test_silence_is_not_speech"
    xfail: ClassVar = {"test_silence_is_not_speech": "it guessed, until last week"}
    Backend = EnergyVAD
