"""TTSConformance: what every TTS must do. What may not live here: other kinds."""

from __future__ import annotations

from typing import ClassVar, Final

import anyio
import pytest

from ...abc import TTS, Speech, TTSOptions
from ...errors import UnknownVoiceError
from . import backend as _backend
from ._promises import in_order, promised, touched

__all__ = ["TTSConformance"]

_SPOKEN: Final = 0.01  # a peak of -40 dBFS
_A_LOT: Final = 60  # clauses; more than any reply has, and than any session should queue


class TTSConformance(_backend.BackendConformance):
    """What every TTS must do. Override `start` where a voice has to be prepared."""

    texts: ClassVar[tuple[str, ...]] = ("Hello there.", "The weather is fine.")
    """What is spoken; of words that are written as they are spoken."""
    options: ClassVar[TTSOptions] = TTSOptions()

    async def speak(self, tts: TTS, *texts: str) -> list[Speech]:
        """Return the chunks of a reply, written by one task and taken by another."""
        chunks = []

        async def take() -> None:
            chunks.extend([speech async for speech in session])

        async with tts.open(self.options) as session, anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            for text in texts:
                await session.write(text)
            await session.end()
        return chunks

    async def use(self, backend: TTS) -> object:
        return any(len(speech.audio) for speech in await self.speak(backend, *self.texts))

    @promised
    async def test_no_text_is_no_speech(self, loaded: TTS) -> None:
        """Where no text was written, there is no speech."""
        seconds = sum(speech.audio.duration for speech in await self.speak(loaded))
        assert not seconds, f"it speaks for {seconds:.2f} s"

    @promised
    async def test_each_text_is_heard(self, loaded: TTS) -> None:
        """Each text is turned into speech that can be heard."""
        for text in self.texts:
            peak = max((c.audio.peak for c in await self.speak(loaded, text)), default=0.0)
            assert peak > _SPOKEN, f"{text!r} has a peak of {peak:g}"

    @promised
    async def test_a_reply_has_one_sample_rate(self, loaded: TTS) -> None:
        """All chunks of a reply have one sample rate."""
        chunks = [c.audio for c in await self.speak(loaded, *self.texts) if len(c.audio)]
        rates = {audio.sample_rate for audio in chunks}
        assert len(rates) == 1, f"{sorted(rates)}"

    @promised
    async def test_texts_are_counted_as_they_are_spoken(self, loaded: TTS) -> None:
        """Each text is counted once, with the chunk that ends it, also where words are timed."""
        chunks = await self.speak(loaded, *self.texts)
        counted = sum(chunk.clauses for chunk in chunks)
        assert counted == len(self.texts), f"of {len(self.texts)} it counts {counted}"

    @promised
    async def test_a_text_with_nothing_to_say_is_counted(self, loaded: TTS) -> None:
        """A text with nothing to say in it is no error, and is counted as spoken."""
        chunks = await self.speak(loaded, "...")
        assert sum(chunk.clauses for chunk in chunks) == 1

    @promised
    async def test_texts_are_spoken_in_the_order_of_writing(self, loaded: TTS) -> None:
        """Chunks come in the order in which the texts were written."""
        long = " ".join([*self.texts, *self.texts])
        chunks = await self.speak(loaded, self.texts[0], long)
        before, after, counted = 0.0, 0.0, 0
        for chunk in chunks:
            if counted == 0 and chunk.clauses <= 1:
                before += chunk.audio.duration
            else:
                after += chunk.audio.duration
            counted += chunk.clauses
        assert before < after, f"{before:.2f} s of the short one, {after:.2f} s of the long one"

    @promised
    async def test_words_are_those_of_the_text(self, loaded: TTS) -> None:
        """Where words are timed, they are those of the texts, in their order."""
        chunks = await self.speak(loaded, *self.texts)
        words = [word.text for chunk in chunks for word in chunk.words or ()]
        if any(chunk.words is not None for chunk in chunks):
            assert _letters(words) == _letters(self.texts), f"{words}"

    @promised
    async def test_words_are_in_order_and_end_inside_their_chunk(self, loaded: TTS) -> None:
        """A word ends inside the chunk it comes with, after the word before it."""
        for chunk in await self.speak(loaded, *self.texts):
            assert in_order(chunk.words or ()), f"{chunk.words}"
            ends = [word.end for word in chunk.words or ()]
            size = len(chunk.audio)
            assert all(0 < end <= size for end in ends), f"they end at {ends} of {size}"

    @promised
    async def test_writing_waits_while_enough_is_queued(self, loaded: TTS) -> None:
        """Writing waits while enough text is queued for a reader who takes nothing."""
        written = 0
        async with loaded.open(self.options) as session:
            with anyio.move_on_after(0.5):
                for written in range(1, _A_LOT + 1):  # noqa: B007 (looked at below)
                    await session.write(self.texts[0])
        assert written < _A_LOT, f"it takes {written} texts at once"

    @promised
    async def test_a_reply_that_is_over_stays_over(self, loaded: TTS) -> None:
        """A session that has come to its end takes no text and speaks no more."""
        with anyio.fail_after(_backend._PATIENCE):
            async with loaded.open(self.options) as session:
                await session.write(self.texts[0])
                await session.end()
                first = [speech async for speech in session]
                await session.write(self.texts[0])  # its writer cannot know
                again = [speech async for speech in session]
        assert first, "it speaks nothing at all"
        assert not again, f"it gives {again}"

    @promised
    async def test_a_reply_that_is_left_takes_no_more_text(self, loaded: TTS) -> None:
        """Leaving the block stops the synthesis, and what is written after it is dropped."""
        with anyio.fail_after(_backend._PATIENCE):
            async with loaded.open(self.options) as session:
                await session.write(self.texts[0])
                await session.end()
                await anext(session)
            await session.write(self.texts[0])  # its writer cannot know, so it raises nothing
            assert await self.use(loaded)

    @promised
    async def test_voices_are_found_by_name(self, loaded: TTS) -> None:
        """Each voice is found by its name, and a name of none is an UnknownVoiceError."""
        for voice in loaded.voices:
            assert loaded.find_voice(voice.name) == voice, f"{voice.name!r} is another"
        with pytest.raises(UnknownVoiceError):
            loaded.find_voice("no-such-voice")

    @promised
    async def test_finding_a_voice_touches_no_network(self, loaded: TTS) -> None:
        """A voice and the models that it needs are found without the network."""
        with touched("find_voice", "voice_models") as seen:
            for voice in loaded.voices:
                loaded.voice_models(loaded.find_voice(voice.name))
        sockets = [what for what in seen if what.startswith("socket")]
        assert not sockets, f"it did {', '.join(sockets)}"


def _letters(words: list[str] | tuple[str, ...]) -> str:
    return "".join(letter for letter in "".join(words).casefold() if letter.isalnum())
