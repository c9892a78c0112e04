"""Fixtures: the real starter model."""

from __future__ import annotations

import time

import pytest

from evakit.abc import LoadContext
from evakit.models import ModelStore
from evakit_llamacpp import LlamaCppLLM
from evakit_llamacpp._models import SMOLLM2


@pytest.fixture(scope="session")
def folder():
    """The folder with the starter model, fetched where it is not here yet."""
    return ModelStore().ensure(SMOLLM2)


@pytest.fixture(scope="session")
def gguf(folder):
    """The starter model's file."""
    return folder / SMOLLM2.files[0].name


@pytest.fixture(scope="session")
def load(folder):
    """A function that loads a backend with options."""

    def loaded(**options) -> LlamaCppLLM:
        llm = LlamaCppLLM(**({"context_tokens": 512} | options))
        llm.name = "llamacpp"
        llm.load_model(LoadContext(models={SMOLLM2.name: folder}))
        return llm

    return loaded


@pytest.fixture(scope="module")
def llm(load):
    """A loaded backend with room for two replies at once."""
    llm = load(context_tokens=1024, temperature=0)
    yield llm
    llm.unload_model()


@pytest.fixture(scope="session")
def settled():
    """A function that waits until an engine is idle and returns its counters."""

    def wait(llm) -> dict[str, float]:
        deadline = time.monotonic() + 5  # it takes no longer than the piece that is being read
        while time.monotonic() < deadline:
            metrics = llm._engine.metrics()
            if not metrics["requests_processing"]:
                return metrics
        pytest.fail("the engine goes on")

    return wait
