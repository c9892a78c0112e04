"""Stack: loaded backends on the devices where they were found, shared by any number of
conversations.

The only place that knows where a backend lives. What may not live here: history, turns.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import anyio
from attrs import field, frozen

from . import _threads
from ._failures import errors_of, single_leaf
from ._pipeline import Stages, transcribe
from ._speaker import Speaker
from .abc import LLM, STT, TTS, VAD, Backend, LoadContext, STTOptions, TTSOptions, TurnDetector
from .audio import Audio
from .devices import Device, Placement, choose_device, verify_placement
from .errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConversationClosedError,
    UnknownVoiceError,
)
from .models import Model, ModelStore, Progress
from .plugins import discover
from .registry import BackendName, Registry
from .transcript import Transcript
from .voices import Voice, normalize_language

__all__ = ["BackendChoice", "LoadedBackend", "Stack", "backend"]

_log = logging.getLogger(__name__)

_KINDS: Final[dict[str, type[Backend]]] = {
    "stt": STT,
    "llm": LLM,
    "tts": TTS,
    "vad": VAD,
    "turn_detector": TurnDetector,
}


@frozen
class BackendChoice:
    """A backend by name, with options; made by `backend`."""

    name: str
    options: Mapping[str, Any] = field(factory=dict)


def backend(name: str, **options: Any) -> BackendChoice:
    """Name a backend and set its options: `backend("piper:joe", rate=1.2)`."""
    return BackendChoice(name, options)


B = TypeVar("B", bound=Backend)

BackendLike = str | BackendChoice | Backend | None


@frozen
class LoadedBackend:
    """A backend that is ready, and where it was found to be."""

    name: str
    """As it is known to the registry, or its class's name when an instance was passed."""
    model: str | None
    placement: Placement
    backend: Backend = field(repr=False)

    @property
    def device(self) -> str:
        """The device that was read back from the engine."""
        return str(self.placement)


