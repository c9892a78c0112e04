"""A model of 300 kB that knows nothing, and has an engine do all that a real one has it do.

Written for a trial on a GPU, which is to cost neither a download nor time. What may not live here:
reading models.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["write_tiny_model"]

# A Llama of one block, as small as llama.cpp's kernels take it.
_WIDTH: Final = 64
_HEADS: Final = 2
_INNER: Final = 128
_CONTEXT: Final = 256

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_U32, _I32, _F32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_ALIGNMENT: Final = 32
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6  # kinds of tokens
_TOKENS: Final = (
    ("<unk>", _UNKNOWN),
    ("<s>", _CONTROL),
    ("</s>", _CONTROL),
    *((f"<0x{byte:02X}>", _BYTE) for byte in range(256)),
)


def write_tiny_model(path: Path) -> None:
    """Write the model to `path`, the same bytes each time."""
    values = tuple(_values())
    tensors = tuple(_tensors())
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(values))
    parts = [head, *values]
    offset = 0
    for name, shape in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        parts.append(_text(name) + dimensions + struct.pack("<IQ", 0, offset))  # 0: 32-bit floats
        offset += _size(shape)
    about = b"".join(parts)
    with path.open("wb") as file:
        file.write(about + bytes(-len(about) % _ALIGNMENT))
        for name, shape in tensors:
            file.write(_weights(name, _size(shape)))


def _values() -> Iterator[bytes]:
    yield _value("general.architecture", _STRING, _text("llama"))
    for name, number in {
        "context_length": _CONTEXT,
        "embedding_length": _WIDTH,
        "block_count": 1,
        "feed_forward_length": _INNER,
        "attention.head_count": _HEADS,
        "vocab_size": len(_TOKENS),
        "rope.dimension_count": _WIDTH // _HEADS,
    }.items():
        yield _value(f"llama.{name}", _U32, struct.pack("<I", number))
    yield _value("llama.attention.layer_norm_rms_epsilon", _F32, struct.pack("<f", 1e-5))
    yield _value("tokenizer.ggml.model", _STRING, _text("llama"))
    yield _array("tokenizer.ggml.tokens", _STRING, [_text(token) for token, _ in _TOKENS])
    yield _array("tokenizer.ggml.scores", _F32, [bytes(4)] * len(_TOKENS))
    yield _array(
        "tokenizer.ggml.token_type", _I32, [struct.pack("<i", kind) for _, kind in _TOKENS]
    )
    yield _value("tokenizer.ggml.bos_token_id", _U32, struct.pack("<I", 1))
    yield _value("tokenizer.ggml.eos_token_id", _U32, struct.pack("<I", 2))


def _tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give each tensor's name and shape, the innermost dimension first."""
    yield "token_embd.weight", (_WIDTH, len(_TOKENS))
    for name in ("attn_norm", "ffn_norm"):
        yield f"blk.0.{name}.weight", (_WIDTH,)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield f"blk.0.{name}.weight", (_WIDTH, _WIDTH)
    for name in ("ffn_gate", "ffn_up"):
        yield f"blk.0.{name}.weight", (_WIDTH, _INNER)
    yield "blk.0.ffn_down.weight", (_INNER, _WIDTH)
    yield "output_norm.weight", (_WIDTH,)
    yield "output.weight", (_WIDTH, len(_TOKENS))


def _weights(name: str, size: int) -> bytes:
    """Return norms of one, and for the others small numbers that are not all the same."""
    count = size // 4
    if "norm" in name:
        return struct.pack("<f", 1.0) * count
    return struct.pack(f"<{count}f", *((index * 37 % 101 - 50) / 500 for index in range(count)))


def _size(shape: Sequence[int]) -> int:
    size = 4
    for dimension in shape:
        size *= dimension
    return size  # a multiple of the alignment, as each shape begins with one


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(name: str, kind: int, data: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + data


def _array(name: str, kind: int, items: Sequence[bytes]) -> bytes:
    return _value(name, _ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))
