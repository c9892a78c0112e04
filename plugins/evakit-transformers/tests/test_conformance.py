"""transformers passes the suites that every LLM and every local model has to pass."""

from __future__ import annotations

import pytest

from evakit.testing.conformance import LLMConformance, PlacementConformance
from evakit_transformers import TransformersLLM


class TestTransformers(LLMConformance, PlacementConformance):
    @pytest.fixture
    def backend(self, tiny):
        return TransformersLLM(str(tiny), context_tokens=512, threads=1)
