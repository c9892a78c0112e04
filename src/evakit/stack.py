"""Stack: loaded backends on the devices where they were proven, shared by any number of
conversations.

The only place that knows where a backend lives. What may not live here: history, turns.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio
from anyio.lowlevel import current_token

from ._backends import STAGES, Backends
from ._choices import BackendLike
from ._failures import one_error, ungrouped
from ._loaded import LoadedBackend
from ._loop import Loop
from ._pipeline import Stages, transcribe
from ._speaker import Speaker
from ._turn_input import load
from .abc import LLM, STT, TTS, Backend, STTOptions, TTSOptions
from .audio import Audio, AudioSource
from .devices import DeviceManager
from .errors import (
    BackendError,
    ConfigurationError,
    ConversationClosedError,
)
from .models import ModelStore, Progress
from .settings import UNSET, Unset, resolve
from .transcript import Transcript
from .voices import Voice, normalize_languages

__all__ = ["Stack"]

B = TypeVar("B", bound=Backend)

_RUNS: Final = {"cpu": "runs on the CPU", "drifted": "has drifted", "lost": "is lost"}


class Stack:
    """One set of loaded backends.

    Constructing is cheap: it reads the settings and looks at nothing else; entering the block,
    or first use, loads. What is not given is decided by the environment, `evakit.toml` or the
    default.

    Args:
        stt: What hears: a name (`name[:model][@device]`), `backend(name, **options)`, an instance,
            a plain function, or None to leave the stage out.
        llm: What thinks, likewise.
        tts: What speaks, likewise.
        voice: The name of the voice that speaks where none is asked for; None for one that fits.
        language: What users may speak: a tag such as `fr`, or several; None for any.
        device: Where models run whose names say no device: `auto`, `cpu`, `cuda`, `cuda:0`.
        plugins: Modules and objects with hooks, beside the plugins that are installed.
        store: Where models are kept and fetched to; None for the usual folder.
        progress: Told a model's name, its bytes here and all its bytes while it is fetched.
        devices: What places the models; None for the one that all Stacks of the process share.
        evictable: Whether its models may be unloaded, while no turn runs, to make room on a GPU
            for others; its next turn loads them again.

    Raises:
        ConfigurationError: a setting makes no sense, wherever it stands.

    """

    def __init__(
        self,
        *,
        stt: BackendLike | Unset = UNSET,
        llm: BackendLike | Unset = UNSET,
        tts: BackendLike | Unset = UNSET,
        voice: str | Unset | None = UNSET,
        language: str | Sequence[str] | Unset | None = UNSET,
        device: str | Unset | None = UNSET,
        plugins: Iterable[object] = (),
        store: ModelStore | None = None,
        progress: Progress | None = None,
        devices: DeviceManager | None = None,
        evictable: bool = False,
    ) -> None:
        self.settings = resolve(
            {
                "stt": stt,
                "llm": llm,
                "tts": tts,
                "voice": voice,
                "language": language,
                "device": device,
            }
        )
        """What holds for it and its conversations, and where each value was given."""
        self.voice = self.settings.voice
        """The voice of conversations that name none."""
        self.languages = self.settings.language
        """What users may speak; empty when any."""
        if not isinstance(plugins, Iterable) or isinstance(plugins, str):
            raise ConfigurationError(
                f"plugins= is a list of plugins, objects or modules, not {type(plugins).__name__};"
                " installed ones are found without it."
            )
        self._backends = Backends(
            self.settings,
            plugins=tuple(plugins),
            store=store,
            progress=progress,
            devices=devices,
            evict=self._evict if evictable else None,
        )
        self._loaded_in: object = None  # the event loop
        self._ready = self._closed = False
        self._lock: anyio.Lock | None = None
        self._holders: set[object] = set()
        self._uses = 0
        self._unused: anyio.Event | None = None
        self._loop = Loop()  # for a block without async
        self._pid: int | None = None  # of the process that loaded it

    @property
    def backends(self) -> Mapping[str, LoadedBackend]:
        """The loaded backends by stage (`stt`, `llm`, `tts`); a stage left out is absent."""
        return dict(self._backends.loaded)

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

    def __enter__(self) -> Self:
        """Load, and stay loaded for the conversations without async in the block."""
        try:
            self._loop.wait_for(self.hold, self)
        except BaseException:
            self._loop.give_up()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.shut(self.aclose)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What runs on the CPU though a GPU was preferred, and why: a sentence each."""
        loaded = self._backends.loaded
        return tuple(
            f"{stage} {loaded[stage].name} {_RUNS[loaded[stage].device]}: {loaded[stage].degraded}"
            for stage in STAGES
            if stage in loaded and loaded[stage].degraded
        )

    async def load(self) -> None:
        """Load all backends and prove where they are; does nothing when that is done.

        Raises:
            ConfigurationError: a name, option, voice or language makes no sense.
            PluginError: a backend is unknown, or its plugin cannot be loaded.
            ModelError: a model is unknown, or cannot be had.
            DeviceError: a device is not there, or a model is not proven to be on it.
            BackendUnavailableError: an engine is not installed, or cannot be reached.

        """
        self.require_open()
        self._pid = os.getpid()
        if self._ready:
            return
        self._loaded_in = current_token()
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            if self._ready:
                return
            try:
                with ungrouped():
                    await self._backends.load()
            except BaseException as error:
                with anyio.CancelScope(shield=True):
                    for failure in await self._backends.unload():
                        error.add_note(f"Then, while it was undone: {failure}")
                raise
            self._ready = True

    async def hold(self, holder: object) -> None:
        """Load, and stay loaded until `holder` lets go; see `load` for what may be raised."""
        self._holders.add(holder)  # before loading, so that whoever closes meanwhile sees it
        try:
            await self.load()
            self.require_open()
        except BaseException:
            self._holders.discard(holder)
            raise

    async def let_go(self, holder: object) -> None:
        """Unload when `holder` was the last; somebody who holds on again loads again."""
        self._holders.discard(holder)
        await self._shut()

    @asynccontextmanager
    async def in_use(self) -> AsyncGenerator[None]:
        """Keep the loaded backends from being unloaded for the length of the block.

        Raises:
            PlacementDrift: a model is no longer where it was required, and proven, to be.
            GpuLostError: the GPU of a model is gone.

        """
        await self.load()
        self._uses += 1
        try:
            await self._backends.check()
            yield
        except Exception as error:
            if isinstance(one_error(error), BackendError):
                # An engine fails in many words when its GPU goes; the driver has one.
                await self._backends.check(thorough=True)
            raise
        finally:
            self._uses -= 1
            if not self._uses and self._unused is not None:
                self._unused.set()

    async def aclose(self) -> None:
        """Unload all backends for good, once nothing uses them; calling it twice is fine."""
        self._closed = True
        self._holders.clear()
        await self._shut()

    async def _shut(self) -> None:
        if self._lock is None:
            return  # never loaded
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if self._holders and not self._closed:
                    return
                while self._uses:
                    self._unused = anyio.Event()
                    await self._unused.wait()
                self._ready = False
                for failure in await self._backends.unload():
                    raise failure

    def require_open(self) -> None:
        """Check that the stack can be used.

        Raises:
            ConversationClosedError: it was closed, or this is a forked child.

        """
        if self._closed:
            raise ConversationClosedError("The stack was closed; make a new one.")
        if self._pid not in {None, os.getpid()}:
            raise ConversationClosedError(
                "This process was forked from one that used the stack, and engines do not come "
                "along; make the stack or conversation in each worker, after the fork."
            )

    async def transcribe(
        self,
        audio: Audio | AudioSource,
        *,
        language: str | Sequence[str] | None = None,
        words: bool = False,
    ) -> Transcript:
        """Return what is said in `audio`, of up to four hours; `words=True` asks for positions.

        A path, bytes or a file is read in a thread, as it would be for a turn.

        Raises:
            AudioError: the audio cannot be read.
            TranscriptionError: the backend failed.
            UnknownLanguageError: the model does not know the language.

        """

        async def ignore(_: Transcript) -> None:
            return

        async with self.in_use():
            languages = normalize_languages(language) or self.languages
            options = STTOptions(languages=languages, wants_words=words)
            heard = await load(audio)
            return await transcribe(self._need("stt", STT), heard, options, ignore)

    @asynccontextmanager
    async def speaker(
        self, *, voice: str | None = None, language: str | None = None
    ) -> AsyncGenerator[Speaker]:
        """Open a session that speaks clauses.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.

        """
        async with self.in_use():
            tts = self._need("tts", TTS)
            chosen = await self._backends.choose_voice(voice, language)
            async with Speaker(tts, TTSOptions(voice=chosen, language=language)) as speaker:
                yield speaker

    async def stages(self, *, voice: str | None, language: str | Sequence[str] | None) -> Stages:
        """Return the backends as a turn needs them, with the voices that it may use prepared; see
        `speaker` for what may be raised.
        """
        await self.load()
        languages = normalize_languages(language) or self.languages
        usual = await self._backends.choose_voice(voice, languages[0] if languages else None)
        if not voice and not self.voice:
            for other in languages[1:]:  # whichever is heard, there is a voice for it
                await self._backends.choose_voice(None, other)
        voices = self._backends.voices

        def choose(spoken: str | None) -> Voice | None:
            return usual if voice or voices is None else voices.for_language(usual, spoken)

        return Stages(
            stt=self._backends.get("stt", STT),
            llm=self._backends.get("llm", LLM),
            tts=self._backends.get("tts", TTS),
            languages=languages,
            choose_voice=choose,
        )

    def require_voice(self, voice: str | None, language: str | Sequence[str] | None) -> None:
        """Check, as far as it is known without loading, that the voice and languages fit; see
        `speaker` for what may be raised.
        """
        languages = normalize_languages(language) or self.languages
        if self._backends.voices is not None:
            self._backends.voices.find(voice, languages[0] if languages else None)

    async def _evict(self) -> bool:
        """Unload everything, if no turn runs, to make room; the next turn loads it again."""
        if self._loaded_in != current_token() or self._lock is None or self._lock.locked():
            return False  # of another event loop, or loading itself
        failures = []
        with anyio.CancelScope(shield=True):  # who wants the room may be cancelled meanwhile
            async with self._lock:
                if self._uses or not self._ready:
                    return False
                self._ready = False
                failures = await self._backends.unload()
        for failure in failures:
            raise failure
        return True

    def _need(self, stage: str, kind: type[B]) -> B:
        found = self._backends.get(stage, kind)
        if found is None:
            raise ConfigurationError(f"This needs a {stage}, and {stage}=None left it out.")
        return found
