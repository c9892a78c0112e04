"""The two services, and audio that the STT among them understands."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from evakit import Audio

sys.path.insert(0, str(Path(__file__).parent))  # the plugins import their vendor's library

import servers


@pytest.fixture
def saying():
    """Make audio in which the service hears a word for each level; a 0 is silence."""

    def make(*levels: int) -> Audio:
        wave = np.sin(2 * np.pi * 200 * np.arange(servers.FRAME) / servers.RATE)
        pieces = [0.1 * level * wave / np.abs(wave).max() for level in levels]
        return Audio(np.concatenate(pieces), servers.RATE)

    return make


@pytest.fixture
def stt_service(no_socket_left):
    with servers.STTService() as service:
        yield service


@pytest.fixture
def tts_service(no_socket_left):
    with servers.TTSService() as service:
        yield service


@pytest.fixture
def no_socket_left():
    before = len(psutil.Process().net_connections("tcp"))
    yield
    assert len(psutil.Process().net_connections("tcp")) == before
