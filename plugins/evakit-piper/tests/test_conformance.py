"""Piper passes the suite that every TTS has to pass, with the real voice joe."""

from __future__ import annotations

import pytest

from evakit.testing.conformance import TTSConformance
from evakit_piper import PiperTTS


class TestPiper(TTSConformance):
    @pytest.fixture
    def backend(self, store):
        self.store = store
        return PiperTTS()

    async def start(self, backend, context):
        await super().start(backend, context)
        joe = backend.voices[0]
        models = {m.name: self.store.ensure(m) for m in backend.voice_models(joe)}
        await backend.prepare_voice(joe, models)
