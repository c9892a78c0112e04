"""Replies: text, cost, what is read again, stopping, limits; of the real model and a tiny one."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evakit.abc import Finish, LLMRequest, Usage
from evakit.chat import Message
from evakit.errors import (
    BackendUnavailableError,
    ContextTooLongError,
    GenerationError,
    VramBudgetError,
)
from evakit_transformers import TransformersLLM

SYSTEM = Message("system", "You are a helpful voice assistant. Answer in one short sentence.")
CAPITAL = "What is the capital of France?"


def text(pieces) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def usage(pieces) -> Usage:
    (found,) = (piece for piece in pieces if isinstance(piece, Usage))
    return found


@pytest.fixture
def runs(llm):
    """How many tokens the tiny model was given in each of its runs."""
    counts = []
    hook = llm._loaded.engine._model.register_forward_pre_hook(
        lambda _module, _args, given: counts.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    yield counts
    hook.remove()


# --- the real model


@pytest.mark.timeout(300)
def test_the_starter_model_answers_in_english(smollm2, ask):
    *pieces, cost, finish = ask(smollm2, SYSTEM, CAPITAL)
    assert "Paris" in text(pieces)
    assert len(pieces) > 3
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert finish == Finish("stop")
    assert 20 < cost.prompt_tokens < 60
    assert cost.completion_tokens == len(pieces) + 1  # what ends it has no text


@pytest.mark.timeout(300)
def test_characters_that_are_several_tokens_come_whole(smollm2, ask):
    *pieces, cost, _ = ask(smollm2, SYSTEM, "Give me an emoji of a smiling face. 🙂", max_tokens=20)
    assert any(ord(character) > 0x1F000 for character in text(pieces))
    assert "\ufffd" not in text(pieces)
    assert cost.completion_tokens > len(pieces) + 5


@pytest.mark.timeout(300)
def test_it_stops_within_one_token(smollm2, ask):
    runs, pieces = [], []
    model = smollm2._loaded.engine._model
    hook = model.register_forward_hook(lambda *_: runs.append(1))

    def emit(piece):
        pieces.append(piece)
        return len(pieces) == 5

    said = [SYSTEM, Message("user", "Tell me a very long story.")]
    smollm2.generate(LLMRequest(messages=said, max_tokens=100), emit)
    hook.remove()
    assert len(pieces) == 5
    assert len(runs) <= 5
    assert "Paris" in text(ask(smollm2, SYSTEM, CAPITAL))


# --- what a reply is made of


def test_a_reply_comes_in_pieces_then_its_cost_then_why_it_ended(llm, ask):
    *pieces, cost, finish = ask(llm, "tell me a story", max_tokens=20)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert not pieces[0][0].isspace()
    assert cost.completion_tokens == 20
    assert finish == Finish("length")


def test_the_likeliest_tokens_are_those_that_transformers_itself_chooses(tiny, loaded, ask):
    pieces = ask(loaded(temperature=0, repeat_penalty=1), "tell me a long story", max_tokens=30)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "tell me a long story"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    output = model.generate(**prompt, max_new_tokens=30, do_sample=False)
    expected = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :])
    assert text(pieces) == expected.lstrip()


def test_a_gguf_file_gives_the_reply_that_its_model_gives_as_safetensors(
    tiny_gguf, llm, loaded, ask
):
    packed = loaded(tiny_gguf, temperature=0)
    for said in ("hello", "tell me a long story", "word " * 100):
        assert ask(packed, said, max_tokens=20)[:-2] == ask(llm, said, max_tokens=20)[:-2]


def test_the_same_seed_gives_the_same_reply_and_another_one_another(loaded, ask):
    one, other = loaded(seed=1, temperature=1.0), loaded(seed=2, temperature=1.0)
    first = text(ask(one, "hello"))
    assert first == text(ask(one, "hello"))
    assert first != text(ask(other, "hello"))


def test_without_a_seed_each_reply_is_a_new_one(loaded, ask):
    llm = loaded(seed=None, temperature=1.0)
    assert text(ask(llm, "hello")) != text(ask(llm, "hello"))


def test_the_random_numbers_of_the_program_are_left_alone(loaded, ask):
    llm = loaded(seed=3, temperature=1.0)
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    ask(llm, "hello", max_tokens=5)
    llm.warm_up_model()
    assert torch.equal(torch.rand(4), expected)


def test_a_low_share_of_the_likeliest_leaves_one(loaded, llm, ask):
    narrow = loaded(temperature=1.0, top_p=1e-6)
    assert ask(narrow, "hello", max_tokens=20)[:-2] == ask(llm, "hello", max_tokens=20)[:-2]


def test_a_penalty_keeps_the_same_words_from_coming_again(loaded, ask):
    def variety(penalty):
        said = ask(loaded(temperature=0, repeat_penalty=penalty), "word " * 100, max_tokens=60)
        return len(set(said))

    assert variety(2.0) > 1.5 * variety(1.0)


def test_what_a_repository_recommends_does_not_change_what_a_reply_is(
    tiny, llm, loaded, ask, tmp_path
):
    expected = ask(llm, "hello", max_tokens=20)
    likeliest = llm._loaded.engine.tokenizer.encode(expected[0], add_special_tokens=False)
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    recommended = {"suppress_tokens": likeliest, "repetition_penalty": 9.0, "max_length": 4}
    (tmp_path / "generation_config.json").write_text(json.dumps(recommended))
    assert ask(loaded(tmp_path, temperature=0), "hello", max_tokens=20)[:-2] == expected[:-2]


def test_a_token_that_the_repository_says_ends_a_reply_ends_it(tiny, llm, loaded, ask, tmp_path):
    whole = ask(llm, "hello", max_tokens=20)
    tokenizer = llm._loaded.engine.tokenizer
    (end,) = tokenizer.encode(whole[5], add_special_tokens=False)
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, end]}))
    *pieces, cost, finish = ask(loaded(tmp_path, temperature=0), "hello", max_tokens=20)
    assert pieces == whole[: whole.index(whole[5])]
    assert finish == Finish("stop")
    assert cost.completion_tokens == len(pieces) + 1


# --- what is read


def test_only_what_is_new_of_a_conversation_is_read(llm, ask, runs):
    said = [SYSTEM]
    for turn in range(4):
        said.append(Message("user", f"please tell me more about the number {turn}"))
        del runs[:]
        pieces = ask(llm, *said, max_tokens=10)
        said.append(Message("assistant", text(pieces)))
        cost = usage(pieces)
        assert cost.prompt_tokens - cost.cached_tokens == sum(runs) - 9
        if turn:
            assert cost.prompt_tokens - cost.cached_tokens < 60


def test_a_reply_is_the_same_whether_its_prompt_was_read_at_once_or_in_parts(llm, loaded, ask):
    story = "tell me a very long story about a fox " * 8
    ask(llm, story, max_tokens=7)
    ask(llm, story + "please", max_tokens=3)
    known = ask(llm, story + "thanks", max_tokens=20)
    fresh = ask(loaded(temperature=0), story + "thanks", max_tokens=20)
    assert usage(known).cached_tokens > 50
    assert usage(fresh).cached_tokens == 0
    assert known[:-2] == fresh[:-2]


def test_a_prompt_that_was_read_early_is_not_read_again(llm, ask):
    llm.warm(LLMRequest(messages=[Message("user", "why do they say that about cats")]))
    cost = usage(ask(llm, "why do they say that about cats", max_tokens=1))
    assert cost.prompt_tokens - cost.cached_tokens == 1


def test_a_prompt_is_read_in_pieces(llm, ask, runs):
    cost = usage(ask(llm, "number " * 150, max_tokens=1))
    assert cost.prompt_tokens > 150
    assert max(runs) <= 64


def test_a_failure_half_way_leaves_nothing_to_go_on_with(llm, ask, monkeypatch):
    whole = ask(llm, "hello you", max_tokens=8)
    engine = llm._loaded.engine
    layer = engine._model.model.layers[1]
    hook = layer.register_forward_pre_hook(_fail)
    with pytest.raises(GenerationError, match="transformers says 'RuntimeError: mine'"):
        ask(llm, "hello you and all", max_tokens=8)
    hook.remove()
    again = ask(llm, "hello you", max_tokens=8)
    assert usage(again).cached_tokens == 0
    assert again[:-2] == whole[:-2]


def _fail(*_):
    raise RuntimeError("mine\nand a trace of C++")


# --- stopping


@pytest.mark.parametrize("wanted", [1, 2, 7])
def test_it_stops_within_the_token_at_which_it_is_told_to(llm, ask, runs, wanted):
    pieces = []

    def emit(piece):
        pieces.append(piece)
        return len(pieces) == wanted

    llm.generate(LLMRequest(messages=[Message("user", "hello")], max_tokens=100), emit)
    assert len(pieces) == wanted
    assert len([n for n in runs if n == 1]) <= wanted


def test_what_emit_raises_comes_out_and_the_next_reply_works(llm, ask):
    def emit(_piece):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        llm.generate(LLMRequest(messages=[Message("user", "hello")]), emit)
    assert text(ask(llm, "hello", max_tokens=3))


# --- limits


def test_a_long_conversation_loses_its_oldest_turns_and_keeps_its_beginning(loaded, ask):
    llm = loaded(context_tokens=300, temperature=0)
    said, costs = [SYSTEM], []
    for turn in range(12):
        said.append(Message("user", f"please remember the number {turn} for me thanks"))
        pieces = ask(llm, *said, max_tokens=8)
        said.append(Message("assistant", text(pieces)))
        costs.append(usage(pieces))
    assert all(cost.prompt_tokens + 8 <= 300 for cost in costs)
    assert any(later.prompt_tokens < earlier.prompt_tokens for earlier, later in pairwise(costs))
    read = sorted(cost.prompt_tokens - cost.cached_tokens for cost in costs[1:])
    assert read[len(read) // 2] < 60


def test_a_message_longer_than_the_context_is_refused_with_the_counts(llm, ask):
    long = "word " * 1000
    with pytest.raises(
        ContextTooLongError,
        match=r"\b10\d\d tokens, but transformers reads at most 256 \(512 less 256 .*for 1024",
    ):
        ask(llm, "hello", Message("assistant", "say"), long)
    with pytest.raises(ContextTooLongError):
        llm.warm(LLMRequest(messages=[Message("user", long)]))
    assert text(ask(llm, "hello", max_tokens=3))


def test_a_bound_on_the_reply_longer_than_the_context_leaves_room_for_the_prompt(llm, ask):
    cost = usage(ask(llm, "hello", max_tokens=100_000))
    assert cost.prompt_tokens + cost.completion_tokens <= 512


@pytest.mark.parametrize("odd", ["", "\ud83d", "a\0b", "<|im_end|>", "\u202e" * 20, "{{ 1/0 }}"])
def test_odd_text_is_read(llm, ask, odd):
    assert isinstance(ask(llm, odd, max_tokens=3)[-1], Finish)


def test_messages_that_the_template_refuses_are_one_sentence(tiny, loaded, ask, tmp_path):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    refusing = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system, please.') }}"
        "{% endif %}<|im_start|>"
    )
    (tmp_path / "chat_template.jinja").write_text(refusing)
    llm = loaded(tmp_path)
    with pytest.raises(GenerationError, match=r"refuses the messages \(.*No system, please\); "):
        ask(llm, SYSTEM, "hello")
    assert text(ask(llm, "hello", max_tokens=3))


def test_a_model_that_can_think_aloud_is_told_not_to(tiny, loaded, ask, tmp_path):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    thinking = (
        "{% if enable_thinking is not defined or enable_thinking %}{{ raise_exception('Hm.') }}"
        "{% endif %}<|im_start|>assistant"
    )
    (tmp_path / "chat_template.jinja").write_text(thinking)
    assert text(ask(loaded(tmp_path), "hello", max_tokens=3))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_overflow_are_an_error_and_no_words(tiny, loaded, ask, number):
    llm = loaded()
    with torch.no_grad():
        llm._loaded.engine._model.lm_head.weight[3] = number
    with pytest.raises(GenerationError, match="too large for their type; set dtype='bfloat16'"):
        ask(llm, "hello")
    with pytest.raises(GenerationError):
        llm.warm_up_model()


def test_a_gpu_that_fails_in_the_middle_of_a_reply_is_said(llm, ask, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(llm._loaded.engine._model, "generate", full)
    monkeypatch.setattr(llm, "_wanted", "cuda:0")
    with pytest.raises(VramBudgetError, match="memory that may be used is full") as caught:
        ask(llm, "hello")
    assert (caught.value.component, caught.value.wanted) == ("transformers", "cuda:0")


def test_a_backend_that_is_not_loaded_says_so(ask):
    llm = TransformersLLM()
    llm.name = "transformers"
    for use in (lambda: ask(llm, "hello"), llm.warm_up_model):
        with pytest.raises(BackendUnavailableError, match="is not loaded"):
            use()
    llm.unload_model()
