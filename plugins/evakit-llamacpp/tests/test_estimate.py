"""How much memory a model will take, from what its file says of itself."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.abc import LoadContext
from evakit.errors import ModelError
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._estimate import estimate_vram
from evakit_llamacpp._gguf import parts_of, read_head
from evakit_llamacpp._models import SMOLLM2

MIB = 2**20


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def head(*pairs, tensors=b"", count=0):
    return struct.pack("<4sIQQ", b"GGUF", 3, count, len(pairs)) + b"".join(pairs) + tensors


def number(name, value):
    return text(name) + struct.pack("<II", 4, value)


def numbers(name, values):
    return (
        text(name)
        + struct.pack("<IIQ", 9, 5, len(values))
        + struct.pack(f"<{len(values)}i", *values)
    )


def words(values):
    return (
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", 9, 8, len(values))
        + b"".join(text(value) for value in values)
    )


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")


@pytest.fixture
def written(tmp_path):
    """A function that writes a file and returns its path."""

    def write(data, name="m.gguf"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def test_the_real_model_takes_its_file_its_cache_and_its_work(gguf):
    # What llama.cpp says: 92.1 MiB for the model, 22.5 MiB for 1024 tokens.
    weights = gguf.stat().st_size
    one = estimate_vram(gguf, tokens=1024, chunk=64, model="m")
    two = estimate_vram(gguf, tokens=2048, chunk=64, model="m")
    work = 64 * 1024 * 9 * 4  # attention: nine heads
    assert two - one == 22.5 * MIB + work
    assert weights * 1.1 + 22.5 * MIB < one < weights * 1.1 + 22.5 * MIB + 32 * MIB


def test_the_backend_estimates_for_all_that_it_serves_at_once(folder):
    context = LoadContext(models={SMOLLM2.name: folder})
    one = LlamaCppLLM(parallel=1, context_tokens=1024).vram_estimate(context)
    two = LlamaCppLLM(parallel=2, context_tokens=1024).vram_estimate(context)
    assert two == LlamaCppLLM(parallel=1, context_tokens=2048).vram_estimate(context)
    assert two - one > 22 * MIB


def test_without_its_file_nothing_is_estimated():
    assert LlamaCppLLM().vram_estimate(LoadContext()) is None
    assert LlamaCppLLM("/no/such.gguf").vram_estimate(LoadContext()) is None


def test_all_parts_of_a_model_count(written, tiny):
    data = tiny.read_bytes()
    whole = written(data, "whole.gguf")
    names = [f"m[1]-0000{part}-of-00002.gguf" for part in (1, 2)]
    first, second = (written(data, name) for name in names)
    written(data, "m[1]-00001-of-00003.gguf")
    assert parts_of(first) == (first, second)
    assert parts_of(whole) == (whole,)
    arguments = {"tokens": 256, "chunk": 64, "model": "m"}
    more = estimate_vram(first, **arguments) - estimate_vram(whole, **arguments)
    assert more == pytest.approx(1.1 * len(data), abs=1)


def test_blocks_that_differ_count_as_the_largest(written):
    path = written(
        head(ARCHITECTURE, numbers("llama.attention.head_count_kv", [0, 8, 2]), words([]))
    )
    assert read_head(path, model="m", with_tensors=False).number("attention.head_count_kv") == 8


def test_an_architecture_without_attention_has_no_cache(written):
    path = written(head(ARCHITECTURE, number("llama.block_count", 4), words(["a", "b"])))
    size = path.stat().st_size
    assert estimate_vram(path, tokens=10**6, chunk=64, model="m") == round(1.1 * size) + 64 * 2 * 4


def test_the_words_of_a_tokenizer_are_counted_and_not_kept(written):
    path = written(head(ARCHITECTURE, words(["a"] * 5000), number("llama.block_count", 4)))
    read = read_head(path, model="m", with_tensors=True)
    assert read.lengths["tokenizer.ggml.tokens"] == 5000
    assert "tokenizer.ggml.tokens" not in read.values
    assert read.number("block_count") == 4
    assert read.number("context_length") is None


def test_the_tables_for_the_input_are_told_from_the_other_tensors(tiny):
    assert read_head(tiny, model="m", with_tensors=True).input_bytes == 64 * 259 * 4


def test_a_table_at_the_end_ends_with_the_file(written):
    tensors = b"".join(
        text(name) + struct.pack("<IQIQ", 1, 8, 0, offset)
        for name, offset in (("output.weight", 0), ("token_embd.weight", 64))
    )
    data = head(ARCHITECTURE, tensors=tensors, count=2)
    data += bytes(-len(data) % 32) + bytes(64 + 40)
    assert read_head(written(data), model="m", with_tensors=True).input_bytes == 40


@given(st.integers(0, 200), st.dictionaries(st.integers(24, 140), st.integers(0, 255), max_size=3))
def test_a_file_that_was_cut_off_or_damaged_is_read_or_refused(tmp_path_factory, length, bytes_at):
    whole = head(ARCHITECTURE, number("llama.block_count", 4), words(["ab", "c"]))
    damaged = bytearray(whole)
    for place, value in bytes_at.items():
        if place < len(damaged):
            damaged[place] = value
    path = tmp_path_factory.mktemp("damaged") / "m.gguf"
    path.write_bytes(bytes(damaged[: 24 + length]))
    with suppress(ModelError):
        read_head(path, model="m", with_tensors=True)


@pytest.mark.parametrize("length", range(24, 160, 8))
def test_a_file_that_was_cut_off_is_refused_with_a_sentence(written, length):
    whole = head(ARCHITECTURE, number("llama.block_count", 4), words(["ab", "cde", "f" * 40]))
    assert len(whole) > 160
    with pytest.raises(ModelError, match=r"m\.gguf is damaged: .*; download it again"):
        read_head(written(whole[:length]), model="m", with_tensors=True)
