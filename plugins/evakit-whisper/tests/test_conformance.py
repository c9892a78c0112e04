"""Whisper and Silero pass the suites that every backend, and every local model, has to pass."""

from __future__ import annotations

import pytest

from evakit.abc import LoadContext
from evakit.testing.conformance import PlacementConformance, STTConformance, VADConformance
from evakit_whisper import SileroVAD, WhisperSTT


class TestWhisper(STTConformance):
    @pytest.fixture
    def backend(self):
        return WhisperSTT("tiny.en")

    @pytest.fixture
    def load_context(self, backend, store):
        return LoadContext(models={m.name: store.ensure(m) for m in backend.models()})

    @pytest.fixture
    def speech(self, clips):
        return clips["en/hello_world"][0]


class TestSilero(VADConformance):
    @pytest.fixture
    def backend(self):
        return SileroVAD()

    @pytest.fixture
    def speech(self, clips):
        return clips["en/hello_world"][0]


class TestPlacementOfWhisper(PlacementConformance):
    @pytest.fixture
    def backend(self, whisper_of_chance):
        return WhisperSTT(whisper_of_chance)


class TestPlacementOfSilero(PlacementConformance):
    @pytest.fixture
    def backend(self):
        return SileroVAD()
