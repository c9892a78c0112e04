"""How much of a GPU's memory a model will take. Looks at the head of its file and at sizes.

What may not live here: the engine, and what follows when it is too much.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ._gguf import GgufHead, check_gguf, parts_of, read_head

__all__ = ["estimate_vram"]

_WEIGHTS: Final = 1.1  # of the file: what is padded, and tables that are there and here
_F16: Final = 2  # bytes of a number in the cache
_F32: Final = 4  # bytes of a number at work


def estimate_vram(path: Path, *, tokens: int, chunk: int, model: str) -> int:
    """Return about how many bytes a model takes with all that it works with.

    `tokens` is what all its conversations may have together, `chunk` how many tokens it reads at
    once.

    Raises:
        ModelError: the file is missing, or no model.

    """
    check_gguf(path, model=model)
    head = read_head(path, model=model, with_tensors=False)
    weights = sum(part.stat().st_size for part in parts_of(path))
    return round(_WEIGHTS * weights) + _cache(head, tokens) + _work(head, tokens, chunk)


def _cache(head: GgufHead, tokens: int) -> int:
    """Return the size of the keys and values; 0 for an architecture without attention."""
    heads = head.number("attention.head_count") or 0
    width = (head.number("embedding_length") or 0) // max(1, heads)
    keys = head.number("attention.key_length") or width
    values = head.number("attention.value_length") or width
    shared = head.number("attention.head_count_kv") or heads
    return tokens * (head.number("block_count") or 0) * shared * (keys + values) * _F16


def _work(head: GgufHead, tokens: int, chunk: int) -> int:
    """Return the size of what is computed for one chunk: attention, a block, and the words."""
    attention = (head.number("attention.head_count") or 0) * tokens
    block = 4 * ((head.number("embedding_length") or 0) + (head.number("feed_forward_length") or 0))
    words = head.lengths.get("tokenizer.ggml.tokens", 0)
    return chunk * (attention + block + words) * _F32
