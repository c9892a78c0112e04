"""PiperTTS: Piper behind evakit's contract: voices, options, errors and placement.

What may not live here: sessions and runs (`_engine.py`), what voices there are (`_voices.py`).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from evakit.abc import (
    BlockingTTS,
    Capabilities,
    Evidence,
    LoadContext,
    TTSOptions,
    WarmUp,
)
from evakit.audio import Audio
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import ConfigurationError, DeviceError, SynthesisError, UnknownVoiceError
from evakit.models import Model
from evakit.voices import Voice, VoiceStyle

from ._models import graph_bytes, voice_files
from ._text import has_words
from ._voices import DEFAULT, VOICES, VoiceName, find_voice, model_of

if TYPE_CHECKING:
    from ._engine import Engine, LoadedVoice

__all__ = ["PiperTTS"]

_RATES: Final = (0.25, 4.0)
_VARIATIONS: Final = (0.0, 2.0)  # beyond, the voice is noise
_VOLUMES: Final = (0.0, 8.0)
_SHORTEST: Final = 0.02  # seconds; the shortest vowel at the highest rate lasts longer
_QUIETEST: Final = 1e-3  # -60 dBFS
_DEVICE: Final = r"cpu|cuda:[0-9]+"
# Of a GPU's memory: the weights, and as they are rearranged for some convolutions; and what a
# sentence of 12 s passes from one operator to the next, with the workspaces of cuDNN and cuBLAS.
_WEIGHTS: Final = 1.5
_WORK: Final = 192 << 20


class PiperTTS(BlockingTTS):
    """Speech from Piper's voices, a clause at a time.

    Args:
        model: The voice that speaks when none is asked for: `joe`, any of Piper's full names
            (`fr_FR-siwis-medium`), one speaker of several (`upmc#pierre`), or the path of an
            `.onnx` file with its `.onnx.json` beside it.
        rate: Speaking rate from 0.25 to 4; above 1 is faster.
        variation: Liveliness from 0 (flat, and the same every time) to about 1; None is the
            voice's own.
        volume: Gain from 0 to 8; 1 leaves the samples as the voice made them.

    A voice's own style comes on top: rates and volumes multiply, its variation wins.

    Raises:
        UnknownVoiceError: there is no such voice.
        ConfigurationError: an option is out of its range.

    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        devices={"cpu", "cuda"}, engines={"onnxruntime"}
    )
    name = "piper"

    def __init__(
        self,
        model: str | None = None,
        rate: float = 1.0,
        variation: float | None = None,
        volume: float = 1.0,
    ) -> None:
        self.model_name = model or DEFAULT
        self._style = _checked(VoiceStyle(rate=rate, variation=variation, volume=volume))
        self._engine: Engine | None = None
        self._default: Voice | None = None
        self._loaded: dict[str, LoadedVoice] = {}
        if VoiceName.parse(self.model_name).path is None:  # a path is looked at when it is loaded
            self._default = self.find_voice(self.model_name)

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The default voice first, then the others that are known by a short name."""
        if self._default is None:
            return VOICES
        return (self._default, *(v for v in VOICES if v.name != self._default.name))

    def find_voice(self, name: str) -> Voice:
        """Return the voice of that name: a short name, a full name, or a path.

        Raises:
            UnknownVoiceError: there is no such voice.
            ModelError: the configuration beside a file is missing or makes no sense.

        """
        return find_voice(name, self.name)

    def voice_models(self, voice: Voice) -> tuple[Model, ...]:
        """Name the model that `voice` needs; none where that is a file of one's own."""
        model = model_of(voice)
        return () if model is None else (model,)

    def load_model(self, context: LoadContext) -> None:
        """Import Piper; voices are loaded one by one, as they are asked for, files at once.

        Raises:
            BackendUnavailableError: piper or ONNX Runtime is not installed.
            DeviceError: the device is none that ONNX Runtime can be asked for, or cannot be had.
            UnknownVoiceError, ModelError: the default voice's own file is missing or wrong.

        """
        if not re.fullmatch(_DEVICE, context.device.name):
            raise DeviceError(
                f"{self.name} runs on 'cpu' or a GPU by number such as 'cuda:0', "
                f"not on {context.device.name!r}.",
                component=self.name,
                wanted=context.device.name,
            )
        if self._default is None:
            self._default = self.find_voice(self.model_name or DEFAULT)
        # Here, so that discovering the plugin stays within its 5 ms.
        from ._engine import Engine  # noqa: PLC0415

        self._engine = Engine(
            device=context.device,
            threads=context.threads,
            vram_bytes=context.vram_bytes,
            component=self.name,
        )
        if model_of(self._default) is None:  # a file of one's own, which nobody has to fetch
            self.load_voice(self._default, {})

    def unload_model(self) -> None:
        """Let go of every voice; calling it twice is fine."""
        self._loaded.clear()
        self._engine = None

    def load_voice(self, voice: Voice, models: Mapping[str, Path]) -> None:
        """Load `voice` and say a few words to nobody; nothing where it is loaded already.

        Raises:
            ModelError: its files are missing or wrong.
            UnknownVoiceError: it has no such speaker.
            PlacementError: it cannot run on the device that the backend was loaded for.
            SynthesisError: the backend is not loaded.

        """
        if self._engine is None:
            raise SynthesisError(
                f"{self.name} is not loaded; load it before its voices.", backend=self.name
            )
        key = _key(voice)
        if key not in self._loaded:
            model = model_of(voice)
            if model is None:
                graph = Path(key)
                config = graph.with_name(f"{graph.name}.json")
            else:
                graph, config = voice_files(model, models[model.name])
            self._loaded[key] = self._engine.load(graph, config, key)
        _speaker(voice, self._loaded[key])

    def synthesize(self, text: str, options: TTSOptions) -> Iterator[Audio]:
        """Yield the speech of one clause, a chunk for each sentence in it.

        Raises:
            SynthesisError: the engine failed, or said nothing where there are words.
            ConfigurationError: the voice's style is out of range.

        """
        voice = options.voice or self._default
        loaded = None if voice is None else self._loaded.get(_key(voice))
        if voice is None or loaded is None:
            raise SynthesisError(
                f"The voice {voice.name if voice else self.model_name!r} is not loaded; "
                "prepare it before it speaks.",
                backend=self.name,
            )
        style = _checked(self._combine(voice.style))
        heard = False
        runs = loaded.speak(
            text,
            speaker=_speaker(voice, loaded),
            length=1 / style.rate,
            variation=style.variation,
        )
        while True:
            try:
                samples = next(runs, None)
            except loaded.engine.errors as error:
                raise SynthesisError(
                    f"{self.name} could not speak {len(text)} characters as {voice.name!r} "
                    f"({type(error).__name__}); say it differently or choose another voice.",
                    backend=self.name,
                ) from error
            if samples is None:
                break
            if not np.isfinite(samples).all():
                raise SynthesisError(
                    f"The voice {voice.name!r} made samples that are not numbers; fetch it again.",
                    backend=self.name,
                )
            if len(samples) < _SHORTEST * loaded.sample_rate or np.ptp(samples) < _QUIETEST:
                continue
            heard = True
            yield Audio(np.clip(samples * style.volume, -1.0, 1.0), loaded.sample_rate)
        if not heard and has_words(text):
            raise SynthesisError(
                f"The voice {voice.name!r} has no sounds for a text of {len(text)} characters; "
                "choose a voice that speaks its language.",
                backend=self.name,
            )

    def vram_estimate(self, context: LoadContext) -> int | None:
        """Say what the default voice takes, from the size of its graph."""
        del context
        path = VoiceName.parse(self.model_name or DEFAULT).path
        model = None if self._default is None else model_of(self._default)
        size = None if model is None else graph_bytes(model)
        if path is not None and path.is_file():
            size = path.stat().st_size
        return None if size is None else round(size * _WEIGHTS) + _WORK

    def warm_up_model(self) -> WarmUp | None:
        """Have each loaded voice speak to nobody, in several lengths.

        Raises:
            PlacementError: a voice does not run on the device that it was loaded for.
            SynthesisError: the engine failed.

        """
        voices = tuple(self._loaded.values())
        if not voices:
            return None
        begun = time.perf_counter()
        try:
            spoken = sum(voice.warm_up() for voice in voices)
        except voices[0].engine.errors as error:
            refused = voices[0].engine.runtime.refused(error)
            if refused is not None:
                raise refused from error
            raise SynthesisError(
                f"{self.name} could not speak its first words ({type(error).__name__}: {error}); "
                "fetch the voice again or choose another.",
                backend=self.name,
            ) from error
        return WarmUp(seconds=time.perf_counter() - begun, amount=spoken, unit="s of audio")

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where ONNX Runtime put the operators of all loaded voices."""
        from ._placement import evidence_of  # noqa: PLC0415 (for the 5 ms of discovery, too)

        voices = tuple(self._loaded.values())  # another thread may add one
        return evidence_of(voice.look() for voice in voices)

    def quick_check(self) -> Device:
        """Say where the voices are: of several, the one that is not where it was loaded for.

        Raises:
            DeviceError: nothing is loaded.

        """
        if self._engine is None:
            raise DeviceError(
                f"{self.name} is not loaded, so it is nowhere; load it before it is looked for.",
                component=self.name,
            )
        places = [voice.where() for voice in tuple(self._loaded.values())]
        astray = [place for place in places if place != self._engine.runtime.device]
        return next(iter([*astray, *places]), CPU)

    def _combine(self, style: VoiceStyle) -> VoiceStyle:
        own = self._style
        return VoiceStyle(
            rate=own.rate * style.rate,
            variation=own.variation if style.variation is None else style.variation,
            volume=own.volume * style.volume,
        )


def _key(voice: Voice) -> str:
    """Return what is loaded once for all speakers of a voice."""
    return voice.model or VoiceName.parse(voice.name).base


def _speaker(voice: Voice, loaded: LoadedVoice) -> int | None:
    """Return the number of the speaker that the voice's name asks for; None for the first."""
    wanted = VoiceName.parse(voice.name).speaker
    if wanted is None:
        return None
    speakers = loaded.speakers
    if wanted not in speakers:
        has = f"it has {', '.join(speakers)}" if speakers else "it has only one"
        raise UnknownVoiceError(f"The voice {voice.name!r} has no speaker {wanted!r}; {has}.")
    return speakers[wanted]


def _checked(style: VoiceStyle) -> VoiceStyle:
    """Return `style` when all of it is in range.

    Raises:
        ConfigurationError: it is not.

    """
    for name, value, (low, high) in (
        ("rate", style.rate, _RATES),
        ("variation", style.variation, _VARIATIONS),
        ("volume", style.volume, _VOLUMES),
    ):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise ConfigurationError(f"The {name} of a voice is a number, not {value!r}.")
        if not low <= value <= high:
            raise ConfigurationError(
                f"A {name} of {value:g} is out of range; give one from {low:g} to {high:g}."
            )
    return style
