"""Prompts: messages as the tokens that a model was trained to read them as.

Imported when a model loads. What may not live here: the model, and which old turns go
(`_context.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from jinja2 import TemplateError

from evakit.chat import Message
from evakit.errors import ModelError

from ._context import fit
from ._problems import PromptError, TooLongError

__all__ = ["Prompts"]

_REMEMBERED: Final = 1024  # messages whose tokens need not be counted again


class Prompts:
    """Makes prompts with a model's own chat template."""

    def __init__(self, tokenizer: Any, *, context: int, model: str) -> None:
        """Try the template.

        Raises:
            ModelError: there is none, or it cannot be used.

        """
        self._tokenizer = tokenizer
        self.context = context
        """Tokens that a prompt and its reply may have together."""
        if not tokenizer.chat_template:
            raise ModelError(
                f"{model} has no chat template; use a model that was made for conversations, "
                "which often has 'instruct' or 'chat' in its name.",
                model=model,
            )
        self._tokens = lru_cache(_REMEMBERED)(lambda text: len(self._encoded(text)))
        # What the template adds to each message, told from one turn more.
        one = [Message("user", "a")]
        more = [*one, Message("assistant", "a"), *one]
        try:
            added = len(self.ids(more)) - len(self.ids(one)) - 2 * self._tokens("a")
        except PromptError as error:
            raise ModelError(
                f"{model} has a chat template that cannot be used ({error}); use a model that was "
                "made for conversations.",
                model=model,
            ) from error
        self._around = max(0, -(-added // 2))

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a whole prompt.

        Raises:
            PromptError: the template takes no such messages.

        """
        written = [{"role": m.role.value, "content": _encodable(m.content)} for m in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                written,
                tokenize=False,
                add_generation_prompt=True,
                # For the templates of models that can think aloud; others know no such word.
                enable_thinking=False,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise PromptError(f"{type(error).__name__}: {error}".rstrip(".")) from error
        return self._encoded(text)

    def fitting(self, messages: Sequence[Message], reserved: int) -> list[int]:
        """Return the tokens of a prompt that leaves room for `reserved` more, without the oldest
        turns where not all of them fit.

        Raises:
            TooLongError: the system prompt and the last turn do not fit.
            PromptError: the template takes no such messages.

        """
        space = self.context - reserved
        kept, tokens = fit(
            messages,
            space,
            count=lambda some: len(self.ids(some)),
            cost=lambda message: self._tokens(_encodable(message.content)) + self._around,
        )
        if tokens > space:
            raise TooLongError(tokens, space=space, context=self.context)
        return self.ids(kept)

    def _encoded(self, text: str) -> list[int]:
        # The template has written what begins a text already.
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids


def _encodable(text: str) -> str:
    """Replace lone surrogates, which tokenizers refuse."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
