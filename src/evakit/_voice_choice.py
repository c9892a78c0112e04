"""VoiceChoice: which of a TTS's voices speaks, and making it ready before it does.

What may not live here: what voices there are (plugins say), and synthesis.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import anyio

from .abc import TTS
from .errors import UnknownVoiceError
from .models import Model
from .voices import Voice

__all__ = ["VoiceChoice"]


class VoiceChoice:
    """The voices of one loaded TTS, as far as they were asked for."""

    def __init__(
        self,
        tts: TTS,
        fetch: Callable[[Iterable[Model]], Awaitable[Mapping[str, Path]]],
        usual: str | None,
        prepare: Callable[[Voice, Mapping[str, Path]], Awaitable[None]],
    ) -> None:
        self._tts = tts
        self._fetch = fetch
        self._prepare = prepare
        self._usual = usual
        self._ready: dict[str, Voice] = {}
        self._preparing: dict[str, anyio.Lock] = {}

    def forget(self) -> None:
        """Forget which voices are ready: the TTS was loaded anew."""
        self._ready.clear()

    async def choose(self, name: str | None, language: str | None) -> Voice | None:
        """Return the voice of that name, or the default for `language`, ready to speak.

        None when the TTS has no voices to choose from.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.
            ModelError: its files cannot be had.

        """
        voice = self.find(name, language)
        if voice is not None and voice.name not in self._ready:
            # A lock a voice: one that is fetched does not hold up those that are ready.
            async with self._preparing.setdefault(voice.name, anyio.Lock()):
                if voice.name not in self._ready:
                    folders = await self._fetch(self._tts.voice_models(voice))
                    await self._prepare(voice, folders)
                    self._ready[voice.name] = voice
        return voice

    def find(self, name: str | None, language: str | None) -> Voice | None:
        """Return the voice that `choose` would make ready.

        Raises:
            UnknownVoiceError: no such voice, or it does not speak the language.

        """
        name = name or self._usual
        return self._by_name(name, language) if name else self._by_language(language)

    def for_language(self, usual: Voice | None, spoken: str | None) -> Voice | None:
        """Return a voice that is ready for the language that was heard, `usual` if there is none.

        Nothing is fetched or loaded here: the turn is running.
        """
        if self._usual or usual is None or spoken is None or usual.speaks(spoken):
            return usual
        return next((v for v in self._ready.values() if v.speaks(spoken)), usual)

    def _by_name(self, name: str, language: str | None) -> Voice:
        voice = self._tts.find_voice(name)
        if language and not voice.speaks(language):
            fitting = [v.name for v in self._tts.voices if v.speaks(language)]
            fix = (
                f"choose {' or '.join(fitting)}, or name no voice."
                if fitting
                else f"{self._tts.name} has no voice for that language."
            )
            raise UnknownVoiceError(
                f"The voice {name!r} speaks {voice.language}, not {language}; {fix}"
            )
        return voice

    def _by_language(self, language: str | None) -> Voice | None:
        voices = self._tts.voices
        fitting = [v for v in voices if language is None or v.speaks(language)]
        if voices and not fitting:
            raise UnknownVoiceError(
                f"{self._tts.name} has no voice for the language {language!r}; it speaks "
                f"{', '.join(sorted({v.language for v in voices}))}."
            )
        return fitting[0] if fitting else None
