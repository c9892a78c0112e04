"""Prefix: what the model has read last, so that only what is new of the next prompt is read.

Imported when a model loads. What may not live here: running the model, and counting what a
conversation may have.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

__all__ = ["Prefix"]


class Prefix:
    """The keys and values of the tokens that were read last, of one conversation at a time.

    Not every model has them in a form that can be cut and read on in pieces: with windows or a
    recurrent state, each prompt is read whole.
    """

    def __init__(self, model: Any) -> None:
        self._config = model.config.get_text_config(decoder=True)
        self.can_continue: bool = "past_key_values" in inspect.signature(
            model.forward
        ).parameters and all(type(layer) is DynamicLayer for layer in self._new().layers)
        """Whether a prompt can be read in pieces."""
        self._cache: Any = None
        self._ids: list[int] = []

    def take(self, ids: Sequence[int]) -> tuple[Any, int]:
        """Return what to read the prompt `ids` on with, and how many of its tokens that holds.

        At least one token is left to be read. It is out of this object until `keep`, so that a
        failure half-way leaves nothing of it behind.
        """
        if not self.can_continue:
            return None, 0
        cache, known = self._cache, self._ids
        self._cache, self._ids = None, []
        common = _common(known, ids[:-1])
        if cache is None or common == 0:
            return self._new(), 0
        cache.crop(common - len(known))  # negative: as many are taken off
        return cache, common

    def keep(self, cache: Any, ids: Sequence[int]) -> None:
        """Keep what was read of `ids`, the prompt and the reply to it."""
        if cache is not None:
            self._cache = cache
            self._ids = list(ids[: cache.get_seq_length()])

    def forget(self) -> None:
        """Let go of what was read."""
        self._cache, self._ids = None, []

    def _new(self) -> Any:
        return DynamicCache(config=self._config)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the longest common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
