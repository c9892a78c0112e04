"""What is sent to the engine, and what comes back, its errors among it: pure but for `emit`.

The form is that of OpenAI's chat completions, with llama.cpp's additions
(https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md).
What may not live here: xllamacpp, and choosing what is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from evakit.abc import Finish, Usage, stop_asked
from evakit.abc.llm import Emit
from evakit.chat import Message

__all__ = [
    "TOO_LONG",
    "EngineClosedError",
    "EngineError",
    "Reply",
    "encodable",
    "written",
]

TOO_LONG: Final = "exceed_context_size_error"
"""The type of the engine's error about a prompt that is longer than the context."""


class EngineError(Exception):
    """The engine refused a request or failed at it."""

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class EngineClosedError(Exception):
    """The model was unloaded."""


class Reply:
    """Takes the chunks of one reply apart."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._begun = False

    def take(self, chunk: dict[str, Any]) -> bool:
        """Emit what a chunk holds; True to stop."""
        if "prompt_progress" in chunk and stop_asked():
            return True
        for choice in chunk["choices"]:
            text = choice["delta"].get("content") or ""
            if not self._begun:
                text = text.lstrip()
            if text:
                self._begun = True
                if self._emit(text):
                    return True
            if choice["finish_reason"]:
                usage = _usage(chunk["timings"])
                return self._emit(usage) or self._emit(Finish(choice["finish_reason"]))
        return False


def _usage(timings: dict[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=timings["cache_n"] + timings["prompt_n"],
        cached_tokens=timings["cache_n"],
        completion_tokens=timings["predicted_n"],
    )


def written(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return messages as the engine takes them."""
    return [{"role": m.role.value, "content": encodable(m.content)} for m in messages]


def encodable(text: str) -> str:
    """Replace lone surrogates, which the engine's JSON parser refuses."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
