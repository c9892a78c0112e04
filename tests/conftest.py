"""Fixtures of all tests: both event loops, and an environment without the developer's settings."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """No test sees the settings of whoever runs it; the models' folder alone is shared."""
    for name in list(os.environ):
        if name.startswith("EVAKIT_") and name != "EVAKIT_HOME":
            monkeypatch.delenv(name)
