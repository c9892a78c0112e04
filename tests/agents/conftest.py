"""The agents of the examples with scripted models, and no network beyond this machine."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import stand_ins


@pytest.fixture
def anyio_backend():
    """asyncio: three of the four libraries know no other event loop."""
    return "asyncio"


@pytest.fixture
def script():
    script = stand_ins.Script()
    yield script
    script.open()  # a thread that still waits ends


@pytest.fixture(params=stand_ins.ALL)
def brain(request, script):
    return stand_ins.ALL[request.param](script)


@pytest.fixture(params=stand_ins.ASYNC)
def async_brain(request, script):
    return stand_ins.ASYNC[request.param](script)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A library that calls home fails the test."""

    def refuse(*address):
        pytest.fail(f"something looked up an address on the network: {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
