"""What is said in a conversation: Role, Message and History.

All three are immutable values; a History grows by making a longer one, and round-trips
through JSON and through the list of dictionaries that OpenAI-compatible servers take.
What may not live here: prompts, trimming to a model's context, or anything that calls a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, overload

from attrs import evolve, field, frozen

from .errors import ConfigurationError

__all__ = ["History", "Message", "Role"]


class Role(StrEnum):
    """Who a message is from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


def _role(value: str | Role) -> Role:
    try:
        return Role(value)
    except ValueError:
        names = ", ".join(Role)
        raise ConfigurationError(
            f"A message cannot have the role {value!r}; use one of {names}."
        ) from None


def _name(value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(
            f"A message's name is text, not {type(value).__name__}; pass a str or None."
        )
    return value or None  # no name is None everywhere, also where it was saved as ""


@frozen
class Message:
    """One entry of the history."""

    role: Role = field(converter=_role)
    content: str = field()
    """For the assistant: what was played, which after an interruption is less than was written."""
    name: str | None = field(default=None, converter=_name)
    """Who spoke, where several people share a microphone."""
    interrupted: bool = field(default=False)
    """Whether the reply was cut short by the user."""

    @content.validator
    def _is_text(self, _attribute: object, value: object) -> None:
        if not isinstance(value, str):
            raise ConfigurationError(
                f"A message's content is text, not {type(value).__name__}; pass a str."
            )

    @interrupted.validator
    def _is_bool(self, _attribute: object, value: object) -> None:
        if not isinstance(value, bool):
            raise ConfigurationError(
                f"A message's 'interrupted' is true or false, not {value!r:.80}; pass a bool."
            )


def _messages(value: Iterable[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(m if isinstance(m, Message) else _from_openai(m) for m in value)


def _from_openai(entry: Mapping[str, Any]) -> Message:
    if not isinstance(entry, Mapping) or not {"role", "content"} <= entry.keys():
        raise ConfigurationError(
            "A message is a mapping with 'role' and 'content', "
            f"such as {{'role': 'user', 'content': 'Hello'}}, not {entry!r:.80}."
        )
    return Message(
        entry["role"],
        entry["content"],
        name=entry.get("name"),
        interrupted=entry.get("interrupted", False),
    )


@frozen
class History:
    """The messages of a conversation, oldest first, the system prompt not among them."""

    messages: tuple[Message, ...] = field(default=(), converter=_messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Message | History:
        if isinstance(index, slice):
            return History(self.messages[index])
        return self.messages[index]

    def append(self, *messages: Message) -> History:
        """Return a history with `messages` at its end; this one stays as it is."""
        return evolve(self, messages=(*self.messages, *messages))

    def to_openai(self) -> list[dict[str, str]]:
        """Return the form that OpenAI-compatible chat servers take."""
        return [
            {"role": m.role.value, "content": m.content} | ({"name": m.name} if m.name else {})
            for m in self.messages
        ]

    @classmethod
    def from_openai(cls, messages: Iterable[Mapping[str, Any]]) -> History:
        """Make a history from dictionaries with `role` and `content`.

        Raises:
            ConfigurationError: an entry has no role or content, or one that is unknown.

        """
        return cls(messages)

    def to_json(self) -> str:
        """Return a JSON array that `from_json` turns back into an equal history."""
        entries = [
            entry | ({"interrupted": True} if message.interrupted else {})
            for entry, message in zip(self.to_openai(), self.messages, strict=True)
        ]
        return json.dumps(entries, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> History:
        """Make a history from what `to_json` wrote.

        Raises:
            ConfigurationError: the text is not JSON, or not a list of messages.

        """
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"This is not a saved history (JSON: {error}); pass what History.to_json() wrote."
            ) from error
        if not isinstance(entries, list):
            raise ConfigurationError(
                "A saved history is a JSON array of messages; pass what History.to_json() wrote."
            )
        return cls(entries)
