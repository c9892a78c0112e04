"""Replies from a local model through transformers and PyTorch: the LLM backend `transformers`.

What may not live here: an import of torch or transformers; they are imported when a model loads.
"""

from __future__ import annotations

from collections.abc import Iterable

from evakit.hookspecs import hookimpl
from evakit.registry import BackendSpec

from ._llm import TransformersLLM
from ._models import MODELS

__all__ = ["TransformersLLM", "evakit_backends"]


@hookimpl
def evakit_backends() -> Iterable[BackendSpec]:
    """Describe the LLM `transformers`."""
    return [
        BackendSpec(
            kind="llm",
            name="transformers",
            factory=TransformersLLM,
            capabilities=TransformersLLM.capabilities,
            models=MODELS,
            requires=("torch", "transformers", "accelerate", "gguf"),
            description="models of the Hugging Face hub, on PyTorch",
        )
    ]
