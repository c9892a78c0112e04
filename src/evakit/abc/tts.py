"""Text to speech: TTS, its session, and BlockingTTS for engines that take a clause at a time.

What may not live here: splitting text into clauses, normalising it, playing audio.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
import numpy as np
from attrs import evolve, frozen

from .. import _threads
from ..audio import Audio
from ..errors import UnknownVoiceError
from ..models import Model
from ..transcript import Word
from ..voices import Voice
from .backend import Backend, BlockingBackend

__all__ = ["TTS", "BlockingTTS", "Speech", "TTSOptions", "TTSSession"]


@frozen(kw_only=True)
class TTSOptions:
    """What may differ from one reply to the next."""

    voice: Voice | None = None
    """Who speaks; None is the backend's default, where it has one."""
    language: str | None = None
    """The language of the text, as a tag; None is the voice's own."""


@frozen
class Speech:
    """A chunk of synthesised audio."""

    audio: Audio
    words: tuple[Word, ...] | None = None
    """Where its words lie, in samples from the start of *this* chunk; None when unknown, empty
    when none ends in it.

    A word that is cut by the border of two chunks stands with the one in which it ends, and its
    start is negative there.
    """
    clauses: int = 0
    """How many of the texts written are completely spoken with the end of this chunk, which may
    then have no samples. Count them also where there are `words`, whose number is not that of
    the written ones: "2024" may be four. (Where none is counted, words are taken one for one.)"""


class TTSSession(ABC):
    """One reply on its way to speech: text is written at one side, `Speech` comes out at the other.

    Use as an async context manager: leaving the block stops the synthesis. Writing and
    iterating are done by two tasks.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop and give the session's state back; what was not spoken is dropped."""

    @abstractmethod
    async def write(self, text: str) -> None:
        """Take the next unit to speak: a clause, without white space around it.

        Waits while enough is queued. Once the iteration has ended or failed, raises nothing
        and does nothing.
        """

    @abstractmethod
    async def end(self) -> None:
        """Say that no more text will come; the iteration ends when all of it is spoken."""

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Speech:
        """Return the next chunk, in the order of the text.

        Raises:
            SynthesisError: the engine failed.

        """


class TTS(Backend):
    """Turns text into speech."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices that it is known to have; the first that fits is a language's default."""
        return ()

    def find_voice(self, name: str) -> Voice:
        """Return the voice of that name; may know more than `voices` lists. Touches no network.

        Raises:
            UnknownVoiceError: there is no such voice.

        """
        for voice in self.voices:
            if voice.name == name:
                return voice
        known = ", ".join(v.name for v in self.voices) or "none by name"
        raise UnknownVoiceError(f"{self.name} has no voice {name!r}; it has {known}.")

    def voice_models(self, voice: Voice) -> tuple[Model, ...]:
        """Name the models that `voice` needs; fetched and checked before `prepare_voice`."""
        del voice
        return ()

    async def prepare_voice(self, voice: Voice, models: Mapping[str, Path]) -> None:
        """Make ready to speak as `voice`; called after `load`, before its first session.

        A TTS with voices loads none of them in `load`, so that only those asked for are there.

        `models` holds, for each of `voice_models(voice)`, the folder with its checked files.

        Raises:
            ModelError: the voice's files are missing or wrong.

        """

    @abstractmethod
    def open(self, options: TTSOptions) -> TTSSession:
        """Start a reply. Several sessions may be open at once."""


class BlockingTTS(BlockingBackend, TTS):
    """A TTS whose engine takes a clause at a time: write `synthesize`."""

    @abstractmethod
    def synthesize(
        self, text: str, options: TTSOptions
    ) -> Iterable[Audio | Speech] | Audio | Speech:
        """Return the speech of one clause, or yield it in chunks; in a worker thread.

        A hop to the thread is made for each chunk, and one clause is spoken after the other,
        unless the capabilities say that it `serves_many_at_once`. What it returns is closed
        when it is no longer wanted. Text with nothing to say in it, such as an ellipsis, gives no
        audio. Of a `Speech`, `clauses` is not looked at: it is over when the iteration is.

        Raises:
            SynthesisError: the engine failed.

        """

    def load_voice(self, voice: Voice, models: Mapping[str, Path]) -> None:
        """Make ready to speak as `voice`; in a worker thread. See `TTS.prepare_voice`."""

    async def prepare_voice(self, voice: Voice, models: Mapping[str, Path]) -> None:
        """Run `load_voice` in a worker thread."""
        await _threads.run(self.load_voice, voice, models, lane=self._lane, backend=self.name)

    def open(self, options: TTSOptions) -> TTSSession:
        """Start a reply that is synthesised clause by clause."""
        return _Clauses(self, options)


class _Clauses(TTSSession):
    """Hands clauses to `BlockingTTS.synthesize`, one after the other, as they are asked for."""

    def __init__(self, backend: BlockingTTS, options: TTSOptions) -> None:
        self._backend = backend
        self._options = options
        # Clauses are short and wait here while an earlier one is spoken; the bound keeps a
        # fast LLM from running a whole book ahead of the voice.
        self._write, self._read = anyio.create_memory_object_stream[str](8)
        self._speech: _threads.ThreadIterator[Speech] | None = None
        self._is_closed = False

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        self._write.close()
        self._read.close()
        if self._speech is not None:
            await self._speech.__aexit__(exc_type, exc, traceback)

    async def write(self, text: str) -> None:
        try:
            await self._write.send(text)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def end(self) -> None:
        self._write.close()

    async def __anext__(self) -> Speech:
        if self._speech is None:
            try:
                text = await self._read.receive()
            except anyio.EndOfStream:
                raise StopAsyncIteration from None
            if self._is_closed:
                raise StopAsyncIteration
            self._speech = _threads.ThreadIterator(
                lambda: self._synthesize(text),
                lane=self._backend._lane,
                backend=self._backend.name,
            )
        try:
            return await self._speech.__anext__()
        except StopAsyncIteration:
            self._speech = None
            return _CLAUSE_OVER

    def _synthesize(self, text: str) -> Iterator[Speech]:
        """Yield each chunk as it is made; in a worker thread."""
        made = self._backend.synthesize(text, self._options)
        if isinstance(made, Audio | Speech):
            made = (made,)
        try:
            for piece in made:
                # `_CLAUSE_OVER` counts the clause.
                yield evolve(piece, clauses=0) if isinstance(piece, Speech) else Speech(piece)
        finally:
            close = getattr(made, "close", None)
            if close is not None:
                close()


# Audio of no length has a rate too, which then means nothing.
_CLAUSE_OVER: Final = Speech(Audio(np.zeros(0, np.float32), 16_000), clauses=1)
