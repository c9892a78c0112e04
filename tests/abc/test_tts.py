"""Blocking TTS: one clause after the other, whole, and what it may return."""

from __future__ import annotations

import threading

import anyio
import numpy as np
import pytest

from evakit._speaker import Speaker
from evakit._threads import Lane
from evakit.abc import BlockingTTS, Speech, TTSOptions
from evakit.audio import Audio
from evakit.clauses import Clause
from evakit.errors import SynthesisError
from evakit.testing.fakes import ToneTTS


def tone(seconds=0.1, sample_rate=16_000, peak=0.1):
    return Audio(np.full(int(seconds * sample_rate), peak), sample_rate)


class Returning(BlockingTTS):
    """Returns what it is made with."""

    def __init__(self, make):
        self.name = "returning"
        self._lane = Lane("cpu")
        self.make = make

    def synthesize(self, text, options):
        return self.make()


async def speak(tts, *texts):
    async with tts.open(TTSOptions()) as session:
        for text in texts:
            await session.write(text)
        await session.end()
        return [speech async for speech in session]


@pytest.mark.parametrize(
    "make",
    [
        tone,
        lambda: Speech(tone()),
        lambda: [tone()],
        lambda: iter([Speech(tone())]),
    ],
)
async def test_speech_may_be_returned_alone_or_in_any_iterable(anyio_backend, make):
    tts = Returning(make)
    chunks = await speak(tts, "One.", "Two.")
    assert [chunk.audio for chunk in chunks if len(chunk.audio)] == [tone(), tone()]
    assert not tts._lane._held


async def test_a_clause_is_counted_once_even_if_its_author_counts_too(anyio_backend):
    chunks = await speak(Returning(lambda: [Speech(tone(), clauses=1)] * 3), "One.", "Two.")
    assert sum(chunk.clauses for chunk in chunks) == 2
    assert [chunk.clauses for chunk in chunks] == [0, 0, 0, 1, 0, 0, 0, 1]


class Stateful(BlockingTTS):
    """Has one state, which a second call in the middle of a clause would overwrite."""

    def __init__(self):
        self.name = "stateful"
        self._lane = Lane("cpu")
        self.speaking = None
        self.go_on = {}
        self.inside = []
        self.closed = 0

    def synthesize(self, text, options):
        self.speaking = text
        try:
            for number in range(4):
                self.inside.append((text, number))
                if (text, number) in self.go_on:
                    self.go_on[text, number].wait(5)
                yield tone(peak=float(self.speaking))
        finally:
            self.closed += 1


async def test_two_clauses_of_one_engine_are_not_mixed(anyio_backend):
    tts, heard = Stateful(), {}

    async def use(text):
        chunks = await speak(tts, text, text)
        heard[text] = {round(chunk.audio.peak, 3) for chunk in chunks if len(chunk.audio)}

    async with anyio.create_task_group() as tasks:
        for text in ("0.1", "0.2", "0.3"):
            tasks.start_soon(use, text)
    assert heard == {"0.1": {0.1}, "0.2": {0.2}, "0.3": {0.3}}
    assert not tts._lane._held


async def test_another_reply_is_spoken_between_two_clauses(anyio_backend):
    tts = Stateful()
    with anyio.fail_after(5):
        async with tts.open(TTSOptions()) as session:
            await session.write("0.1")
            while not (await anext(session)).clauses:
                pass
            assert not tts._lane._held
            assert len(await speak(tts, "0.2")) == 5


@pytest.mark.parametrize("number", range(4))
async def test_cancelling_in_any_chunk_gives_the_engine_back(anyio_backend, number):
    tts = Stateful()
    go_on = tts.go_on["0.1", number] = threading.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speak, tts, "0.1")
            while ("0.1", number) not in tts.inside:  # noqa: ASYNC110 (in another thread)
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
            go_on.set()
        assert tts.inside[-1] == ("0.1", number)
        assert tts.closed == 1
        assert not tts._lane._held
        assert len(await speak(tts, "0.2")) == 5


@pytest.mark.parametrize("taken", range(6))
async def test_leaving_after_any_chunk_gives_the_engine_back(anyio_backend, taken):
    tts = Stateful()
    async with tts.open(TTSOptions()) as session:
        await session.write("0.1")
        await session.write("0.2")
        for _ in range(taken):
            await anext(session)
    assert not tts._lane._held
    assert tts.closed == (taken + 4) // 5  # as many clauses as were begun


async def test_a_failure_in_a_clause_gives_the_engine_back(anyio_backend):
    def fail():
        yield tone()
        raise ZeroDivisionError

    tts = Returning(fail)
    with pytest.raises(ZeroDivisionError):
        await speak(tts, "One.")
    assert not tts._lane._held


# --- Speaker


async def say(tts, text):
    async with Speaker(tts, TTSOptions()) as speaker:
        await speaker.write(Clause(text, text))
        await speaker.end()
        return [speech async for speech in speaker]


async def test_two_sample_rates_in_one_reply_are_a_sentence(anyio_backend):
    tts = Returning(lambda: [tone(), tone(sample_rate=22_050)])
    message = r"^returning gave audio at 22050 Hz after 16000 Hz; a reply has one sample rate"
    with pytest.raises(SynthesisError, match=message) as caught:
        await say(tts, "One.")
    assert caught.value.backend == "returning"


async def test_the_rate_of_a_chunk_without_samples_means_nothing(anyio_backend):
    assert len(await say(ToneTTS(sample_rate=22_050), "One two.")) == 2
    assert len(await say(Returning(lambda: [tone(sample_rate=22_050)]), "One two.")) == 1


async def test_silence_for_text_names_the_volume_and_the_voice(anyio_backend):
    with pytest.raises(SynthesisError, match="raise the volume or choose a voice that speaks"):
        await say(Returning(lambda: tone(peak=0.0)), "One.")
