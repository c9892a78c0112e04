"""What is said in a conversation: Role, Message, ToolCall and History.

All are immutable values; a History grows by making a longer one, and round-trips
through JSON and through the list of dictionaries that OpenAI-compatible servers take.
What may not live here: prompts, trimming to a model's context, or anything that calls a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, overload

from attrs import Attribute, evolve, field, frozen

from .errors import ConfigurationError

__all__ = ["History", "Message", "Role", "ToolCall"]


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


def _text(_value: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(
            f"A tool call's {attribute.name} is text, not {type(value).__name__}; pass a str."
        )


def _name(value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(
            f"A message's name is text, not {type(value).__name__}; pass a str or None."
        )
    return value or None  # no name is None everywhere, also where it was saved as ""


@frozen
class ToolCall:
    """The model asks for a function to be called."""

    id: str = field(validator=_text)
    name: str = field(validator=_text)
    arguments: str = field(validator=_text)
    """A JSON object, as the model wrote it."""


def _tool_calls(value: Iterable[ToolCall | Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        raise ConfigurationError(f"A message's tool calls are a list, not {value!r:.80}.")
    return tuple(c if isinstance(c, ToolCall) else _tool_call(c) for c in value)


def _tool_call(entry: Mapping[str, Any]) -> ToolCall:
    try:
        function = entry["function"]
        return ToolCall(entry["id"], function["name"], function["arguments"])
    except (KeyError, TypeError):
        raise ConfigurationError(
            "A tool call is a mapping with 'id' and 'function', which has 'name' and 'arguments', "
            f"not {entry!r:.80}."
        ) from None


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
    tool_calls: tuple[ToolCall, ...] = field(default=(), converter=_tool_calls, kw_only=True)
    """What the assistant asked for; `content` may then be empty."""
    tool_call_id: str | None = field(default=None, kw_only=True)
    """Of a tool's result: the call that it answers."""

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

    @tool_call_id.validator
    def _is_id(self, _attribute: object, value: object) -> None:
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(
                f"A message's tool_call_id is text, not {type(value).__name__}; pass a str."
            )

    def to_openai(self) -> dict[str, Any]:
        """Return the form that OpenAI-compatible chat servers take."""
        entry: dict[str, Any] = {"role": self.role.value, "content": self.content}
        if self.name:
            entry["name"] = self.name
        if self.tool_calls:
            entry["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            entry["tool_call_id"] = self.tool_call_id
        return entry


def _messages(value: Iterable[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    if not isinstance(value, Iterable):
        raise ConfigurationError(
            f"A history is a list of messages, not {type(value).__name__}; pass an evakit.History, "
            "or dictionaries with 'role' and 'content'."
        )
    return tuple(m if isinstance(m, Message) else _from_openai(m) for m in value)


def _from_openai(entry: Mapping[str, Any]) -> Message:
    has_content = isinstance(entry, Mapping) and ("content" in entry or entry.get("tool_calls"))
    if not has_content or "role" not in entry:
        raise ConfigurationError(
            "A message is a mapping with 'role' and 'content', "
            f"such as {{'role': 'user', 'content': 'Hello'}}, not {entry!r:.80}."
        )
    calls = entry.get("tool_calls") or ()
    content = entry.get("content")
    if content is None and calls:  # how servers say that there are only calls
        content = ""
    return Message(
        Role.SYSTEM if entry["role"] == "developer" else entry["role"],  # its newer name
        _joined(content),
        name=entry.get("name"),
        interrupted=entry.get("interrupted", False),
        tool_calls=calls,
        tool_call_id=entry.get("tool_call_id"),
    )


def _joined(content: Any) -> Any:
    """Return the text of a content that is given as parts."""
    if not isinstance(content, list | tuple):
        return content
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ConfigurationError(
                f"A message's content has a part that is no text ({kind!r:.40}); "
                "leave it out, or say in words what it shows."
            )
        texts.append(part["text"])
    return "".join(texts)


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

    def to_openai(self) -> list[dict[str, Any]]:
        """Return the form that OpenAI-compatible chat servers take."""
        return [message.to_openai() for message in self.messages]

    @classmethod
    def from_openai(cls, messages: Iterable[Mapping[str, Any]]) -> History:
        """Make a history from dictionaries with `role` and `content`.

        Content in parts is joined to text; a role `developer` is `system`.

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
