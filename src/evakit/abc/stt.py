"""Speech to text: STT, its session, and BlockingSTT for engines that take a whole utterance.

What may not live here: endpointing, cleaning up text, anything about a particular engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from attrs import field, frozen

from .. import _threads
from ..audio import Audio
from ..transcript import Transcript
from .backend import Backend, BlockingBackend

__all__ = ["STT", "BlockingSTT", "STTOptions", "STTSession", "STTUpdate"]


@frozen(kw_only=True)
class STTOptions:
    """What may differ from one utterance to the next."""

    languages: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    """Empty: detect the language. One: it is spoken. Several: it is one of these."""
    wants_words: bool = False
    """Whether word positions are needed; they may cost time."""


@frozen
class STTUpdate:
    """News from a session while audio is still coming."""

    transcript: Transcript
    """All of the utterance so far; what an earlier update said may have been revised."""
    ends_turn: bool = False
    """The engine judges that the speaker is done."""


class STTSession(ABC):
    """One utterance on its way to text. Use as an async context manager."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the session's state back; what was not finished is dropped."""

    @abstractmethod
    async def feed(self, audio: Audio) -> None:
        """Take the next piece of the utterance, at the backend's `sample_rate`.

        Raises:
            AudioFormatError: the audio has another sample rate.
            TranscriptionError: the engine failed.

        """

    @abstractmethod
    async def finish(self) -> Transcript:
        """Return the final transcript of all that was fed; empty when nothing was said.

        Raises:
            TranscriptionError: the engine failed.

        """

    def updates(self) -> AsyncIterator[STTUpdate]:
        """Iterate over interim transcripts; ends when `finish` returns, at the latest.

        May give none, need not be read, and is read beside `feed` and `finish` by another task:
        a session with one connection for both shares it out. Not an async generator, which is
        left half-way when `finish` returns first.

        Raises:
            TranscriptionError: the engine failed; `finish`, where it is still to come, fails too.

        """
        return _NoUpdates()


class _NoUpdates:
    """The updates of an engine that has none."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> STTUpdate:
        raise StopAsyncIteration


class STT(Backend):
    """Turns speech into text."""

    sample_rate: int = 16_000
    """The sample rate, in hertz, at which sessions want their audio."""

    @abstractmethod
    def open(self, options: STTOptions) -> STTSession:
        """Start an utterance. Several sessions may be open at once.

        Raises:
            UnknownLanguageError: the model does not know one of `options.languages`.

        """


class BlockingSTT(BlockingBackend, STT):
    """An STT whose engine takes a whole utterance at once: write `transcribe`."""

    @abstractmethod
    def transcribe(self, audio: Audio, options: STTOptions) -> Transcript:
        """Return the transcript of `audio`; in a worker thread.

        Raises:
            TranscriptionError: the engine failed.

        """

    def open(self, options: STTOptions) -> STTSession:
        """Start an utterance that is transcribed when it is finished."""
        return _Utterance(self, options)


class _Utterance(STTSession):
    """Collects an utterance and hands it to `BlockingSTT.transcribe` as a whole."""

    def __init__(self, backend: BlockingSTT, options: STTOptions) -> None:
        self._backend = backend
        self._options = options
        self._pieces: list[Audio] = []

    async def feed(self, audio: Audio) -> None:
        audio.require_sample_rate(self._backend.sample_rate)
        self._pieces.append(audio)

    async def finish(self) -> Transcript:
        audio = Audio.join(self._pieces, sample_rate=self._backend.sample_rate)
        if not len(audio):
            return Transcript("")
        return await _threads.run(
            self._backend.transcribe,
            audio,
            self._options,
            lane=self._backend._lane,
            backend=self._backend.name,
        )
