"""Replies of the real model: text, cost, prefixes, stopping, limits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from evakit.abc import Finish, LLMRequest, Usage
from evakit.chat import Message
from evakit.errors import BackendUnavailableError, ContextTooLongError, GenerationError
from evakit_llamacpp import LlamaCppLLM

SYSTEM = Message("system", "You are a helpful voice assistant. Answer in one short sentence.")
CAPITAL = (SYSTEM, Message("user", "What is the capital of France?"))
STORY = (SYSTEM, Message("user", "Tell me a very long story about a fox."))


def ask(llm, messages, **fields) -> list:
    pieces = []
    llm.generate(LLMRequest(messages=messages, **fields), pieces.append)
    return pieces


def text(pieces) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def usage(pieces) -> Usage:
    (found,) = (piece for piece in pieces if isinstance(piece, Usage))
    return found


def test_a_reply_comes_in_pieces_then_its_cost_then_why_it_ended(llm):
    *pieces, cost, finish = ask(llm, CAPITAL)
    assert len(pieces) > 3
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert "Paris" in text(pieces)
    assert not pieces[0][0].isspace()
    assert finish == Finish("stop")
    assert cost.prompt_tokens > 20
    assert cost.completion_tokens >= len(pieces)


def test_the_same_seed_gives_the_same_reply_and_another_one_another(load):
    replies = []
    for seed in (1, 1, 2):
        llm = load(seed=seed, temperature=1.0)
        replies.append(text(ask(llm, STORY, max_tokens=30)))
        llm.unload_model()
    assert replies[0] == replies[1] != replies[2]


def test_a_reply_ends_at_the_length_that_was_asked_for(llm):
    pieces = ask(llm, STORY, max_tokens=5)
    assert usage(pieces).completion_tokens == 5
    assert pieces[-1] == Finish("length")


def test_two_alternating_conversations_read_only_what_is_new(llm):
    histories = {name: [SYSTEM] for name in ("Anna", "Boris", "Chloe")}
    for turn in range(3):
        for name, history in histories.items():
            history.append(Message("user", f"{name} wants to know more about the number {turn}."))
            pieces = ask(llm, history, conversation_id=name, max_tokens=10)
            history.append(Message("assistant", text(pieces)))
            cost = usage(pieces)
            if turn:
                assert cost.cached_tokens > 35 * turn
                assert cost.prompt_tokens - cost.cached_tokens < 30


def test_a_prompt_that_was_read_early_is_not_read_again(llm):
    messages = (SYSTEM, Message("user", "Why do cats purr when somebody holds them?"))
    llm.warm(LLMRequest(messages=messages))
    cost = usage(ask(llm, messages, max_tokens=1))
    assert cost.prompt_tokens - cost.cached_tokens == 1


@pytest.mark.parametrize("wanted", [1, 2, 7])
def test_decoding_stops_within_one_token(llm, wanted, settled):
    pieces = []

    def emit(piece):
        pieces.append(piece)
        return len(pieces) == wanted

    before = llm._engine.metrics()["n_decode_total"]
    llm.generate(LLMRequest(messages=STORY, max_tokens=200), emit)
    after = settled(llm)["n_decode_total"]
    assert len(pieces) == wanted
    assert after - before <= wanted + 1
    assert "Paris" in text(ask(llm, CAPITAL))


def test_what_emit_raises_comes_out_and_the_next_reply_works(llm):
    def emit(_piece):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        llm.generate(LLMRequest(messages=STORY), emit)
    assert "Paris" in text(ask(llm, CAPITAL))


def test_a_long_conversation_loses_its_oldest_turns_and_keeps_its_prefix(load):
    llm = load(context_tokens=256, temperature=0)
    try:
        history, costs = [SYSTEM], []
        for turn in range(12):
            history.append(Message("user", f"Please remember the number {turn} for me, thanks."))
            pieces = ask(llm, history, max_tokens=8)
            history.append(Message("assistant", text(pieces)))
            costs.append(usage(pieces))
        assert all(cost.prompt_tokens + 8 <= 256 for cost in costs)
        total = [cost.prompt_tokens for cost in costs]
        assert any(later < earlier for earlier, later in pairwise(total))
        read = [cost.prompt_tokens - cost.cached_tokens for cost in costs[1:]]
        assert sorted(read)[len(read) // 2] < 40
    finally:
        llm.unload_model()


def test_a_message_longer_than_the_context_is_refused_with_the_counts(llm):
    long = (SYSTEM, *CAPITAL[1:], Message("assistant", "Paris."), Message("user", "word " * 1000))
    with pytest.raises(ContextTooLongError, match=r"\b10\d\d tokens, .* at most 768 \(1024 less"):
        ask(llm, long)
    with pytest.raises(ContextTooLongError):
        llm.warm(LLMRequest(messages=long))
    assert "Paris" in text(ask(llm, CAPITAL))


def test_a_bound_on_the_reply_longer_than_the_context_leaves_room_for_the_prompt(llm):
    pieces = ask(llm, CAPITAL, max_tokens=100_000)
    assert pieces[-1] == Finish("stop")


@pytest.mark.parametrize("odd", ["", "\ud83d", "a\0b", "<|im_end|>", "\u202e" * 20])
def test_odd_text_is_read(llm, odd):
    assert isinstance(ask(llm, (Message("user", odd),), max_tokens=3)[-1], Finish)


def test_what_the_engine_refuses_becomes_one_sentence(llm, monkeypatch):
    monkeypatch.setitem(llm._sampling, "temperature", "hot")
    with pytest.raises(GenerationError, match=r"llama\.cpp says .*must be number"):
        ask(llm, CAPITAL)


def test_a_backend_that_is_not_loaded_says_so():
    llm = LlamaCppLLM()
    llm.name = "llamacpp"
    with pytest.raises(BackendUnavailableError, match="is not loaded"):
        ask(llm, CAPITAL)
    llm.unload_model()
