"""What evakit is tested with, shipped for the tests of programs and plugins that use it.

`fakes` are scripted backends, `gpus` a machine with simulated ones, `clock` is virtual time,
`strategies` are Hypothesis strategies for the values, `conformance` the suites that every backend
has to pass, `pytest_plugin` fixtures.
The names of `fakes`, `gpus` and `clock` can be had from here; they are imported when they are first
used, so that pytest and hypothesis are needed only by what uses them. What may not live here:
anything that a program needs to run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import run, virtual, virtual_time
    from .fakes import EnergyVAD, ScriptedLLM, ScriptedSTT, ScriptedTurnDetector, ToneTTS, speech
    from .gpus import PlacedTTS, SimulatedMachine, SimulatedModel, rtx_4090

# Where each name lives.
_HOMES = {
    "EnergyVAD": "fakes",
    "PlacedTTS": "gpus",
    "ScriptedLLM": "fakes",
    "ScriptedSTT": "fakes",
    "ScriptedTurnDetector": "fakes",
    "SimulatedMachine": "gpus",
    "SimulatedModel": "gpus",
    "ToneTTS": "fakes",
    "rtx_4090": "gpus",
    "run": "clock",
    "speech": "fakes",
    "virtual": "clock",
    "virtual_time": "clock",
}

__all__ = [
    "EnergyVAD",
    "PlacedTTS",
    "ScriptedLLM",
    "ScriptedSTT",
    "ScriptedTurnDetector",
    "SimulatedMachine",
    "SimulatedModel",
    "ToneTTS",
    "rtx_4090",
    "run",
    "speech",
    "virtual",
    "virtual_time",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evakit.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
