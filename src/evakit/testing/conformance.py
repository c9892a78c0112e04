"""Conformance suites: what every backend must do, whatever its engine. One class a kind.

Inherit the class of your backend's kind in your tests, and give it your backend::

    class TestMyTTS(TTSConformance):
        xfail = {"test_no_text_is_no_speech": "the engine clears its throat, issue 12"}

        @pytest.fixture
        def backend(self):
            return MyTTS()  # not loaded

Override the fixture `load_context` where loading needs models. Needs pytest; runs on the event
loops of the fixture `anyio_backend`. To see values in failures, say
`pytest.register_assert_rewrite("evakit.testing.conformance")` in a conftest.
What may not live here: tests that know an engine.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

import anyio
import numpy as np
import pytest

from ..abc import (
    LLM,
    STT,
    TTS,
    VAD,
    Backend,
    Finish,
    LLMChunk,
    LLMRequest,
    LoadContext,
    Speech,
    STTOptions,
    TTSOptions,
    Usage,
)
from ..audio import Audio
from ..chat import Message, Role
from ..devices.device import REMOTE
from ..errors import AudioFormatError, ConfigurationError, UnknownVoiceError
from ..transcript import Segment, Transcript, Word

__all__ = ["LLMConformance", "STTConformance", "TTSConformance", "VADConformance"]

# A host's other work stalls for as long. A quiet machine shows milliseconds; this one may be busy.
_LONGEST_GAP: Final = 0.5  # seconds
_PATIENCE: Final = 30.0  # seconds, for work that is to end
_SPOKEN: Final = 0.01  # a peak of -40 dBFS


def _noise(seconds: float, sample_rate: int) -> Audio:
    """Return noise that swells as speech does, the same each time."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, len(time))
    return Audio(noise * np.sin(4 * math.pi * time) ** 2, sample_rate)


def _silence(sample_rate: int) -> Audio:
    return Audio(np.zeros(sample_rate), sample_rate)


def _in_order(parts: tuple[Word, ...] | tuple[Segment, ...]) -> bool:
    borders = [border for part in parts for border in (part.start, part.end)]
    return borders == sorted(borders)


