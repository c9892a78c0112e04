"""llama.cpp passes the suite that every LLM has to pass, with the real starter model."""

from __future__ import annotations

import pytest

from evakit.abc import LoadContext
from evakit.testing.conformance import LLMConformance
from evakit_llamacpp import LlamaCppLLM


class TestLlamaCpp(LLMConformance):
    @pytest.fixture
    def backend(self):
        return LlamaCppLLM(context_tokens=512)

    @pytest.fixture
    def load_context(self, backend, store):
        return LoadContext(models={m.name: store.ensure(m) for m in backend.models()})
