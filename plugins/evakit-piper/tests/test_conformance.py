"""Piper passes the suites that every TTS and every local model has to pass, with the voice joe."""

from __future__ import annotations

import pytest

from evakit.testing.conformance import PlacementConformance, TTSConformance
from evakit_piper import PiperTTS


class Joe:
    """How the real voice joe is made ready."""

    @pytest.fixture
    def backend(self, store):
        self.store = store
        return PiperTTS()

    async def start(self, backend, context):
        await super().start(backend, context)
        joe = backend.voices[0]
        models = {m.name: self.store.ensure(m) for m in backend.voice_models(joe)}
        await backend.prepare_voice(joe, models)


class TestPiper(Joe, TTSConformance):
    pass


class TestPlacement(Joe, PlacementConformance):
    pass
