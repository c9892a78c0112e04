"""Models that read otherwise: windows, recurrent states, other names for the same things."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    Lfm2Config,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
)

from evakit.abc import Finish, LLMRequest, Usage
from evakit.chat import Message

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
# Each with whether what it has read can be cut, and read on in pieces.
CONFIGS = {
    "qwen3": (Qwen3Config(**SMALL, head_dim=8), True),
    "gpt2": (
        GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.3),
        True,
    ),
    "mistral with a window": (MistralConfig(**SMALL, sliding_window=16), False),
    "gemma3 with windows": (Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=16), False),
    "lfm2": (Lfm2Config(**SMALL, layer_types=["conv", "full_attention"]), False),
    "mamba": (MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=8), False),
}


@pytest.fixture(params=CONFIGS)
def kind(request):
    return CONFIGS[request.param]


@pytest.fixture
def folder(kind, tokenizer, tmp_path):
    """A random model of that kind."""
    config, _ = kind
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id = None, tokenizer.eos_token_id
    config.pad_token_id = None
    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_conversation_gives_the_tokens_that_transformers_itself_gives(
    kind, folder, tokenizer, loaded, ask
):
    llm = loaded(folder, temperature=0, repeat_penalty=1)
    assert llm._loaded.engine.keeps_prompts == kind[1]
    model = AutoModelForCausalLM.from_pretrained(folder)
    said = []
    for turn in range(3):
        said.append(Message("user", f"tell me a long story about number {turn} " * 6))
        *pieces, cost, _ = ask(llm, *said, max_tokens=12)
        prompt = tokenizer.apply_chat_template(
            [{"role": m.role.value, "content": m.content} for m in said],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        output = model.generate(
            input_ids=prompt["input_ids"],
            attention_mask=prompt["attention_mask"],
            max_new_tokens=12,
            do_sample=False,
        )
        expected = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :])
        assert "".join(pieces) == expected.lstrip()
        assert (cost.cached_tokens > 20) == (kind[1] and turn > 0)
        said.append(Message("assistant", "".join(pieces)))


def test_a_prompt_that_nothing_would_remember_is_not_read_early(kind, folder, loaded, ask):
    llm = loaded(folder)
    runs = []
    llm._loaded.engine._model.register_forward_hook(lambda *_: runs.append(1))
    llm.warm(_request("hello"))
    assert bool(runs) == kind[1]
    pieces = ask(llm, "hello", max_tokens=3)
    assert isinstance(pieces[-2], Usage)
    assert isinstance(pieces[-1], Finish)


def _request(text):
    return LLMRequest(messages=[Message("user", text)])
