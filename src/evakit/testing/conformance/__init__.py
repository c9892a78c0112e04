"""Conformance suites: what every backend must do, whatever its engine. One class a kind, and
`PlacementConformance` for those that load a model in this process.

Inherit the class of your backend's kind in your tests, and give it your backend::

    class TestMyTTS(TTSConformance):
        xfail = {"test_no_text_is_no_speech": "the engine clears its throat, issue 12"}

        @pytest.fixture
        def backend(self):
            return MyTTS()  # not loaded

Override the fixture `load_context` where loading needs models. Needs pytest; runs on the event
loops of the fixture `anyio_backend`. What may not live here: tests that know an engine.
"""

from __future__ import annotations

from .llm import LLMConformance
from .placement import PlacementConformance
from .stt import STTConformance
from .tts import TTSConformance
from .turn_detector import TurnDetectorConformance
from .vad import VADConformance

__all__ = [
    "LLMConformance",
    "PlacementConformance",
    "STTConformance",
    "TTSConformance",
    "TurnDetectorConformance",
    "VADConformance",
]
