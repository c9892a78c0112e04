"""What goes wrong between here and the engine, and how it is said.

Free of torch and transformers, so that it can be named where they are not imported. What may not
live here: what torch says of a GPU (`_refusals.py`), and what goes wrong while a model loads.
"""

from __future__ import annotations

from evakit.errors import (
    BackendUnavailableError,
    ContextTooLongError,
    EvakitError,
    GenerationError,
)

from ._refusals import refusal

__all__ = [
    "EngineClosedError",
    "EngineError",
    "OverflowedError",
    "Problem",
    "PromptError",
    "TooLongError",
    "explained",
    "not_loaded",
]


class Problem(Exception):  # noqa: N818 (the root of those below)
    """A reply cannot be had."""


class EngineClosedError(Problem):
    """The model was unloaded."""


class EngineError(Problem):
    """transformers or torch failed; `__cause__` is their exception."""


class OverflowedError(Problem):
    """The model's numbers left the range of their type: no token is likelier than another."""


class PromptError(Problem):
    """The model's chat template takes no such messages; the text says why."""


class TooLongError(Problem):
    """The system prompt and the last turn do not fit into the space beside the reply."""

    def __init__(self, tokens: int, *, space: int, context: int) -> None:
        super().__init__(tokens, space, context)
        self.tokens = tokens
        self.space = space
        self.context = context


def not_loaded(backend: str) -> BackendUnavailableError:
    """Return the error for a backend that has no model, or has none any more."""
    return BackendUnavailableError(
        f"{backend} is not loaded; load it, or use a conversation that is open.",
        backend=backend,
        stage="llm",
    )


def explained(problem: Problem, *, backend: str, device: str, trained: int | None) -> EvakitError:
    """Return evakit's error for a problem; `trained` is the longest context of the model."""
    if isinstance(problem, EngineClosedError):
        return not_loaded(backend)
    if isinstance(problem, TooLongError):
        known = "" if trained is None else f" (the model was trained for {trained})"
        return ContextTooLongError(
            f"The last message and the system prompt have {problem.tokens} tokens, but {backend} "
            f"reads at most {problem.space} ({problem.context} less "
            f"{problem.context - problem.space} for the reply); shorten them, or set "
            f"context_tokens{known} or use another model.",
            backend=backend,
        )
    if isinstance(problem, PromptError):
        return GenerationError(
            f"{backend} could not reply: the model's chat template refuses the messages "
            f"({problem}); change them, or use another model.",
            backend=backend,
        )
    if isinstance(problem, OverflowedError):
        return GenerationError(
            f"{backend} could not reply: the model's numbers became too large for their type; set "
            "dtype='bfloat16' or 'float32', or use another model.",
            backend=backend,
        )
    cause = problem.__cause__ or problem
    refused = refusal(cause, component=backend, wanted=device)
    if refused is not None:
        return refused
    said = f"{type(cause).__name__}: {cause}".partition("\n")[0][:300]
    return GenerationError(
        f"{backend} could not reply: transformers says {said!r}; change the messages, or use "
        "another model.",
        backend=backend,
    )
