"""Voice activity detection: VAD, its session, and BlockingVAD for plain functions.

A VAD says how likely there is speech *now*. What may not live here: endpointing, which
makes utterances of those probabilities, and thresholds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from .. import _threads
from ..errors import AudioFormatError
from .backend import Backend, BlockingBackend

__all__ = ["VAD", "BlockingVAD", "BlockingVADSession", "VADSession"]


class VADSession(ABC):
    """One stream of audio, frame by frame. Use as an async context manager."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the session's state back; does nothing unless overridden."""

    @abstractmethod
    async def probability(self, frame: npt.NDArray[np.float32]) -> float:
        """Return how likely there is speech in `frame`, in [0, 1].

        `frame` has shape (frame_size,), float32, in [-1, 1], and follows the one before.

        Raises:
            AudioFormatError: the frame has another size.
            DetectionError: the engine failed. (A VAD that fails is not silence.)

        """


class VAD(Backend):
    """Judges whether there is speech in a frame of audio."""

    sample_rate: int = 16_000
    """Hertz."""
    frame_size: int = 512
    """Samples in a frame."""

    @abstractmethod
    def open(self) -> VADSession:
        """Start a stream. Several sessions may be open at once."""


class BlockingVADSession(ABC):
    """One stream of audio, frame by frame, in plain functions."""

    @abstractmethod
    def probability(self, frame: npt.NDArray[np.float32]) -> float:
        """Return how likely there is speech in `frame`; see `VADSession.probability`."""


class BlockingVAD(BlockingBackend, VAD):
    """A VAD whose engine blocks: write `start`."""

    answers_within_a_millisecond: bool = False
    """Say True of an engine so fast that a hop to a thread would cost more than its answer: it
    is then called on the event loop, which a slower one would hold up."""

    @abstractmethod
    def start(self) -> BlockingVADSession:
        """Return the state of a new stream."""

    def open(self) -> VADSession:
        """Start a stream."""
        return _Frames(self, self.start())


class _Frames(VADSession):
    def __init__(self, backend: BlockingVAD, session: BlockingVADSession) -> None:
        self._backend = backend
        self._session = session

    async def probability(self, frame: npt.NDArray[np.float32]) -> float:
        if frame.shape != (self._backend.frame_size,):
            raise AudioFormatError(
                f"{self._backend.name} judges frames of {self._backend.frame_size} samples, not "
                f"an array of shape {frame.shape}; cut the audio with Audio.frames()."
            )
        if self._backend.answers_within_a_millisecond:
            return self._session.probability(frame)
        return await _threads.run(
            self._session.probability,
            frame,
            lane=self._backend._lane,
            backend=self._backend.name,
        )
