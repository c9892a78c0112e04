"""Plain functions as backends: the user's own STT, LLM or TTS without a class.

A function is sync or async, and returns a value, an iterator or an async iterator. What may
not live here: running it (`_foreign.py`), and what an agent library is like.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import anyio
import numpy as np
from attrs import evolve

from ._foreign import Call, Kind, name_of
from .abc import (
    LLM,
    STT,
    TTS,
    Backend,
    Capabilities,
    Finish,
    LLMChunk,
    LLMRequest,
    LLMStream,
    Speech,
    STTOptions,
    STTSession,
    STTUpdate,
    TTSOptions,
    TTSSession,
    Usage,
)
from .audio import Audio
from .chat import ToolCall
from .devices import Evidence, Strength
from .devices.device import CPU
from .devices.evidence import MODEL
from .errors import (
    ConfigurationError,
    GenerationError,
    SynthesisError,
    TranscriptionError,
    UnknownOptionError,
)
from .transcript import Transcript

__all__ = ["FunctionLLM", "FunctionSTT", "FunctionTTS", "Texts", "from_function", "name_of"]

Texts = str | Iterable[str] | AsyncIterable[str]
"""A text, or an iterator or async iterator over its pieces."""

_PATIENCE: Final = 60.0  # seconds without a piece; an agent that uses tools takes a while to begin
_AHEAD: Final = 8  # clauses, and chunks of speech, that may wait

_TEXT: Final = Kind(
    "llm", (str, ToolCall, Usage, Finish), "the reply's text (a str)", GenerationError
)
_HEARD: Final = Kind(
    "stt", (str, Transcript), "what was said (a str or an evakit.Transcript)", TranscriptionError
)
_SPEECH: Final = Kind(
    "tts",
    (Audio, Speech),
    "an evakit.Audio (Audio(samples, sample_rate), or Audio.load(data) for an encoded file)",
    SynthesisError,
)


class _Function:
    """What function backends share: the function, and how long a piece of it is waited for."""

    _kind: ClassVar[Kind]

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        timeout: float = _PATIENCE,
    ) -> None:
        self.name = name or name_of(function)
        self._function = function
        self._takes_options = _takes_options(function, self.name, self._kind.stage)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise ConfigurationError(
                f"timeout= of {self.name} is a positive number of seconds, not {timeout!r:.40}."
            )
        self._timeout = float(timeout)

    def evidence(self) -> tuple[Evidence, ...]:
        """Say that it runs in this process; where an engine behind it runs is not known."""
        says = "a function of this program; it says nothing of a model"
        return (Evidence(kind=MODEL, strength=Strength.DECLARED, device=CPU, says=says),)

    def _call(self, asked: object, options: object = None) -> Call:
        arguments = (asked, options) if self._takes_options else (asked,)
        return Call(
            self._function, *arguments, kind=self._kind, name=self.name, timeout=self._timeout
        )


def _takes_options(function: Callable[..., Any], name: str, stage: str) -> bool:
    """Say whether the function wants the options beside what it is asked to do.

    Raises:
        ConfigurationError: it cannot be called with what it is to be given.

    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins have none
        return False
    parameters = list(signature.parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [p for p in parameters if p.kind in kinds][1:2]
    # One that has a default of its own is the function's own business, unless it says `options`.
    wants = [p for p in second if p.default is p.empty or p.name == "options"]
    takes_options = bool(wants) and stage != "llm"
    try:
        signature.bind(*(None,) * (2 if takes_options else 1))
    except TypeError as error:
        given = {"stt": "an Audio", "llm": "an LLMRequest", "tts": "a text"}[stage]
        raise ConfigurationError(
            f"{name}{signature} cannot be called with {given} alone ({error}); give it one "
            f"parameter{'' if stage == 'llm' else ', or a second one for the options'}."
        ) from None
    return takes_options


class FunctionLLM(_Function, LLM):
    """An LLM that is a function of an `LLMRequest`."""

    # A function of the user's may do anything, so it is never called for a reply that may be
    # dropped.
    capabilities = Capabilities(serves_many_at_once=True, has_side_effects=True)
    _kind = _TEXT

    def reply(self, request: LLMRequest) -> LLMStream:
        """Start the function when the stream's block is entered."""
        return _Reply(self._call(request))


class _Reply(LLMStream):
    """What an LLM function gives, and in any case why it ended."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._has_ended = False

    async def __aenter__(self) -> Self:
        await self._call.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._call.__aexit__(exc_type, exc, traceback)

    async def __anext__(self) -> LLMChunk:
        try:
            piece: LLMChunk = await self._call.__anext__()
        except StopAsyncIteration:
            if self._has_ended:
                raise
            piece = Finish("stop")
        self._has_ended = self._has_ended or isinstance(piece, Finish)
        return piece


class FunctionSTT(_Function, STT):
    """An STT that is a function of an `Audio`.

    Of the pieces it yields, texts follow one another, and a `Transcript` stands for all so far.
    """

    capabilities = Capabilities(serves_many_at_once=True)
    _kind = _HEARD

    def __init__(
        self, function: Callable[..., Any], *, sample_rate: int = STT.sample_rate, **options: Any
    ) -> None:
        super().__init__(function, **options)
        self.sample_rate = sample_rate

    def open(self, options: STTOptions) -> STTSession:
        """Start an utterance, which the function hears when it is finished."""
        return _Utterance(self, options)


class _Utterance(STTSession):
    def __init__(self, backend: FunctionSTT, options: STTOptions) -> None:
        self._backend = backend
        self._options = options
        self._pieces: list[Audio] = []
        self._send, self._receive = anyio.create_memory_object_stream[STTUpdate](_AHEAD)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._send.close()
        self._receive.close()

    async def feed(self, audio: Audio) -> None:
        audio.require_sample_rate(self._backend.sample_rate)
        self._pieces.append(audio)

    async def finish(self) -> Transcript:
        audio = Audio.join(self._pieces, sample_rate=self._backend.sample_rate)
        heard = Transcript("")
        with self._send:
            if not len(audio):
                return heard
            async with self._backend._call(audio, self._options) as call:
                async for piece in call:
                    heard = piece if isinstance(piece, Transcript) else _longer(heard, piece)
                    self._tell(STTUpdate(evolve(heard, is_final=False)))
        return evolve(heard, text=heard.text.strip(), is_final=True)

    def _tell(self, update: STTUpdate) -> None:
        try:
            self._send.send_nowait(update)
        except anyio.WouldBlock:  # nobody reads, and interim transcripts need not be read
            return

    def updates(self) -> AsyncIterator[STTUpdate]:
        return self._receive


def _longer(heard: Transcript, text: str) -> Transcript:
    return Transcript(heard.text + text, is_final=False)


class FunctionTTS(_Function, TTS):
    """A TTS that is a function of a text, called for one clause after the other."""

    capabilities = Capabilities(serves_many_at_once=True)
    _kind = _SPEECH

    def open(self, options: TTSOptions) -> TTSSession:
        """Start a reply that is synthesised clause by clause."""
        return _Clauses(partial(self._call, options=options))


class _Clauses(TTSSession):
    """Calls the function for each clause, one after the other, a little ahead of the reader."""

    def __init__(self, call: Callable[[str], Call]) -> None:
        self._call = call
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        self._write, self._texts = anyio.create_memory_object_stream[str](_AHEAD)
        self._send, self._speech = anyio.create_memory_object_stream[Speech](_AHEAD)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            # Without the block's exception, which goes its own way and needs no group around it.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._write.close()
            self._speech.close()

    async def write(self, text: str) -> None:
        try:
            await self._write.send(text)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def end(self) -> None:
        self._write.close()

    async def __anext__(self) -> Speech:
        try:
            return await self._speech.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            if self._failure is not None:
                raise self._failure from self._failure.__cause__
            raise StopAsyncIteration from None

    async def _run(self) -> None:
        with self._texts, self._send:
            try:
                async for text in self._texts:
                    async with self._call(text) as call:
                        async for piece in call:
                            speech = piece if isinstance(piece, Speech) else Speech(piece)
                            await self._send.send(evolve(speech, clauses=0))
                    await self._send.send(_CLAUSE_OVER)
            except Exception as error:  # noqa: BLE001 (not swallowed: raised to whoever iterates)
                self._failure = error


# Audio of no length has a rate too, which then means nothing.
_CLAUSE_OVER: Final = Speech(Audio(np.zeros(0, np.float32), 16_000), clauses=1)

_BACKENDS: Final[dict[str, Callable[..., Backend]]] = {
    "stt": FunctionSTT,
    "llm": FunctionLLM,
    "tts": FunctionTTS,
}


def from_function(kind: str, function: Callable[..., Any], **options: Any) -> Backend:
    """Make a backend of a function.

    Raises:
        ConfigurationError: it is a class, does not take what it is to be given, or an option
            makes no sense.
        UnknownOptionError: there is no such option.

    """
    make = _BACKENDS.get(kind)
    if make is None:
        raise ConfigurationError(
            f"A {kind} cannot be a plain function; pass a name or an instance of the class."
        )
    if isinstance(function, type):
        raise ConfigurationError(
            f"{kind}= was given the class {function.__name__}; pass an instance of it, such as "
            f"{function.__name__}()."
        )
    known = ["name", "timeout", *(["sample_rate"] if kind == "stt" else [])]
    for option in options:
        if option not in known:
            raise UnknownOptionError(
                f"A function has no option {option!r}; it has {', '.join(known)}."
            )
    return make(function, **options)
