"""Fixtures: a tiny random model as a folder and as a GGUF file, and the real starter model."""

from __future__ import annotations

import json

import gguf
import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from evakit.abc import LLMRequest, LoadContext
from evakit.chat import Message
from evakit.models import ModelStore
from evakit_transformers import TransformersLLM
from evakit_transformers._models import SMOLLM2

WORDS = """
the of and to in a is that for it was on as with be by at have are this not but had from they she
which or we an were been their has would what will there if can all her who one so out up said
about into than them only other new some could time these two may then do first any my now such
like our over man me even most made after also did many before must through back years where much
your way well down should because each just those people how too little state good very make world
user assistant system word number story fox long tell say hello please remember thanks asks
""".split()  # noqa: SIM905 (short)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} {{ message['content'] }}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
START, END = "<|im_start|>", "<|im_end|>"


def byte_level() -> tokenizers.Tokenizer:
    """A tokenizer of words and of the characters of ASCII; other characters are left out."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=[START, END], show_progress=False)
    text = [f" {word}" for word in WORDS] * 5 + ["0123456789 .,!?'\":;-_()<>|/"]
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    """The tiny model's tokenizer."""
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level(), eos_token=END, chat_template=TEMPLATE
    )


@pytest.fixture(scope="session")
def random_model(tokenizer):
    """Two layers of random numbers, 0.2 MB, the same each time."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return LlamaForCausalLM(config)


@pytest.fixture(scope="session")
def tiny(random_model, tokenizer, tmp_path_factory):
    """The folder with the tiny model, as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("tiny")
    random_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gguf(random_model, tokenizer, tmp_path_factory):
    """The same model as a GGUF file."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    config = random_model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    backend = tokenizer.backend_tokenizer
    vocabulary = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    special = {START, END}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types(
        [
            gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL
            for token, _ in vocabulary
        ]
    )
    merges = json.loads(backend.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in random_model.state_dict().items():
        array = tensor.numpy().astype(np.float32)
        if ".q_proj." in name:
            array = _as_llama_cpp_has_it(array, config.num_attention_heads)
        if ".k_proj." in name:
            array = _as_llama_cpp_has_it(array, config.num_key_value_heads)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _as_llama_cpp_has_it(weights, heads):
    """Interleave the halves of each head, as convert_hf_to_gguf.py of llama.cpp does."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def load(name, **options) -> TransformersLLM:
    """Load a backend; one thread, as the tests of the other core may be at work."""
    llm = TransformersLLM(str(name), **({"threads": 1, "context_tokens": 512} | options))
    llm.name = "transformers"
    llm.load_model(LoadContext())
    return llm


@pytest.fixture
def loaded(tiny):
    """A function that loads the tiny model with options; all are unloaded in the end."""
    made = []

    def make(name=tiny, **options):
        made.append(load(name, **options))
        return made[-1]

    yield make
    for llm in made:
        llm.unload_model()


@pytest.fixture(scope="module")
def llm(tiny):
    """The tiny model, loaded; it takes the likeliest token."""
    llm = load(tiny, temperature=0)
    yield llm
    llm.unload_model()


@pytest.fixture(scope="session")
def smollm2():
    """The real starter model, loaded once: unpacking it takes a quarter of a minute."""
    llm = TransformersLLM(context_tokens=1024, temperature=0, threads=1)
    llm.name = "transformers"
    llm.load_model(LoadContext(models={SMOLLM2.name: ModelStore().ensure(SMOLLM2)}))
    yield llm
    llm.unload_model()


@pytest.fixture(scope="session")
def ask():
    """A function that asks a loaded backend and returns the pieces of its reply."""

    def asked(llm, *messages, **fields) -> list:
        pieces = []
        said = [Message("user", m) if isinstance(m, str) else m for m in messages]
        llm.generate(LLMRequest(messages=said, **fields), pieces.append)
        return pieces

    return asked
