"""Choosing the next token: the same seed gives the same reply, and nobody else's chance changes.

transformers draws from torch's one generator of random numbers, which belongs to the whole
process; here each reply draws from its own. Imported when a model loads. What may not live here:
running the model.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from ._problems import OverflowedError

__all__ = ["Sampler"]

_SAID_JUST_NOW: Final = 64  # tokens, as in llama.cpp


class Sampler:
    """Chooses each token of one reply, on the device on which the model's output is.

    One of the processors that `generate` takes: it leaves the chosen token alone possible.
    """

    def __init__(
        self, *, temperature: float, top_p: float, repeat_penalty: float, seed: int | None
    ) -> None:
        self._penalty = RepetitionPenaltyLogitsProcessor(float(repeat_penalty))
        self._warpers: Any = None  # none: take the likeliest
        if temperature > 0:
            self._warpers = LogitsProcessorList(
                [TemperatureLogitsWarper(float(temperature)), TopPLogitsWarper(float(top_p))]
            )
        self._seed = seed
        self._random: Any = None

    def __call__(self, ids: Any, scores: Any) -> Any:
        """Return `scores`, shape (1, n_tokens), with the chosen token at 0 and all else at -inf.

        Raises:
            OverflowedError: the scores are no numbers.

        """
        scores = self._penalty(ids[:, -_SAID_JUST_NOW:], scores)
        if not math.isfinite(scores.max().item()):  # a NaN among them is the greatest
            raise OverflowedError
        if self._warpers is None:
            chosen = scores.argmax(dim=-1, keepdim=True)
        else:
            likely = self._warpers(ids, scores).softmax(dim=-1)
            chosen = torch.multinomial(likely, 1, generator=self._generator(scores.device))
        return torch.full_like(scores, -math.inf).scatter_(1, chosen, 0.0)

    def _generator(self, device: Any) -> Any:
        if self._random is None:
            self._random = torch.Generator(device=device)
            if self._seed is None:
                self._random.seed()
            else:
                self._random.manual_seed(self._seed)
        return self._random
