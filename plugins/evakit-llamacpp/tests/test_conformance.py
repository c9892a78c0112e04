"""What every LLM must do, asked of the real model."""

from __future__ import annotations

import pytest

from evakit.abc import LoadContext
from evakit.testing.conformance import LLMConformance
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._models import SMOLLM2


class TestLlamaCppLLM(LLMConformance):
    @pytest.fixture
    def backend(self):
        llm = LlamaCppLLM(context_tokens=256)
        llm.name = "llamacpp"
        return llm

    @pytest.fixture
    def load_context(self, folder):
        return LoadContext(models={SMOLLM2.name: folder})
