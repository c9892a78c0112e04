"""evakit-whisper: the STT `whisper` (faster-whisper) and the VAD `silero` (ONNX Runtime).

This module describes them; neither engine is imported before its backend loads.
What may not live here: work.
"""

from __future__ import annotations

from collections.abc import Iterable

from evakit.hookspecs import hookimpl
from evakit.registry import BackendSpec

from ._models import PINNED
from ._stt import WhisperSTT
from ._vad import SileroVAD

__all__ = ["SileroVAD", "WhisperSTT", "evakit_backends"]


@hookimpl
def evakit_backends() -> Iterable[BackendSpec]:
    """Describe the STT `whisper` and the VAD `silero`."""
    return (
        BackendSpec(
            kind="stt",
            name="whisper",
            factory=WhisperSTT,
            capabilities=WhisperSTT.capabilities,
            models=PINNED,
            # The VAD says whether there is anything to transcribe, so its engine is needed too.
            requires=("faster_whisper", "onnxruntime"),
            description="Whisper on CTranslate2: any size, many languages, on this machine",
        ),
        BackendSpec(
            kind="vad",
            name="silero",
            factory=SileroVAD,
            capabilities=SileroVAD.capabilities,
            # The network itself is a file of faster-whisper, which is not imported for it.
            requires=("onnxruntime", "faster_whisper"),
            description="Silero VAD v6 on ONNX Runtime: one thread, no spinning",
        ),
    )
