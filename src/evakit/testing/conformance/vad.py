"""VADConformance: what every VAD must do. What may not live here: other kinds."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from ...abc import VAD
from ...audio import Audio
from ...errors import AudioFormatError
from . import backend as _backend
from ._promises import noise, promised, silence

__all__ = ["VADConformance"]

_SPEECH: Final = 0.5  # from here on, there is rather speech than not


class VADConformance(_backend.BackendConformance):
    """What every VAD must do. Override the fixture `speech` with real speech."""

    @pytest.fixture
    def speech(self) -> Audio:
        """What is speech, at any sample rate."""
        return noise(0.5, 16_000)

    @pytest.fixture(autouse=True)
    def _use_speech(self, speech: Audio) -> None:
        self._speech = speech

    async def judge(self, vad: VAD, audio: Audio) -> list[float]:
        """Return the probability of each frame of a stream."""
        async with vad.open() as session:
            return [await session.probability(frame) for frame in audio.frames(vad.frame_size)]

    async def use(self, backend: VAD) -> object:
        return await self.judge(backend, noise(0.5, backend.sample_rate))

    @promised
    async def test_probabilities_lie_between_0_and_1(self, loaded: VAD) -> None:
        """A probability is a number in [0, 1]."""
        judged = await self.judge(loaded, noise(0.5, loaded.sample_rate))
        odd = [p for p in judged if not isinstance(p, float) or not 0 <= p <= 1]
        assert not odd, f"{odd[:3]}"

    @promised
    async def test_silence_is_not_speech(self, loaded: VAD) -> None:
        """In silence there is no speech."""
        most = max(await self.judge(loaded, silence(loaded.sample_rate)))
        assert most < _SPEECH, f"{most:.2f}"

    @promised
    async def test_speech_is_speech(self, loaded: VAD) -> None:
        """Speech is taken for speech."""
        most = max(await self.judge(loaded, self._speech.resample(loaded.sample_rate)))
        assert most > _SPEECH, f"{most:.2f}"

    @promised
    async def test_a_frame_of_another_size_is_refused(self, loaded: VAD) -> None:
        """A frame of another size is an AudioFormatError."""
        for size in (0, loaded.frame_size - 1, loaded.frame_size + 1):
            async with loaded.open() as session:
                with pytest.raises(AudioFormatError):
                    await session.probability(np.zeros(size, np.float32))

    @promised
    async def test_a_stream_starts_afresh(self, loaded: VAD) -> None:
        """A stream knows nothing of the streams before it."""
        first = await self.use(loaded)
        await self.judge(loaded, Audio(np.ones(loaded.sample_rate), loaded.sample_rate))
        assert await self.use(loaded) == first

    @promised
    async def test_streams_do_not_notice_each_other(self, loaded: VAD) -> None:
        """Two streams whose frames come in turns are judged as each of them alone."""
        loud = noise(0.5, loaded.sample_rate)
        quiet = silence(loaded.sample_rate, 0.5)
        alone = await self.judge(loaded, loud)
        judged = []
        async with loaded.open() as one, loaded.open() as other:
            for frame, between in zip(
                loud.frames(loaded.frame_size), quiet.frames(loaded.frame_size), strict=True
            ):
                judged.append(await one.probability(frame))
                await other.probability(between)
        assert judged == alone
