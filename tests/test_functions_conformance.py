"""Plain functions keep the contracts of the backends that they become."""

from __future__ import annotations

import numpy as np
import pytest

import evakit
from evakit._functions import FunctionLLM, FunctionSTT, FunctionTTS
from evakit.testing.conformance import LLMConformance, STTConformance, TTSConformance

TONE = evakit.Audio(0.5 * np.sin(np.arange(16_000) / 9), 16_000)


def generates(request):
    yield "Hello "
    yield "there."


async def generates_asynchronously(request):
    yield "Hello "
    yield "there."


class TestAFunctionLLM(LLMConformance):
    @pytest.fixture(params=[generates, generates_asynchronously])
    def backend(self, request):
        return FunctionLLM(request.param)


class TestAFunctionSTT(STTConformance):
    @pytest.fixture
    def backend(self):
        return FunctionSTT(lambda audio: "hello" if audio.peak else "")


class TestAFunctionTTS(TTSConformance):
    @pytest.fixture
    def backend(self):
        def speak(text):
            for word in text.split():
                yield TONE[: 1000 * len(word)]

        return FunctionTTS(speak)
