"""SileroVAD: the VAD `silero`, frame by frame.

What may not live here: the network (`_silero.py`) and thresholds.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import numpy.typing as npt

from evakit.abc import BlockingVAD, BlockingVADSession, Evidence, LoadContext, WarmUp
from evakit.devices import Device
from evakit.errors import DetectionError, DeviceError

from ._silero import FRAME, Silero, SileroStream, load_silero

__all__ = ["SileroVAD"]

_WARM_UP: Final = 10  # frames


class SileroVAD(BlockingVAD):
    """Silero VAD v6: 32 ms frames at 16 kHz, about 0.1 ms of one core each."""

    name = "silero"
    model_name = "silero-vad-v6"
    sample_rate = 16_000
    frame_size = FRAME
    answers_within_a_millisecond = True

    def __init__(self) -> None:
        self._silero: Silero | None = None

    def load_model(self, context: LoadContext) -> None:
        """Load the network that faster-whisper carries.

        Raises:
            BackendUnavailableError: ONNX Runtime or faster-whisper is not installed.
            DeviceError: another device than the CPU was asked for.
            ModelIntegrityError: the network's file is not the known one.

        """
        if context.device.name != "cpu":
            raise DeviceError(
                f"{self.name} runs on the CPU by design, where a frame takes 0.1 ms; "
                "do not ask for another device.",
                component=self.name,
                wanted=context.device.name,
            )
        self._silero = load_silero(self.name)

    def unload_model(self) -> None:
        """Give the network back."""
        self._silero = None

    def start(self) -> BlockingVADSession:
        """Return the state of a new stream.

        Raises:
            DetectionError: the backend is not loaded.

        """
        return _Stream(SileroStream(self._loaded()))

    def warm_up_model(self) -> WarmUp:
        """Judge a few frames.

        Raises:
            DetectionError: ONNX Runtime failed, or the backend is not loaded.

        """
        stream = self.start()
        begun = time.perf_counter()
        for _ in range(_WARM_UP):
            stream.probability(np.zeros(self.frame_size, np.float32))
        return WarmUp(seconds=time.perf_counter() - begun, amount=_WARM_UP, unit="frames")

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where ONNX Runtime put the network's operators: on the CPU, by design."""
        return () if self._silero is None else self._silero.evidence()

    def quick_check(self) -> Device:
        """Say where the session is.

        Raises:
            DeviceError: it is not loaded.

        """
        if self._silero is None:
            raise DeviceError(
                f"{self.name} is not loaded, so it is nowhere; load it before it is looked for.",
                component=self.name,
            )
        return self._silero.where()

    def _loaded(self) -> Silero:
        if self._silero is None:
            raise DetectionError(
                f"{self.name} is not loaded; load it before a stream is opened.", backend=self.name
            )
        return self._silero


class _Stream(BlockingVADSession):
    def __init__(self, stream: SileroStream) -> None:
        self._stream = stream

    def probability(self, frame: npt.NDArray[np.float32]) -> float:
        return float(self._stream.probabilities(frame)[0])
