"""Tokens to the pieces of a reply, a token at a time: pure but for `emit`.

A token is no word and not even a character: an emoji is often several, and some tokenizers write
the space before a word only when something stands before it. What may not live here: the
tokenizer, and choosing tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from evakit.abc import Finish, Usage
from evakit.abc.llm import Emit

__all__ = ["Reply", "TextStream"]

Decode = Callable[[Sequence[int]], str]

_INCOMPLETE: Final = "\ufffd"
"""What tokenizers write for bytes that are no character, or not yet one."""


class TextStream:
    """Decodes tokens one by one, so that the pieces together are the text of all of them.

    A token is decoded with those of the piece before it, which makes it come out as it does in
    the whole; text is held back while it ends in the middle of a character.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._given = 0  # of the tokens, those whose text was given out
        self._text_given = ""  # which is this

    def push(self, token: int) -> str:
        """Return the text that is complete with this token; "" when none is."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if text.endswith(_INCOMPLETE) or len(text) <= len(self._text_given):
            return ""
        piece = text[len(self._text_given) :]
        self._tokens = self._tokens[self._given :]
        self._given = len(self._tokens)
        self._text_given = self._decode(self._tokens)
        return piece

    def rest(self) -> str:
        """Return what was held back, without the half of a character at its end."""
        text = self._decode(self._tokens)
        return text[len(self._text_given) :].rstrip(_INCOMPLETE)


class Reply:
    """Emits one reply."""

    def __init__(self, decode: Decode, ends: Collection[int], emit: Emit) -> None:
        self._text = TextStream(decode)
        self._ends = ends
        self._emit = emit
        self._reason = "length"
        self._begun = False
        self._is_left = False

    def take(self, token: int) -> bool:
        """Emit what is complete with a token; True when it is the last."""
        if token in self._ends:
            self._reason = "stop"
            return True
        return self._tell(self._text.push(token))

    def end(self, cost: Usage) -> None:
        """Emit what is left to say, what the reply cost and why it ended."""
        if not self._is_left and not self._tell(self._text.rest()) and not self._emit(cost):
            self._emit(Finish(self._reason))

    def _tell(self, text: str) -> bool:
        if not self._begun:
            text = text.lstrip()
        if text:
            self._begun = True
            self._is_left = bool(self._emit(text))
        return self._is_left
