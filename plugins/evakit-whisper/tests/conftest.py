"""The two small Whispers and the Silero VAD, each loaded once; and a Whisper that is made here."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from ctranslate2.specs import WhisperSpec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

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


# A Whisper of 146 KB with weights of chance: real to CTranslate2 and to faster-whisper in all but
# what it hears.

_WIDTH = 16
_SPECIAL = (
    "endoftext",
    "startoftranscript",
    "translate",
    "transcribe",
    "startoflm",
    "startofprev",
    "nospeech",
    "notimestamps",
)


class _Chance:
    def __init__(self):
        self.random = np.random.default_rng(0)

    def weights(self, *shape):
        return self.random.normal(0, 0.1, shape).astype(np.float32)

    def linear(self, layer, n_outputs, n_inputs=_WIDTH):
        layer.weight, layer.bias = self.weights(n_outputs, n_inputs), self.weights(n_outputs)

    def norm(self, layer):
        layer.gamma, layer.beta = np.ones(_WIDTH, np.float32), np.zeros(_WIDTH, np.float32)

    def convolution(self, layer, n_inputs):
        layer.weight, layer.bias = self.weights(_WIDTH, n_inputs, 3), self.weights(_WIDTH)

    def layers(self, side):
        self.norm(side.layer_norm)
        for layer in side.layer:
            self.attention(layer.self_attention, (3 * _WIDTH, _WIDTH))
            if hasattr(layer, "attention"):
                self.attention(layer.attention, (_WIDTH, 2 * _WIDTH, _WIDTH))
            self.norm(layer.ffn.layer_norm)
            self.linear(layer.ffn.linear_0, 4 * _WIDTH)
            self.linear(layer.ffn.linear_1, _WIDTH, 4 * _WIDTH)

    def attention(self, attention, sizes):
        self.norm(attention.layer_norm)
        for layer, size in zip(attention.linear, sizes, strict=True):
            self.linear(layer, size)


def _make_whisper(folder):
    special = [f"<|{name}|>" for name in _SPECIAL]
    special += [f"<|{number / 50:.2f}|>" for number in range(1501)]
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *special]
    spec, chance = WhisperSpec(1, 2, 1, 2), _Chance()
    chance.convolution(spec.encoder.conv1, 80)
    chance.convolution(spec.encoder.conv2, _WIDTH)
    spec.encoder.position_encodings.encodings = chance.weights(1500, _WIDTH)
    spec.decoder.position_encodings.encodings = chance.weights(448, _WIDTH)
    spec.decoder.embeddings.weight = chance.weights(len(words), _WIDTH)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    chance.layers(spec.encoder)
    chance.layers(spec.decoder)
    spec.register_vocabulary(words)
    for name in ("suppress_ids", "suppress_ids_begin", "lang_ids"):
        setattr(spec.config, name, [])
    spec.config.alignment_heads = [[0, 0]]
    spec.validate()
    spec.optimize(quantization="float16")  # as Systran's are
    spec.save(str(folder))
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def whisper_of_chance(tmp_path_factory):
    """The folder of a Whisper with weights of chance."""
    folder = tmp_path_factory.mktemp("whisper")
    _make_whisper(folder)
    return folder
