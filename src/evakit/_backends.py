"""Backends: what a Stack holds: made, fetched for, placed on devices, and given back.

What may not live here: who holds the Stack and for how long (`stack.py`), turns, history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio
from attrs import evolve

from . import _forked, _threads
from ._choices import create
from ._failures import errors_of
from ._loaded import LoadedBackend
from ._logging import logger
from ._voice_choice import VoiceChoice
from .abc import TTS, Backend, LoadContext
from .devices import Device, DeviceManager, default_manager
from .devices.lease import Evict
from .devices.outlook import Outlook
from .errors import BackendError, BackendUnavailableError, EvakitError
from .models import Model, ModelStore, Progress
from .plugins import discover
from .settings import Settings
from .voices import Voice

__all__ = ["STAGES", "Backends"]

STAGES: Final = ("stt", "llm", "tts")
"""What a turn goes through, in order."""

_log = logger("evakit.stack")  # the name under which people know it

B = TypeVar("B", bound=Backend)


class Backends:
    """The backends of a Stack, loaded or not."""

    def __init__(
        self,
        settings: Settings,
        *,
        plugins: tuple[object, ...],
        store: ModelStore | None,
        progress: Progress | None,
        devices: DeviceManager | None,
        evict: Evict | None,
    ) -> None:
        self.loaded: dict[str, LoadedBackend] = {}
        """Those that are ready, by stage."""
        self._settings = settings
        self._plugins = plugins
        self._store = store
        self._progress = progress
        self._devices = devices
        self._evict = evict
        self._voices: VoiceChoice | None = None
        self._created: list[Backend] = []  # what has to be unloaded, loaded or not

    @property
    def voices(self) -> VoiceChoice | None:
        """The voices of the TTS; None where there is none that is loaded."""
        return self._voices

    @property
    def _manager(self) -> DeviceManager:
        if self._devices is None:
            self._devices = default_manager()
        return self._devices

    def get(self, stage: str, kind: type[B]) -> B | None:
        """Return the backend of a stage; None where the stage was left out."""
        loaded = self.loaded.get(stage)
        return loaded.backend if loaded and isinstance(loaded.backend, kind) else None

    async def load(self) -> None:
        """Load all of them, side by side; see `Stack.load` for what may be raised."""
        settings = self._settings
        registry = await _threads.run(discover, self._plugins)
        self._store = self._store or ModelStore()
        outlooks: dict[str, tuple[Backend, Outlook]] = {}
        chosen = {}
        for stage in STAGES:
            with settings.explaining(stage, "device"):
                asked = getattr(settings, stage)
                chosen[stage] = create(stage, asked, registry, settings.device)
        # A device that cannot be had is refused before anything is fetched for it.
        for stage, choice in chosen.items():
            if choice is not None:
                with settings.explaining(stage, "device"):
                    engines = choice.backend.capabilities.engines
                    outlook = await self._manager.outlook(choice.request, engines)
                    outlooks[stage] = choice.backend, outlook
        async with anyio.create_task_group() as tasks:
            for stage, (backend, outlook) in outlooks.items():
                tasks.start_soon(self._load_one, stage, backend, outlook)

    async def _load_one(self, stage: str, new: Backend, outlook: Outlook) -> None:
        folders = await self._fetch(new.models())
        model, voices = new.model_name, None
        if isinstance(new, TTS):  # its voices are its models
            prepare = partial(self._prepare, new)
            voices = VoiceChoice(new, self._fetch, self._settings.voice, prepare)
            with self._settings.explaining("tts", "voice", "language"):
                voice = voices.find(None, self._only_language)
            if voice is not None:
                await self._fetch(new.voice_models(voice))  # not while a GPU waits for it
                model = voice.name
        _forked.leak_in_children(new)
        self._created.append(new)  # a load that fails half way is undone too
        new.in_stack = True

        def context(device: Device, vram_bytes: int | None = None) -> LoadContext:
            return LoadContext(device=device, models=folders, vram_bytes=vram_bytes)

        async def load(device: Device, vram_bytes: int | None) -> None:
            with errors_of(BackendUnavailableError, new.name, "loading"):
                await new.load(context(device, vram_bytes))
                if voices is not None:
                    voices.forget()  # those of an attempt on another device
                    self._voices = voices
                    await self.choose_voice(None, self._only_language)

        lease = await self._manager.place(
            new,
            evolve(outlook.request, evictable=self._evict is not None),
            load,
            outlook=outlook,
            estimate=lambda device: new.vram_estimate(context(device)),
            evict=self._evict,
        )
        self.loaded[stage] = LoadedBackend(new.name, model, lease, new)
        _log.info("%s %s on %s (%s)", stage, new.name, lease.label, lease.seen)

    @property
    def _only_language(self) -> str | None:
        languages = self._settings.language
        return languages[0] if len(languages) == 1 else None

    async def choose_voice(self, name: str | None, language: str | None) -> Voice | None:
        """Return the voice of that name, or one for the language, ready to speak, and proven to be
        where the TTS is; None where the TTS has none to choose from.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.
            ModelError: its files cannot be had.
            PlacementError: it was loaded somewhere else.

        """
        if self._voices is None:
            return None
        settled = {
            "tts": True,
            "voice": not name,
            "language": language in self._settings.language,
        }
        with self._settings.explaining(*(name for name, holds in settled.items() if holds)):
            return await self._voices.choose(name, language)

    async def _prepare(self, tts: TTS, voice: Voice, folders: Mapping[str, Path]) -> None:
        loaded = self.loaded.get("tts")
        if loaded is None:  # it is being loaded, and proven when that is done
            await tts.prepare_voice(voice, folders)
        else:  # a voice is a model of its own
            async with self._manager.growing(loaded.lease):
                await tts.prepare_voice(voice, folders)

    async def check(self, *, thorough: bool = False) -> None:
        """Check that every model is where it was proven to be, which takes microseconds; where one
        is on a GPU, a `thorough` check asks the driver too.

        Raises:
            PlacementDrift: a model is no longer where it was required, and proven, to be.
            GpuLostError: the GPU of a model is gone.

        """
        leases = [loaded.lease for loaded in self.loaded.values()]
        for lease in leases:
            self._manager.touch(lease)
        if not thorough:
            self._manager.check(leases)
        elif any(lease.gpu for lease in leases):
            await _threads.run(partial(self._manager.check, leases, thorough=True))

    async def unload(self) -> list[EvakitError]:
        """Unload everything that was made, to the end, and return what went wrong."""
        failures: list[EvakitError] = []
        with anyio.CancelScope(shield=True):
            while self._created:
                created = self._created.pop()
                created.in_stack = False
                try:
                    await self._unload_one(created)
                except EvakitError as error:
                    failures.append(error)
        self.loaded.clear()
        self._voices = None
        return failures

    async def _unload_one(self, created: Backend) -> None:
        leases = [one.lease for one in self.loaded.values() if one.backend is created]
        with errors_of(BackendError, created.name, "unloading"):
            for lease in leases:
                await self._manager.release(lease)
            if not leases:  # it was not placed, or not to its end
                await created.unload()

    async def _fetch(self, models: Iterable[Model]) -> dict[str, Path]:
        return {
            model.name: await _threads.run(_ensure, self._store, model, self._progress)
            for model in models
        }


def _ensure(store: ModelStore | None, model: Model, progress: Progress | None) -> Path:
    def report(name: str, done: int, total: int | None) -> None:
        _threads.check_cancelled()  # a download stops between two blocks
        if progress is not None:
            progress(name, done, total)

    return (store or ModelStore()).ensure(model, progress=report)
