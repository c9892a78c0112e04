"""The two loopback plugins pass the suites that every backend has to pass."""

from __future__ import annotations

from typing import ClassVar

import pytest
from streaming_stt import StreamingSTT
from streaming_tts import StreamingTTS

from evakit.testing.conformance import STTConformance, TTSConformance


class TestStreamingSTT(STTConformance):
    @pytest.fixture
    def backend(self, stt_service):
        return StreamingSTT(stt_service.url)

    @pytest.fixture
    def speech(self, saying):
        return saying(1, 2, 0, 3, 4)


class TestStreamingTTS(TTSConformance):
    xfail: ClassVar = {
        "test_writing_waits_while_enough_is_queued": "the service queues all that it is sent"
    }

    @pytest.fixture
    def backend(self, tts_service):
        return StreamingTTS(tts_service.url)
