"""Tokens to text: whole characters, unchanged words, and when to stop."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from evakit.abc import Finish, Usage
from evakit_transformers._reply import Reply, TextStream

CORPUS = [
    "Hello world, how are you? Fine! " * 3,
    "naïve café — 🙂👍🏼 日本語 ça va",
    "a  b   c\n\nd",
] * 3


def bytes_and_words():
    """As GPT-2, Llama 3, Qwen and SmolLM have it: any byte is a token, a space is a byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def pieces_of_sentences():
    """As Llama 2 and Mistral have it: a word begins with its space, the first one's is dropped."""
    rare = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<end>", "<unk>", *rare], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS[:1], trainer)
    # Bytes that stand for characters are no special tokens, whatever the trainer made of them.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] == "<end>"]
    return Tokenizer.from_str(json.dumps(state))


TOKENIZERS = {"bytes": bytes_and_words(), "sentencepiece": pieces_of_sentences()}
PARTS = ["Hello", " world", ",", "🙂", "👍🏼", "日本", "é", "  ", "\n", "a"]
texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(PARTS)).map("".join),
)


def decode(tokenizer):
    return lambda tokens: tokenizer.decode(list(tokens), skip_special_tokens=True)


def streamed(tokenizer, tokens):
    stream = TextStream(decode(tokenizer))
    return [*map(stream.push, tokens), stream.rest()]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=texts)
def test_the_pieces_of_a_text_are_the_text(kind, text):
    tokenizer = TOKENIZERS[kind]
    tokens = tokenizer.encode(text).ids
    pieces = streamed(tokenizer, tokens)
    assert "".join(pieces) == decode(tokenizer)(tokens).rstrip("\ufffd")
    if "\ufffd" not in text and tokenizer.decode(tokens) == text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(data=st.data())
def test_any_tokens_at_all_give_what_they_give_together(data):
    tokenizer = TOKENIZERS["bytes"]
    tokens = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), max_size=30))
    assert "".join(streamed(tokenizer, tokens)) == decode(tokenizer)(tokens).rstrip("\ufffd")


def test_an_emoji_of_several_tokens_comes_at_once():
    tokenizer = TOKENIZERS["sentencepiece"]
    tokens = tokenizer.encode("Hello 🙂").ids
    pieces = [piece for piece in streamed(tokenizer, tokens) if piece]
    assert pieces[-1] == "🙂"
    assert len(tokens) >= len(pieces) + 3


def test_half_of_a_character_at_the_end_is_not_told():
    tokenizer = TOKENIZERS["bytes"]
    tokens = tokenizer.encode("a€").ids  # not in the corpus: a token a byte
    assert len(tokens) == 4
    assert "".join(streamed(tokenizer, tokens[:-1])) == "a"


WORDS = {1: " one", 2: " two", 3: "  ", 4: "!"}
COST = Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=2)


def replied(tokens, leave_at=None):
    pieces = []

    def emit(piece):
        pieces.append(piece)
        return piece == leave_at

    reply = Reply(lambda some: "".join(WORDS[token] for token in some), {0}, emit)
    stopped = [reply.take(token) for token in tokens]
    reply.end(COST)
    return pieces, stopped


def test_a_reply_begins_with_a_letter_and_ends_with_its_cost_and_why():
    pieces, stopped = replied([3, 1, 2, 3, 4, 0])
    assert pieces == ["one", " two", "  ", "!", COST, Finish("stop")]
    assert stopped == [False] * 5 + [True]


def test_a_reply_that_is_cut_off_says_so():
    assert replied([1, 2])[0] == ["one", " two", COST, Finish("length")]


def test_a_reply_that_is_left_gives_nothing_more():
    assert replied([1, 2], leave_at=" two") == (["one", " two"], [False, True])
    assert replied([1], leave_at=COST)[0] == ["one", COST]
