"""What a model's file says of itself in its head, before any tensor.

Of a file that is no model the engine says only "failed to init server", and of one that is, which
of its tensors it looks things up in and never moves to a GPU. What may not live here: the
contents of tensors, which are the engine's business.
"""

from __future__ import annotations

import glob
import mmap
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from evakit.errors import ModelError

__all__ = ["GgufHead", "check_gguf", "parts_of", "read_head"]

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: magic, version, two counts of 8 bytes
_HEADER: Final = struct.Struct("<4sIQQ")
_VERSIONS: Final = (2, 3)  # what llama.cpp reads
_STRING, _ARRAY = 8, 9  # kinds of values
_SCALARS: Final = {
    kind: struct.Struct(f"<{code}")
    for kind, code in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
_KIND: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<Q")
_LISTED: Final = 4096  # a number for each block; the tables of tokens are longer
_PART: Final = re.compile(r"-\d{5}(?=-of-\d{5}\.gguf$)", re.IGNORECASE)
# llama-arch.cpp: those that it counts to LLM_TENSOR_LAYER_INPUT.
_INPUT: Final = frozenset(
    {"token_embd", "token_types", "position_embd", "per_layer_token_embd", "token_embd_norm"}
)


@frozen(kw_only=True)
class GgufHead:
    """What stands before the tensors."""

    values: Mapping[str, Any]
    """Numbers, strings, and short lists of numbers."""
    lengths: Mapping[str, int]
    """How many entries each list has, the long ones too."""
    input_bytes: int | None
    """The size of the tables that turn tokens into numbers; None when only values were read."""

    def number(self, name: str) -> int | None:
        """Return a number about the architecture, the highest where there is one for each block.

        `name` is what follows the architecture's own: `block_count`. None where there is none.
        """
        value = self.values.get(f"{self.values.get('general.architecture')}.{name}")
        if isinstance(value, list):
            value = max(value, default=None)
        return value if isinstance(value, int) else None


def check_gguf(path: Path, *, model: str) -> None:
    """Look at the first bytes of a model's file.

    Raises:
        ModelError: there is no such file, or it is not GGUF, or of a version that is not read.

    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except FileNotFoundError:
        raise ModelError(
            f"There is no file {path}; correct the path or name another model.", model=model
        ) from None
    except OSError as error:
        raise ModelError(
            f"{path} could not be read ({error.strerror or error}); name a .gguf file that can be.",
            model=model,
        ) from error
    if not header.startswith(b"GGUF"):
        raise ModelError(
            f"{path} is not a GGUF model; download it again, or convert the model to GGUF first.",
            model=model,
        )
    if len(header) < _HEADER.size:
        raise ModelError(f"{path} ends after {len(header)} bytes; download it again.", model=model)
    version = _HEADER.unpack(header)[1]
    if version not in _VERSIONS:
        raise ModelError(
            f"{path} is GGUF of version {version}, which llama.cpp does not read; "
            "download a newer file of this model.",
            model=model,
        )


def parts_of(path: Path) -> tuple[Path, ...]:
    """Return all files of a model; a large one is cut into numbered files beside the first."""
    if (number := _PART.search(path.name)) is None:
        return (path,)
    start, end = path.name[: number.start()], path.name[number.end() :]
    pattern = f"{glob.escape(start)}-[0-9][0-9][0-9][0-9][0-9]{glob.escape(end)}"
    return tuple(sorted(path.parent.glob(pattern))) or (path,)


def read_head(path: Path, *, model: str, with_tensors: bool) -> GgufHead:
    """Read a file that `check_gguf` has let pass.

    Without the list of tensors it ends at the table of tokens, and takes less than a millisecond.

    Raises:
        ModelError: the file is damaged.

    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reading(data).head(with_tensors=with_tensors)
    except (struct.error, KeyError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is damaged: its head cannot be read ({error}); download it again.", model=model
        ) from error


class _Reading:
    """A position in a file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = _HEADER.size
        self._tensors, self._pairs = _HEADER.unpack_from(data)[2:]
        self._lengths: dict[str, int] = {}

    def head(self, *, with_tensors: bool) -> GgufHead:
        values: dict[str, Any] = {}
        for _ in range(self._pairs):
            name = self._string()
            kind = self._take(_KIND)
            if kind == _ARRAY:
                self._array(name, values)
                if name == "tokenizer.ggml.tokens" and not with_tensors:
                    break
            else:
                values[name] = self._value(kind)
        return GgufHead(
            values=values,
            lengths=self._lengths,
            input_bytes=self._input_bytes(values) if with_tensors else None,
        )

    def _array(self, name: str, values: dict[str, Any]) -> None:
        kind, length = self._take(_KIND), self._take(_LENGTH)
        self._lengths[name] = length
        if kind in _SCALARS and length > _LISTED:
            self._at += length * _SCALARS[kind].size
        elif kind in _SCALARS:
            values[name] = [self._take(_SCALARS[kind]) for _ in range(length)]
        elif kind == _STRING:
            unpack, at = _LENGTH.unpack_from, self._at
            for _ in range(length):  # the longest part by far: half a million in some files
                at += _LENGTH.size + unpack(self._data, at)[0]
            self._at = at
        else:
            raise ValueError(f"{name} is a list of kind {kind}")

    def _value(self, kind: int) -> Any:
        return self._string() if kind == _STRING else self._take(_SCALARS[kind])

    def _string(self) -> str:
        length = self._take(_LENGTH)
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise ValueError("a text goes beyond the file's end")
        return self._data[start : self._at].decode(errors="replace")

    def _take(self, form: struct.Struct) -> Any:
        value = form.unpack_from(self._data, self._at)[0]
        self._at += form.size
        return value

    def _input_bytes(self, values: Mapping[str, Any]) -> int:
        """Return the sizes of the input's tables; a tensor ends where the next begins."""
        starts: dict[int, str] = {}
        for _ in range(self._tensors):
            name = self._string()
            dimensions = self._take(_KIND)
            self._at += dimensions * _LENGTH.size + _KIND.size  # and the kind of its numbers
            starts[self._take(_LENGTH)] = name
        alignment = values.get("general.alignment", 32)
        end = len(self._data) - -(-self._at // alignment) * alignment
        ends = [*sorted(starts)[1:], end]
        return sum(
            ends[place] - start
            for place, start in enumerate(sorted(starts))
            if starts[start].partition(".")[0] in _INPUT
        )