class Stack:
    """One set of loaded backends.

    Constructing is cheap and looks at nothing; entering the block, or first use, loads. A
    backend is given by name (`name[:model][@device]`), as `backend(name, **options)`, as an
    instance, or as None to leave the stage out.
    """

    def __init__(
        self,
        *,
        stt: BackendLike = "whisper:base",
        llm: BackendLike = "llamacpp",
        tts: BackendLike = "piper",
        voice: str | None = None,
        language: str | Sequence[str] | None = None,
        device: str | None = None,
        plugins: Iterable[object] = (),
        store: ModelStore | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._asked: dict[str, BackendLike] = {"stt": stt, "llm": llm, "tts": tts}
        self.voice = voice
        """The voice of conversations that name none."""
        self.languages = _languages(language)
        """What users may speak; empty when any."""
        self._device = device
        self._plugins = tuple(plugins)
        self._store = store
        self._progress = progress
        self._loaded: dict[str, LoadedBackend] = {}
        self._voices: dict[str, Voice] = {}
        self._ready = self._closed = False
        self._lock: anyio.Lock | None = None
        self._holders: set[object] = set()
        self._pid = os.getpid()

    @property
    def backends(self) -> Mapping[str, LoadedBackend]:
        """The loaded backends by stage (`stt`, `llm`, `tts`); a stage left out is absent."""
        return dict(self._loaded)

    async def __aenter__(self) -> Self:
        await self.hold(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def load(self) -> None:
        """Load all backends and see where they are; does nothing when that is done.

        Raises:
            ConfigurationError: a name, option, voice or language makes no sense.
            PluginError: a backend is unknown, or its plugin cannot be loaded.
            ModelError: a model is unknown, or cannot be had.
            DeviceError: a device is not there, or a model is not on it.
            BackendUnavailableError: an engine is not installed, or cannot be reached.

        """
        self.require_open()
        if self._ready:
            return
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            if self._ready:
                return
            try:
                await self._load()
            except BaseException as error:
                with anyio.CancelScope(shield=True):
                    await self._unload()
                leaf = single_leaf(error)
                if leaf is error:
                    raise
                raise leaf from leaf.__cause__
            self._ready = True

    async def hold(self, holder: object) -> None:
        """Load, and stay loaded until `holder` lets go."""
        await self.load()
        self._holders.add(holder)

    async def let_go(self, holder: object) -> None:
        """Unload when `holder` was the last; somebody who holds on again loads again."""
        self._holders.discard(holder)
        if not self._holders:
            await self._shut()

    async def aclose(self) -> None:
        """Unload all backends for good; calling it twice is fine."""
        self._closed = True
        self._holders.clear()
        await self._shut()

    async def _shut(self) -> None:
        if self._lock is None:
            return  # never loaded
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if not self._holders:
                    self._ready = False
                    await self._unload()

    def require_open(self) -> None:
        """Check that the stack can be used.

        Raises:
            ConversationClosedError: it was closed, or this is a forked child.

        """
        if self._closed:
            raise ConversationClosedError("The stack was closed; make a new one.")
        if self._pid != os.getpid():
            raise ConversationClosedError(
                "This process was forked from the one that made the stack, and engines do not come "
                "along; make the stack or conversation in each worker, after the fork."
            )

    async def transcribe(
        self, audio: Audio, *, language: str | Sequence[str] | None = None, words: bool = False
    ) -> Transcript:
        """Return what is said in `audio`; `words=True` asks for word positions.

        Raises:
            TranscriptionError: the backend failed.
            UnknownLanguageError: the model does not know the language.

        """
        await self.load()

        async def ignore(_: Transcript) -> None:
            return

        options = STTOptions(languages=_languages(language) or self.languages, wants_words=words)
        return await transcribe(self._need("stt", STT), audio, options, ignore)

    async def speaker(self, *, voice: str | None = None, language: str | None = None) -> Speaker:
        """Return a session that speaks clauses; an async context manager.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.

        """
        await self.load()
        tts = self._need("tts", TTS)
        chosen = await self.choose_voice(voice, language)
        return Speaker(tts, TTSOptions(voice=chosen, language=language))

    async def stages(
        self, *, voice: str | None, language: str | Sequence[str] | None
    ) -> Stages:
        """Return the backends as a turn needs them, with the voices that it may use prepared.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.

        """
        await self.load()
        languages = _languages(language) or self.languages
        usual = await self.choose_voice(voice, _only(languages))

        def choose(spoken: str | None) -> Voice | None:
            if voice or self.voice or usual is None or spoken is None or usual.speaks(spoken):
                return usual
            ready = (v for v in self._voices.values() if v.speaks(spoken))
            return next(ready, usual)

        return Stages(
            stt=self._get("stt", STT),
            llm=self._get("llm", LLM),
            tts=self._get("tts", TTS),
            languages=languages,
            choose_voice=choose,
        )

    async def choose_voice(self, name: str | None, language: str | None) -> Voice | None:
        """Return the voice of that name, or the default for `language`, ready to speak.

        None when the backend has no voices to choose from, or no stage speaks.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.

        """
        tts = self._get("tts", TTS)
        if tts is None:
            return None
        name = name or self.voice
        if name:
            voice = tts.find_voice(name)
            if language and not voice.speaks(language):
                raise UnknownVoiceError(
                    f"The voice {name!r} speaks {voice.language}, not {language}; "
                    f"{_voices_for(tts, language)}"
                )
        else:
            fitting = [v for v in tts.voices if language is None or v.speaks(language)]
            if not fitting:
                if not tts.voices:
                    return None
                raise UnknownVoiceError(
                    f"{tts.name} has no voice for the language {language!r}; it speaks "
                    f"{', '.join(sorted({v.language for v in tts.voices}))}."
                )
            voice = fitting[0]
        if voice.name not in self._voices:
            folders = await self._fetch(tts.voice_models(voice))
            await tts.prepare_voice(voice, folders)
            self._voices[voice.name] = voice
        return voice

    async def _load(self) -> None:
        registry = await _threads.run(discover, self._plugins)
        created = {
            stage: self._create(stage, asked, registry)
            for stage, asked in self._asked.items()
            if asked is not None
        }
        async with anyio.create_task_group() as tasks:
            for stage, (name, new, device) in created.items():
                tasks.start_soon(self._load_one, stage, name, new, device)

    def _create(
        self, stage: str, asked: BackendLike, registry: Registry
    ) -> tuple[str, Backend, Device]:
        """Make the backend that was asked for, unloaded, and choose its device."""
        if isinstance(asked, Backend):
            if not isinstance(asked, _KINDS[stage]):
                raise ConfigurationError(
                    f"{stage}= was given a {type(asked).__name__}, which is not a "
                    f"{_KINDS[stage].__name__}; pass a name or a {_KINDS[stage].__name__}."
                )
            asked.name = asked.name or type(asked).__name__
            return asked.name, asked, _device(asked, self._device)
        if isinstance(asked, str):
            asked = BackendChoice(asked)
        if not isinstance(asked, BackendChoice):
            raise ConfigurationError(
                f"{stage}= takes a name, evakit.backend(...), an instance or None, "
                f"not {type(asked).__name__}."
            )
        name = BackendName.parse(asked.name)
        spec = registry.get(stage, name.name)
        missing = spec.missing()
        if missing:
            raise BackendUnavailableError(
                f"{name.name} cannot be used: {missing}.", backend=name.name, stage=stage
            )
        new = spec.create(name.model, **asked.options)
        return name.name, new, _device(new, name.device or self._device)

    async def _load_one(self, stage: str, name: str, new: Backend, wanted: Device) -> None:
        folders = await self._fetch(new.models())
        # Known before it is loaded, so that a load that fails half way is undone too.
        self._loaded[stage] = LoadedBackend(name, new.model_name, Placement(wanted, ""), new)
        with errors_of(BackendUnavailableError, name, "loading"):
            await new.load(LoadContext(device=wanted, models=folders))
            model = new.model_name
            if isinstance(new, TTS):  # its voices are its models
                voice = await self.choose_voice(None, _only(self.languages))
                model = voice.name if voice else model
            placement = verify_placement(name, wanted, new.placement())
        self._loaded[stage] = LoadedBackend(name, model, placement, new)
        _log.info("%s %s on %s (%s)", stage, name, placement, placement.observed)

    async def _fetch(self, models: Iterable[Model]) -> dict[str, Path]:
        store = self._store or ModelStore()
        return {
            model.name: await _threads.run(_ensure, store, model, self._progress)
            for model in models
        }

    async def _unload(self) -> None:
        failures: list[Exception] = []
        while self._loaded:
            _, loaded = self._loaded.popitem()
            try:
                await loaded.backend.unload()
            except Exception as error:  # noqa: BLE001 (raised below, once all had their turn)
                failures.append(error)
        self._voices.clear()
        if failures:
            raise failures[0]

    def _get(self, stage: str, kind: type[B]) -> B | None:
        loaded = self._loaded.get(stage)
        return loaded.backend if loaded and isinstance(loaded.backend, kind) else None

    def _need(self, stage: str, kind: type[B]) -> B:
        found = self._get(stage, kind)
        if found is None:
            raise ConfigurationError(f"This needs a {stage}, and {stage}=None left it out.")
        return found


def _device(backend: Backend, asked: str | None) -> Device:
    return choose_device(asked, component=backend.name, supported=backend.capabilities.devices)


def _ensure(store: ModelStore, model: Model, progress: Progress | None) -> Path:
    def report(name: str, done: int, total: int | None) -> None:
        _threads.check_cancelled()  # a download stops between two blocks
        if progress is not None:
            progress(name, done, total)

    return store.ensure(model, progress=report)


def _languages(language: str | Sequence[str] | None) -> tuple[str, ...]:
    if language is None:
        return ()
    tags = (language,) if isinstance(language, str) else language
    return tuple(normalize_language(tag) for tag in tags)


def _only(languages: tuple[str, ...]) -> str | None:
    return languages[0] if len(languages) == 1 else None


def _voices_for(tts: TTS, language: str) -> str:
    names = [voice.name for voice in tts.voices if voice.speaks(language)]
    if names:
        return f"choose {' or '.join(names)}, or name no voice."
    return f"{tts.name} has no voice for that language."
