"""STTConformance: what every STT must do. What may not live here: other kinds."""

from __future__ import annotations

from typing import ClassVar, Final

import anyio
import pytest

from ...abc import STT, STTOptions, STTUpdate
from ...audio import Audio
from ...errors import AudioFormatError, UnknownLanguageError
from ...transcript import Segment, Transcript, Word
from ...voices import same_language
from . import backend as _backend
from ._promises import in_order, noise, promised, silence

__all__ = ["STTConformance"]

_NOBODYS: Final = "qaa"  # a tag that ISO 639-2 reserves for local use: no model knows it


class STTConformance(_backend.BackendConformance):
    """What every STT must do. Override the fixture `speech` with real speech."""

    language: ClassVar[str] = "en"
    """A language that the model knows: that of the speech."""

    @pytest.fixture
    def speech(self) -> Audio:
        """What is heard, at any sample rate."""
        return noise(1.5, 16_000)

    @pytest.fixture(autouse=True)
    def _use_speech(self, speech: Audio) -> None:
        self._speech = speech

    async def hear(self, stt: STT, *pieces: Audio, languages: tuple[str, ...] = ()) -> Transcript:
        """Return the transcript of an utterance that comes in pieces."""
        async with stt.open(STTOptions(wants_words=True, languages=languages)) as session:
            for piece in pieces:
                await session.feed(piece)
            return await session.finish()

    def _audio(self, stt: STT) -> Audio:
        return self._speech.resample(stt.sample_rate)

    async def use(self, backend: STT) -> object:
        return (await self.hear(backend, self._audio(backend))).text

    @promised
    async def test_nothing_is_heard_in_silence(self, loaded: STT) -> None:
        """When nothing was said, the transcript is empty."""
        text = (await self.hear(loaded, silence(loaded.sample_rate))).text
        assert text == "", f"heard: {text!r}"

    @promised
    async def test_nothing_is_heard_where_nothing_was_fed(self, loaded: STT) -> None:
        """When nothing was fed, the transcript is empty."""
        text = (await self.hear(loaded)).text
        assert text == "", f"heard: {text!r}"

    @promised
    async def test_another_sample_rate_is_refused(self, loaded: STT) -> None:
        """Audio at another sample rate than the backend's is an AudioFormatError."""
        with pytest.raises(AudioFormatError):
            await self.hear(loaded, silence(loaded.sample_rate // 2))

    @promised
    async def test_pieces_are_heard_as_the_whole(self, loaded: STT) -> None:
        """An utterance is heard the same, however it was cut into pieces."""
        whole, size = self._audio(loaded), loaded.sample_rate // 27
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert await self.hear(loaded, *pieces) == await self.hear(loaded, whole)

    @promised
    async def test_what_was_not_finished_is_dropped(self, loaded: STT) -> None:
        """A session that is left before it is finished leaves nothing to the next."""
        alone, nothing = await self.use(loaded), await self.hear(loaded)
        with anyio.fail_after(_backend._PATIENCE):
            async with loaded.open(STTOptions()) as session:
                await session.feed(self._audio(loaded))
            assert await self.hear(loaded) == nothing, "what was left is heard"
            assert await self.use(loaded) == alone

    @promised
    async def test_positions_are_in_order_and_inside_the_audio(self, loaded: STT) -> None:
        """Segments and words lie inside the audio, one after the other, at a rate that is told."""
        audio = self._audio(loaded)
        transcript = await self.hear(loaded, audio)
        assert in_order(transcript.segments), f"{transcript.segments}"
        assert in_order(transcript.words), f"{transcript.words}"
        parts: list[Segment | Word] = [*transcript.segments, *transcript.words]
        for part in parts:
            assert transcript.sample_rate is not None, "the rate is not told"
            end = audio.duration * transcript.sample_rate + 1
            assert 0 <= part.start <= part.end <= end, f"{part} of {end - 1:.0f} samples"

    @promised
    async def test_a_word_has_letters_and_no_white_space_around_it(self, loaded: STT) -> None:
        """A word is written as it is, without surrounding white space."""
        words = (await self.hear(loaded, self._audio(loaded))).words
        odd = [word.text for word in words if not word.text or word.text != word.text.strip()]
        assert not odd, f"{odd}"

    @promised
    async def test_how_sure_it_is_lies_between_0_and_1_or_is_unknown(self, loaded: STT) -> None:
        """A probability lies in [0, 1], and is None when it is not known."""
        heard = await self.hear(loaded, self._audio(loaded))
        known = [heard.language_probability, *(word.probability for word in heard.words)]
        odd = [p for p in known if p is not None and not 0 <= p <= 1]
        assert not odd, f"{odd}"

    @promised
    async def test_the_language_is_the_one_that_was_given(self, loaded: STT) -> None:
        """A transcript is in the language that was given, or does not say in which."""
        heard = await self.hear(loaded, self._audio(loaded), languages=(self.language,))
        language = heard.language
        assert language is None or same_language(language, self.language), f"it is {language}"

    @promised
    async def test_a_language_is_known_or_an_error_of_its_own(self, loaded: STT) -> None:
        """A language that the model does not know is an UnknownLanguageError as a session opens."""
        try:
            session = loaded.open(STTOptions(languages=(_NOBODYS,)))
        except UnknownLanguageError:
            return
        async with session:
            await session.feed(self._audio(loaded))
            await session.finish()

    @promised
    async def test_only_the_last_transcript_is_final(self, loaded: STT) -> None:
        """What `finish` returns is final, and no update before it is."""
        updates, transcript, _ = await self._updates(loaded)
        assert transcript.is_final, "the last one is not final"
        assert not [u for u in updates if u.transcript.is_final], "an update is final"

    @promised
    async def test_updates_end_with_the_last_transcript(self, loaded: STT) -> None:
        """Updates are read beside the work, and end when `finish` returns, at the latest."""
        *_, they_end = await self._updates(loaded)
        assert they_end, "they go on"

    async def _updates(self, stt: STT) -> tuple[list[STTUpdate], Transcript, bool]:
        """Return the updates of an utterance, its transcript, and whether the updates end."""
        updates: list[STTUpdate] = []

        async def listen() -> None:
            async for update in session.updates():
                updates.append(update)  # noqa: PERF401 (what came is kept, if they never end)

        async with stt.open(STTOptions()) as session:
            with anyio.move_on_after(_backend._PATIENCE) as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listen)
                    await session.feed(self._audio(stt))
                    transcript = await session.finish()
        return updates, transcript, not scope.cancelled_caught
