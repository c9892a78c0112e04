"""Text to speech with Piper: the TTS backend `piper`.

What may not live here: an import of piper or onnxruntime; they load with the first voice.
"""

from __future__ import annotations

from collections.abc import Iterable

from evakit.hookspecs import hookimpl
from evakit.registry import BackendSpec

from ._models import MODELS
from ._tts import PiperTTS
from ._voices import VOICES

__all__ = ["PiperTTS", "evakit_backends"]


@hookimpl
def evakit_backends() -> Iterable[BackendSpec]:
    """Describe the TTS `piper`."""
    return [
        BackendSpec(
            kind="tts",
            name="piper",
            factory=PiperTTS,
            capabilities=PiperTTS.capabilities,
            voices=VOICES,
            models=MODELS,
            requires=("piper", "onnxruntime"),
            description="neural voices in many languages, on this machine",
        )
    ]
