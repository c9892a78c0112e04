"""The fakes do at the contract what real backends do; the suites themselves."""

from __future__ import annotations

import pytest

from evakit.errors import ConfigurationError
from evakit.testing import EnergyVAD, ScriptedLLM, ScriptedSTT, ScriptedTurnDetector, ToneTTS
from evakit.testing.conformance import (
    LLMConformance,
    STTConformance,
    TTSConformance,
    TurnDetectorConformance,
    VADConformance,
)


class TestScriptedSTT(STTConformance):
    @pytest.fixture
    def backend(self):
        return ScriptedSTT(*["hello"] * 10)


class TestScriptedLLM(LLMConformance):
    @pytest.fixture
    def backend(self):
        return ScriptedLLM()


class TestToneTTS(TTSConformance):
    @pytest.fixture
    def backend(self):
        return ToneTTS()


class TestToneTTSWithWords(TTSConformance):
    @pytest.fixture
    def backend(self):
        return ToneTTS(gives_words=True)


class TestEnergyVAD(VADConformance):
    @pytest.fixture
    def backend(self):
        return EnergyVAD()


class TestScriptedTurnDetector(TurnDetectorConformance):
    @pytest.fixture
    def backend(self):
        return ScriptedTurnDetector(*[0.7] * 20)


class TestScriptedTurnDetectorWithoutAScript(TurnDetectorConformance):
    @pytest.fixture
    def backend(self):
        return ScriptedTurnDetector()


def test_an_expected_failure_of_no_test_is_refused():
    with pytest.raises(ConfigurationError, match="test_of_something_else"):
        type("TestTypo", (VADConformance,), {"xfail": {"test_of_something_else": "a typo"}})
