"""WhisperSTT: the STT `whisper`, an utterance or a recording of hours at a time.

What may not live here: what names mean (`_models.py`, `_languages.py`), where there is speech
(`_speech.py`), loading the engine (`_loading.py`). No engine is imported by this module.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import evolve

from evakit.abc import (
    BlockingSTT,
    Capabilities,
    Evidence,
    LoadContext,
    STTOptions,
    STTSession,
    WarmUp,
    check_cancelled,
)
from evakit.audio import Audio
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import ConfigurationError, DeviceError, TranscriptionError
from evakit.models import Model
from evakit.transcript import Segment, Transcript, Word

from ._languages import code_of, tag_of, writes_spaces
from ._loading import COMPUTE_TYPES, compute_type_for, load_engine
from ._models import choose
from ._placement import vram_bytes
from ._silero import Silero, load_silero
from ._speech import speech_parts

if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["WhisperSTT"]

_RATE: Final = 16_000  # hertz: what Whisper was trained on
_MOST_BEAMS: Final = 20
# A window that was decoded as an endless repeat: openai/whisper's own sign of it, and more text
# than anyone speaks (fast speech has 20 letters a second). Someone who really repeats a sentence
# compresses as well, and must not be taken for one.
_REPEATS: Final = 2.4
_FASTEST: Final = 30.0  # characters a second
_NO_REPEAT: Final = 3  # words in a row that such a window may not say twice, the second time


# Heard in a warm-up. Every utterance is a window of 30 s to the encoder, so that is what a GPU
# has to be prepared for; a CPU needs no preparing, and a thirtieth of the work shows where it is.
_WARM_UP: Final = {"cpu": 1, "cuda": 30}  # seconds


class _Language(NamedTuple):
    code: str
    tag: str
    probability: float | None = None


class WhisperSTT(BlockingSTT):
    """Whisper on CTranslate2.

    Args:
        model: A size (`base`, `tiny.en`, `large-v3-turbo`), a repository on the hub with a
            converted model (`organisation/name[@revision]`), or a folder with one (a path,
            absolute or starting with `.`).
        compute_type: How numbers are held; None is `int8` on the CPU and `float16` on a GPU.
        beam_size: How many readings are followed at a time; more is slower and seldom better.
        prompt: Text that could have come before: names and words to expect.
        speech_threshold: The VAD's probability, in [0, 1], from which there is speech; 0 sends
            silence to Whisper too, which then invents words.

    Raises:
        ConfigurationError: an option has a value that makes no sense.
        UnknownModelError: `model` is no size, no repository and no folder.

    """

    capabilities = Capabilities(devices={"cpu", "cuda"}, engines={"ctranslate2"})
    probe: ClassVar[str | None] = "evakit_whisper._probe:try_device"
    name = "whisper"
    sample_rate = _RATE

    def __init__(
        self,
        model: str | PathLike[str] = "base",
        *,
        compute_type: str | None = None,
        beam_size: int = 1,
        prompt: str | None = None,
        speech_threshold: float = 0.4,
    ) -> None:
        if compute_type is not None and compute_type not in COMPUTE_TYPES:
            raise ConfigurationError(
                f"{compute_type!r} is not a compute type; use one of {', '.join(COMPUTE_TYPES)}."
            )
        if not 1 <= beam_size <= _MOST_BEAMS:
            raise ConfigurationError(
                f"A beam size of {beam_size} makes no sense; use 1 (fastest) to {_MOST_BEAMS}."
            )
        if not 0 <= speech_threshold <= 1:
            raise ConfigurationError(
                f"The speech threshold is a probability from 0 to 1, not {speech_threshold}."
            )
        self._choice = choose(model)
        self.model_name = self._choice.name
        self._compute_type = compute_type
        self._beam_size = beam_size
        self._prompt = prompt
        self._speech_threshold = speech_threshold
        self._engine: Engine | None = None
        self._silero: Silero | None = None
        self._device = CPU

    def models(self) -> tuple[Model, ...]:
        """Name the model to fetch; none where a folder was given."""
        return (self._choice.model,) if self._choice.model else ()

    def load_model(self, context: LoadContext) -> None:
        """Load the model and the VAD.

        Raises:
            BackendUnavailableError: faster-whisper or ONNX Runtime is not installed.
            ConfigurationError: the device cannot compute with this `compute_type`.
            DeviceError: CTranslate2 cannot use the device; its class says why.
            ModelError: files are missing or are not a model.

        """
        model = self._choice.model
        folder = self._folder(context)
        self._silero = load_silero(self.name)
        self._engine = load_engine(
            folder,
            context,
            compute_type=self._compute_type,
            model=model.name if model else self._choice.name,
            backend=self.name,
        )
        self._device = context.device

    def unload_model(self) -> None:
        """Give the model and the VAD back."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._silero = None

    def _folder(self, context: LoadContext) -> Path | None:
        model = self._choice.model
        return context.models.get(model.name) if model else self._choice.folder

    def vram_estimate(self, context: LoadContext) -> int | None:
        """Say what the model takes, from the size of its file and how numbers are held."""
        folder = self._folder(context)
        weights = None if folder is None else folder / "model.bin"
        if weights is None or not weights.is_file():
            return None
        compute_type = compute_type_for(context.device, self._compute_type)
        return vram_bytes(weights.stat().st_size, compute_type)

    def warm_up_model(self) -> WarmUp:
        """Hear a made sound and write a few tokens about it.

        Raises:
            PlacementError: the model does not run on the device that it was loaded for.
            TranscriptionError: the engine failed, or the backend is not loaded.

        """
        from ._engine import ENGINE_ERRORS  # noqa: PLC0415 (it imports faster-whisper)
        from ._refusals import refusal  # noqa: PLC0415 (for the 5 ms of discovery)

        engine, _ = self._loaded()
        heard = _WARM_UP["cuda" if self._device.is_gpu else "cpu"]
        begun = time.perf_counter()
        try:
            engine.warm_up(heard)
        except ENGINE_ERRORS as error:
            refused = refusal(error, component=self.name, device=self._device)
            raise refused or self._failed(error) from error
        return WarmUp(seconds=time.perf_counter() - begun, amount=heard, unit="s of audio")

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where the output of the encoder's last run was found, and where the VAD runs."""
        if self._engine is None or self._silero is None:
            return ()
        # The VAD in front of it is on the CPU by design, and is no part of the model.
        vad = evolve(self._silero.evidence()[0], share=0.0)
        return (*self._engine.evidence(), vad)

    def quick_check(self) -> Device:
        """Say where the model is now.

        Raises:
            DeviceError: it is not loaded, or CTranslate2 has taken it out of there.

        """
        place = None if self._engine is None else self._engine.where()
        if place is None:
            raise DeviceError(
                f"{self.name} is not loaded, so it is nowhere; load it before it is looked for.",
                component=self.name,
            )
        return place

    def open(self, options: STTOptions) -> STTSession:
        """Start an utterance that is transcribed when it is finished.

        Raises:
            TranscriptionError: the backend is not loaded.
            UnknownLanguageError: the model does not know one of `options.languages`.

        """
        self._candidates(options)
        return super().open(options)

    def transcribe(self, audio: Audio, options: STTOptions) -> Transcript:
        """Return the transcript of `audio`, at 16 kHz; empty when there is no speech in it.

        Raises:
            AudioFormatError: the audio has another sample rate.
            TranscriptionError: the engine failed.
            UnknownLanguageError: the model does not know one of `options.languages`.

        """
        audio.require_sample_rate(_RATE)
        engine, silero = self._loaded()
        candidates = self._candidates(options)
        language = candidates[0] if len(candidates) == 1 else None
        segments: list[Segment] = []
        for start, end in speech_parts(audio.samples, silero, self._speech_threshold):
            part = audio.samples[start:end]
            window = None
            if language is None:
                window, language = self._detect(engine, part, candidates)
                check_cancelled()
            for segment in self._decode(engine, part, language, options, window):
                segments.append(_segment(segment, start, len(audio), segments))
        if not segments or language is None:
            return Transcript("", sample_rate=_RATE)
        glue = " " if writes_spaces(language.code) else ""
        return Transcript(
            glue.join(segment.text for segment in segments),
            segments,
            language=language.tag,
            language_probability=language.probability,
            sample_rate=_RATE,
        )

    def _loaded(self) -> tuple[Engine, Silero]:
        if self._engine is None or self._silero is None:
            raise TranscriptionError(
                f"{self.name} is not loaded; load it before it is used.", backend=self.name
            )
        return self._engine, self._silero

    def _candidates(self, options: STTOptions) -> list[_Language]:
        """Return the languages to choose from; none when it may be any."""
        engine, _ = self._loaded()
        known = engine.languages
        backend = f"{self.name}:{self.model_name}"
        candidates: dict[str, _Language] = {}
        for tag in options.languages or (("en",) if known == {"en"} else ()):
            code = code_of(tag, known, backend)
            candidates.setdefault(code, _Language(code, tag))
        return list(candidates.values())

    def _detect(
        self, engine: Engine, part: npt.NDArray[np.float32], candidates: list[_Language]
    ) -> tuple[Any, _Language]:
        """Return the encoded window and the most likely of the candidates in it."""
        from ._engine import ENGINE_ERRORS  # noqa: PLC0415 (it imports faster-whisper)

        try:
            window = engine.first_window(part)
            probabilities = engine.language_probabilities(window)
        except ENGINE_ERRORS as error:
            raise self._failed(error) from error
        pool = candidates or [_Language(code, tag_of(code)) for code in sorted(probabilities)]
        best = max(pool, key=lambda language: probabilities.get(language.code, 0.0))
        total = sum(probabilities.get(language.code, 0.0) for language in pool)
        share = probabilities.get(best.code, 0.0) / total if total else 1 / len(pool)
        return window, _Language(best.code, best.tag, min(1.0, share))

    def _decode(
        self,
        engine: Engine,
        part: npt.NDArray[np.float32],
        language: _Language,
        options: STTOptions,
        window: Any,
    ) -> list[Any]:
        """Return the engine's segments of one part; a second time if it fell into a loop."""
        found = list(self._attempt(engine, part, language, options, window))
        n_letters = sum(len(segment.text) for segment in found)
        is_too_fast = n_letters > _FASTEST * max(1.0, len(part) / _RATE)
        if is_too_fast and any(segment.compression_ratio > _REPEATS for segment in found):
            found = list(
                self._attempt(
                    engine, part, language, options, None, no_repeat_ngram_size=_NO_REPEAT
                )
            )
        return found

    def _attempt(
        self,
        engine: Engine,
        part: npt.NDArray[np.float32],
        language: _Language,
        options: STTOptions,
        window: Any,
        **more: Any,
    ) -> Iterator[Any]:
        from ._engine import ENGINE_ERRORS  # noqa: PLC0415 (it imports faster-whisper)

        segments = engine.segments(
            part,
            window=window,
            language=language.code,
            beam_size=self._beam_size,
            initial_prompt=self._prompt,
            word_timestamps=options.wants_words,
            # No sampling: the same audio gives the same text, in the same time.
            temperature=0.0,
            # A part is a window, so this would only carry a mistake on within it.
            condition_on_previous_text=False,
            **more,
        )
        try:
            for segment in segments:
                yield segment
                check_cancelled()
        except ENGINE_ERRORS as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> TranscriptionError:
        return TranscriptionError(
            f"{self.name}:{self.model_name} failed on this audio ({error}); "
            "try another model, and please report this.",
            backend=self.name,
        )


def _segment(segment: Any, offset: int, length: int, before: list[Segment]) -> Segment:
    """Turn the engine's seconds within a part into samples of the audio: inside it, in order."""
    low = before[-1].end if before else 0

    def place(seconds: float, earliest: int) -> int:
        return min(max(offset + round(seconds * _RATE), earliest), length)

    start = place(segment.start, low)
    end = place(segment.end, start)
    words: list[Word] = []
    for word in segment.words or ():
        first = place(word.start, words[-1].end if words else start)
        last = place(word.end, first)
        words.append(Word(word.word.strip(), first, last, float(word.probability)))
        end = max(end, last)
    return Segment(segment.text.strip(), start, end, words)
