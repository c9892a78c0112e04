"""The two small Whispers and the Silero VAD, each loaded once."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

from evakit.abc import LoadContext
from evakit.audio import Audio
from evakit_whisper import SileroVAD, WhisperSTT


def _load(backend, store):
    context = LoadContext(models={model.name: store.ensure(model) for model in backend.models()})
    anyio.run(backend.load, context)
    return backend


@pytest.fixture(scope="session")
def base(store):
    backend = _load(WhisperSTT("base"), store)
    yield backend
    anyio.run(backend.unload)


@pytest.fixture(scope="session")
def tiny(store):
    backend = _load(WhisperSTT("tiny.en"), store)
    yield backend
    anyio.run(backend.unload)


@pytest.fixture(scope="session")
def vad(store):
    backend = _load(SileroVAD(), store)
    yield backend
    anyio.run(backend.unload)


@pytest.fixture(scope="session")
def long_speech(clips):
    """Fifty seconds of English with pauses, and the sentence that is in it twelve times."""
    fox, text = clips["en/quick_brown_fox"]
    pause = Audio(np.zeros(20_000, np.float32), 16_000)
    return Audio.join([fox, pause] * 12), text
