"""Replies from a local model through llama.cpp: the LLM backend `llamacpp`.

What may not live here: an import of xllamacpp; it is imported when a model loads.
"""

from __future__ import annotations

from collections.abc import Iterable

from evakit.hookspecs import hookimpl
from evakit.registry import BackendSpec

from ._llm import LlamaCppLLM
from ._models import MODELS

__all__ = ["LlamaCppLLM", "evakit_backends"]


@hookimpl
def evakit_backends() -> Iterable[BackendSpec]:
    """Describe the LLM `llamacpp`."""
    return [
        BackendSpec(
            kind="llm",
            name="llamacpp",
            factory=LlamaCppLLM,
            capabilities=LlamaCppLLM.capabilities,
            models=MODELS,
            requires=("xllamacpp",),
            description="any GGUF model, in this process",
        )
    ]
