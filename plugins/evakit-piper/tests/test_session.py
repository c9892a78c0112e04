"""PiperTTS through the core's sessions, on both event loops."""

from __future__ import annotations

import anyio
import pytest

from evakit.abc import LoadContext, TTSOptions
from evakit.errors import SynthesisError
from evakit_piper import PiperTTS


class Counting(PiperTTS):
    """Counts the chunks that were asked for."""

    chunks = 0

    def synthesize(self, text, options):
        for audio in super().synthesize(text, options):
            self.chunks += 1
            yield audio


async def _speak(tts, *texts):
    async with tts.open(TTSOptions()) as session, anyio.create_task_group() as tasks:

        async def write():
            for text in texts:
                await session.write(text)
            await session.end()

        tasks.start_soon(write)
        return [speech async for speech in session]


async def test_each_unit_is_counted_when_it_is_spoken(anyio_backend, tiny):
    tts = PiperTTS(str(tiny()))
    await tts.load(LoadContext())
    speech = await _speak(tts, "Hello there. How are you?", "...", "Fine.")
    assert [(s.clauses, len(s.audio) > 0) for s in speech] == [
        (0, True),
        (0, True),
        (1, False),  # two sentences
        (1, False),  # nothing to say
        (0, True),
        (1, False),
    ]
    assert sum(s.audio.duration for s in speech) > 0.5
    await tts.unload()
    await tts.unload()


async def test_two_sessions_at_once_say_the_same(anyio_backend, tiny):
    tts = PiperTTS(str(tiny()))
    await tts.load(LoadContext())
    said = []

    async def work():
        said.append([s.audio for s in await _speak(tts, "One, two, three.", "Four.")])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        tasks.start_soon(work)
    assert said[0] == said[1]
    await tts.unload()


async def test_leaving_early_stops_within_one_chunk(anyio_backend, tiny):
    tts = Counting(str(tiny()))
    await tts.load(LoadContext())
    async with tts.open(TTSOptions()) as session:
        await session.write("One. Two. Three. Four. Five. Six. Seven. Eight.")
        await anext(session)
    assert tts.chunks <= 2  # one is made ahead, so that the last can be flagged
    assert await _speak(tts, "Still here.")
    await tts.unload()


async def test_cancelling_leaves_the_backend_ready(anyio_backend, tiny):
    tts = PiperTTS(str(tiny()))
    await tts.load(LoadContext())
    with anyio.CancelScope() as scope:
        async with tts.open(TTSOptions()) as session:
            await session.write("word " * 2000)
            async for _ in session:
                scope.cancel()
    assert scope.cancelled_caught
    assert await _speak(tts, "Still here.")
    await tts.unload()


async def test_a_unit_that_fails_ends_the_session_with_one_error(anyio_backend, tiny):
    tts = PiperTTS(str(tiny(amplitude=0.0)))
    await tts.load(LoadContext())
    async with tts.open(TTSOptions()) as session:
        await session.write("Hello.")
        with pytest.raises(SynthesisError):
            await anext(session)
    await tts.unload()
