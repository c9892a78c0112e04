"""The switches that keep engines from calling home, each set in this one place.

A plugin imports ONNX Runtime through here, and calls `silence_hub_client` before it imports
an engine that brings the Hugging Face client along. What may not live here: anything else.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Final

from .errors import EvakitError

__all__ = ["import_onnxruntime", "silence_hub_client"]

# ONNX Runtime >= 1.29 sends telemetry on Linux too; it reads this once, as it is imported.
_ONNXRUNTIME_SWITCH: Final = "ORT_DISABLE_TELEMETRY"
# https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
_HUB_SWITCH: Final = "HF_HUB_DISABLE_TELEMETRY"


def import_onnxruntime() -> ModuleType:
    """Return the module `onnxruntime`, its telemetry switched off.

    Where the host program imported it earlier, its telemetry is switched off from now on.

    Raises:
        ImportError: ONNX Runtime is not installed, or its native library cannot be loaded.

    """
    os.environ[_ONNXRUNTIME_SWITCH] = "1"
    with warnings.catch_warnings():
        # A build for GPUs warns where CUDA's libraries are not loaded yet; whoever wants the GPU
        # is told by what becomes of it.
        warnings.filterwarnings("ignore", module=r"onnxruntime\b")
        module = import_module("onnxruntime")
    # Also where the variable was in time: it costs microseconds, and older releases for Windows
    # know only this one.
    module.disable_telemetry_events()
    return module


def silence_hub_client() -> None:
    """Switch the telemetry of `huggingface_hub` off; imports nothing.

    Raises:
        EvakitError: the host program imported a release whose telemetry cannot be switched off
            any more.

    """
    os.environ[_HUB_SWITCH] = "1"
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is None:
        return
    if not hasattr(constants, _HUB_SWITCH):
        raise EvakitError(
            "This program imported a release of huggingface_hub whose telemetry cannot be "
            f"switched off any more; set {_HUB_SWITCH}=1 before it starts."
        )
    setattr(constants, _HUB_SWITCH, True)