class _Conformance(ABC):
    """What holds for all kinds; a kind says in `use` what a little work is."""

    pytestmark: ClassVar[list[Any]] = [pytest.mark.anyio]
    xfail: ClassVar[Mapping[str, str]] = {}
    """Tests that are known to fail, and why. One that passes after all fails until it is taken
    off."""

    def __init_subclass__(cls) -> None:
        for name in cls.xfail:
            if not hasattr(cls, name):
                raise ConfigurationError(f"xfail names {name!r}, which is no test; correct it.")

    @pytest.fixture(autouse=True)
    def _expected(self, request: pytest.FixtureRequest) -> None:
        reason = self.xfail.get(request.function.__name__)
        if reason is not None:
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def load_context(self) -> LoadContext:
        """What the backend is loaded with."""
        return LoadContext()

    @pytest.fixture
    async def loaded(self, backend: Any, load_context: LoadContext) -> AsyncIterator[Any]:
        """The backend, ready for work."""
        backend.name = backend.name or type(backend).__name__
        await self.start(backend, load_context)
        yield backend
        await backend.unload()

    async def start(self, backend: Any, context: LoadContext) -> None:
        """Make the backend ready for work."""
        await backend.load(context)

    @abstractmethod
    async def use(self, backend: Any) -> object:
        """Do a little work and return what must be the same each time."""

    async def test_it_is_where_it_was_loaded(
        self, loaded: Backend, load_context: LoadContext
    ) -> None:
        remote = loaded.capabilities.devices == {"remote"}
        assert loaded.placement().device == (REMOTE if remote else load_context.device)
        assert loaded.placement().observed

    async def test_it_is_unloaded_twice_and_loaded_again(
        self, loaded: Backend, load_context: LoadContext
    ) -> None:
        before = await self.use(loaded)
        await loaded.unload()
        await loaded.unload()
        await self.start(loaded, load_context)
        assert await self.use(loaded) == before

    async def test_two_at_once_are_like_one_after_the_other(self, loaded: Backend) -> None:
        alone, together = await self.use(loaded), []

        async def work() -> None:
            together.append(await self.use(loaded))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            tasks.start_soon(work)
        assert together == [alone, alone]

    @pytest.mark.parametrize("delay", [0.0, 0.01, 0.1])
    async def test_it_works_after_it_was_cancelled(self, loaded: Backend, delay: float) -> None:
        with anyio.fail_after(_PATIENCE):
            with anyio.move_on_after(delay):
                await self.use(loaded)
            await self.use(loaded)

    async def test_the_event_loop_is_not_held_up(self, loaded: Backend) -> None:
        gaps = []

        async def watch(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            last = anyio.current_time()
            task_status.started()
            while True:
                await anyio.sleep(0.005)
                gaps.append(anyio.current_time() - last)
                last = anyio.current_time()

        async with anyio.create_task_group() as tasks:
            await tasks.start(watch)
            await self.use(loaded)
            await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert max(gaps) < _LONGEST_GAP


class STTConformance(_Conformance):
    """What every STT must do. Override the fixture `speech` with real speech."""

    @pytest.fixture
    def speech(self) -> Audio:
        """What is heard, at any sample rate."""
        return _noise(1.5, 16_000)

    @pytest.fixture(autouse=True)
    def _use_speech(self, speech: Audio) -> None:
        self._speech = speech

    async def hear(self, stt: STT, *pieces: Audio) -> Transcript:
        """Return the transcript of an utterance that comes in pieces."""
        async with stt.open(STTOptions(wants_words=True)) as session:
            for piece in pieces:
                await session.feed(piece)
            return await session.finish()

    async def use(self, backend: STT) -> object:
        return (await self.hear(backend, self._speech.resample(backend.sample_rate))).text

    async def test_nothing_is_heard_in_silence(self, loaded: STT) -> None:
        assert (await self.hear(loaded, _silence(loaded.sample_rate))).text == ""

    async def test_nothing_is_heard_where_nothing_was_fed(self, loaded: STT) -> None:
        assert (await self.hear(loaded)).text == ""

    async def test_another_sample_rate_is_refused(self, loaded: STT) -> None:
        with pytest.raises(AudioFormatError):
            await self.hear(loaded, _silence(loaded.sample_rate // 2))

    async def test_pieces_are_heard_as_the_whole(self, loaded: STT) -> None:
        whole, size = self._speech.resample(loaded.sample_rate), loaded.sample_rate // 27
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert await self.hear(loaded, *pieces) == await self.hear(loaded, whole)

    async def test_positions_are_in_order_and_inside_the_audio(self, loaded: STT) -> None:
        audio = self._speech.resample(loaded.sample_rate)
        transcript = await self.hear(loaded, audio)
        assert _in_order(transcript.segments)
        assert _in_order(transcript.words)
        parts: list[Segment | Word] = [*transcript.segments, *transcript.words]
        for part in parts:
            assert transcript.sample_rate is not None
            assert 0 <= part.start <= part.end <= audio.duration * transcript.sample_rate + 1

    async def test_only_the_last_transcript_is_final(self, loaded: STT) -> None:
        async with loaded.open(STTOptions()) as session:
            await session.feed(self._speech.resample(loaded.sample_rate))
            assert (await session.finish()).is_final
            with anyio.fail_after(_PATIENCE):
                assert not [u async for u in session.updates() if u.transcript.is_final]


class LLMConformance(_Conformance):
    """What every LLM must do."""

    request: ClassVar[LLMRequest] = LLMRequest(
        messages=(Message(Role.USER, "Say hello to me."),), max_tokens=12
    )
    """What a reply is asked for with."""

    async def chunks(self, llm: LLM) -> list[LLMChunk]:
        """Return all of a reply."""
        async with llm.reply(self.request) as stream:
            return [chunk async for chunk in stream]

    async def use(self, backend: LLM) -> object:
        chunks = await self.chunks(backend)
        return bool("".join(chunk for chunk in chunks if isinstance(chunk, str)).strip())

    async def test_a_reply_has_text(self, loaded: LLM) -> None:
        assert await self.use(loaded)

    async def test_a_reply_says_once_why_it_ends(self, loaded: LLM) -> None:
        ends = [c.reason for c in await self.chunks(loaded) if isinstance(c, Finish)]
        assert ends in (["stop"], ["length"])

    async def test_usage_is_counted_or_unknown(self, loaded: LLM) -> None:
        for usage in (c for c in await self.chunks(loaded) if isinstance(c, Usage)):
            counts = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
            assert all(count is None or count >= 0 for count in counts)

    async def test_a_reply_that_is_left_stops(self, loaded: LLM) -> None:
        with anyio.fail_after(_PATIENCE):
            async with loaded.reply(self.request) as stream:
                await anext(stream)
            assert await self.use(loaded)

    async def test_a_prompt_that_was_read_early_is_answered(self, loaded: LLM) -> None:
        await loaded.prefill(self.request)
        assert await self.use(loaded)


class TTSConformance(_Conformance):
    """What every TTS must do. Override `start` where a voice has to be prepared."""

    texts: ClassVar[tuple[str, ...]] = ("Hello there.", "The weather is fine.")
    """What is spoken."""
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

    async def test_no_text_is_no_speech(self, loaded: TTS) -> None:
        assert not any(len(speech.audio) for speech in await self.speak(loaded))

    async def test_each_text_is_heard(self, loaded: TTS) -> None:
        for text in self.texts:
            assert max(c.audio.peak for c in await self.speak(loaded, text)) > _SPOKEN

    async def test_a_reply_has_one_sample_rate(self, loaded: TTS) -> None:
        chunks = [c.audio for c in await self.speak(loaded, *self.texts) if len(c.audio)]
        assert len({audio.sample_rate for audio in chunks}) == 1

    async def test_texts_are_counted_or_their_words_timed(self, loaded: TTS) -> None:
        # Words do not stand in for the count: there may be more or fewer of them than written.
        chunks = await self.speak(loaded, *self.texts)
        assert sum(chunk.clauses for chunk in chunks) == len(self.texts)

    async def test_words_are_in_order_and_end_inside_their_chunk(self, loaded: TTS) -> None:
        for chunk in await self.speak(loaded, *self.texts):
            assert _in_order(chunk.words or ())
            assert all(0 < word.end <= len(chunk.audio) for word in chunk.words or ())

    async def test_a_reply_that_is_left_takes_no_more_text(self, loaded: TTS) -> None:
        with anyio.fail_after(_PATIENCE):
            async with loaded.open(self.options) as session:
                await session.write(self.texts[0])
                await session.end()
                await anext(session)
            await session.write(self.texts[0])  # its writer cannot know, so it raises nothing
            assert await self.use(loaded)

    async def test_voices_are_found_by_name(self, loaded: TTS) -> None:
        assert all(loaded.find_voice(voice.name) == voice for voice in loaded.voices)
        with pytest.raises(UnknownVoiceError):
            loaded.find_voice("no-such-voice")


class VADConformance(_Conformance):
    """What every VAD must do."""

    async def judge(self, vad: VAD, audio: Audio) -> list[float]:
        """Return the probability of each frame of a stream."""
        async with vad.open() as session:
            return [await session.probability(frame) for frame in audio.frames(vad.frame_size)]

    async def use(self, backend: VAD) -> object:
        return await self.judge(backend, _noise(0.5, backend.sample_rate))

    async def test_probabilities_lie_between_0_and_1(self, loaded: VAD) -> None:
        judged = await self.judge(loaded, _noise(0.5, loaded.sample_rate))
        assert all(0 <= probability <= 1 for probability in judged)

    async def test_silence_is_not_speech(self, loaded: VAD) -> None:
        assert max(await self.judge(loaded, _silence(loaded.sample_rate))) < 0.5

    async def test_a_frame_of_another_size_is_refused(self, loaded: VAD) -> None:
        for size in (0, loaded.frame_size - 1, loaded.frame_size + 1):
            async with loaded.open() as session:
                with pytest.raises(AudioFormatError):
                    await session.probability(np.zeros(size, np.float32))

    async def test_a_stream_starts_afresh(self, loaded: VAD) -> None:
        first = await self.use(loaded)
        await self.judge(loaded, Audio(np.ones(loaded.sample_rate), loaded.sample_rate))
        assert await self.use(loaded) == first
