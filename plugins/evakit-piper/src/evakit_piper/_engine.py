"""Engine: piper, imported, and voices loaded with it.

The only module that imports piper. What may not live here: names of voices, options, evakit's
contracts, how a session is made (`_sessions.py`), where voices turn out to run (`_placement.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evakit.audio import Audio
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import BackendUnavailableError, EvakitError, ModelError

from ._placement import Seen, cuda_number, look, where
from ._sessions import Runtime
from ._text import clean, has_sound, split
from ._voices import read_config

__all__ = ["Engine", "LoadedVoice"]

# Phonemes in one run, about 12 s of sound. The process grows with the longest run and stays so:
# 310 MB at 200, 420 at 300, 820 at 800, 1.5 GB at 1,600 (joe).
_PHONEMES: Final = 300
# Numbers are words in every language that espeak-ng speaks.
_FIRST_WORDS: Final = "1 2 3"
# Half a second of speech, one, and three: what is prepared for one length serves no other.
_WARM_UP: Final = ("1", "1 2 3", "1 2 3 4 5 6 7 8")


class Engine:
    """The imported modules and what every voice is loaded with."""

    def __init__(
        self,
        *,
        device: Device = CPU,
        threads: int | None = None,
        vram_bytes: int | None = None,
        component: str = "piper",
    ) -> None:
        """Import the engine.

        Raises:
            BackendUnavailableError: piper or ONNX Runtime is not installed or does not start.
            MissingLibraryError: CUDA's libraries are not all there.

        """
        try:
            self.runtime = Runtime(
                device=device, threads=threads, vram_bytes=vram_bytes, component=component
            )
            import piper  # noqa: PLC0415 (the engine loads with the first voice, not before)
            import piper.tashkeel  # noqa: PLC0415
        except (ImportError, OSError) as error:  # OSError: piper asks for the working folder
            raise BackendUnavailableError(
                f"Piper could not be started ({error}); install it with: pip install evakit-piper",
                backend="piper",
                stage="tts",
            ) from error
        self.piper = piper
        self.errors: tuple[type[Exception], ...] = (
            *self.runtime.errors,
            piper.tashkeel.TashkeelError,
        )

    def load(self, graph: Path, config_path: Path, model: str) -> LoadedVoice:
        """Load a voice and have it say a few words, without which it may be no voice at all.

        Raises:
            ModelError: a file is missing or wrong, or the voice needs what is not here.
            PlacementError: it cannot run on the device.

        """
        config = read_config(config_path, model)
        if not graph.is_file():
            raise ModelError(f"There is no file {graph}; fetch the voice again.", model=model)
        try:
            settings = self.piper.PiperConfig.from_dict(config)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{config_path} is not the configuration of a Piper voice ({error!r}); "
                "fetch the voice again.",
                model=model,
            ) from error
        if settings.phoneme_type.value not in {"espeak", "text"}:
            raise ModelError(
                f"The voice in {graph} reads text through {settings.phoneme_type.value}, which "
                "downloads or needs further software; choose a voice that uses espeak.",
                model=model,
            )
        failures: tuple[type[Exception], ...] = (
            *self.errors,
            AttributeError,
            LookupError,
            TypeError,
        )
        try:
            voice = self.piper.PiperVoice(session=self.runtime.session(graph), config=settings)
            if settings.espeak_voice == "ar":  # Arabic is written without its vowels
                voice.tashkeel_diacritizier = self._tashkeel()
            loaded = LoadedVoice(self, voice, graph.stem)
            Audio(loaded.say(_FIRST_WORDS), settings.sample_rate)
        except failures as error:
            refused = self.runtime.refused(error)
            if refused is not None:
                raise refused from error
            reason = error if isinstance(error, EvakitError) else f"{type(error).__name__}: {error}"
            raise ModelError(
                f"{graph} cannot speak ({reason}); fetch the voice again.", model=model
            ) from error
        return loaded

    def _tashkeel(self) -> Any:
        """Return what adds the vowels to Arabic: a small model for text, on the CPU by design.

        Made by itself it would take whatever provider and threads ONNX Runtime prefers.
        """
        tashkeel = self.piper.tashkeel
        made = tashkeel.InferenceSession
        tashkeel.InferenceSession = lambda graph: self.runtime.session(Path(graph), device=CPU)
        try:
            return tashkeel.TashkeelDiacritizer()
        finally:
            tashkeel.InferenceSession = made


class LoadedVoice:
    """A voice that has spoken its first words; any number of threads may use it."""

    def __init__(self, engine: Engine, voice: Any, name: str) -> None:
        self.engine = engine
        self._voice = voice
        self._name = name
        self._cuda = cuda_number(voice.session)
        self._known = frozenset(voice.config.phoneme_id_map)

    @property
    def sample_rate(self) -> int:
        """Hertz."""
        return int(self._voice.config.sample_rate)

    @property
    def speakers(self) -> dict[str, int]:
        """The numbers of the speakers by name; empty for a voice with one."""
        if self._voice.config.num_speakers <= 1:
            return {}
        return dict(self._voice.config.speaker_id_map)

    def warm_up(self) -> float:
        """Speak to nobody, in several lengths, and return how many seconds of speech that is.

        Raises:
            Exception: one of `Engine.errors`.

        """
        return sum(len(self.say(text)) for text in _WARM_UP) / self.sample_rate

    def say(self, numbers: str) -> npt.NDArray[np.float32]:
        """Return the samples of the first sentence of `numbers`, in the voice's own style.

        Raises:
            ValueError: the voice knows none of the phonemes.
            Exception: one of `Engine.errors`.

        """
        sentences = self.phonemes(numbers)
        if not sentences and self._voice.config.phoneme_type.value == "espeak":
            raise ValueError(f"it has no sounds for the numbers {numbers}")
        # A voice that reads letters need not know digits: it says nothing, which is a run too.
        ids = self._voice.phonemes_to_ids(sentences[0] if sentences else [])
        return self._run(ids, self.engine.piper.SynthesisConfig())

    def phonemes(self, text: str) -> list[list[str]]:
        """Return the phonemes of each sentence, as far as the voice has sounds for them.

        Raises:
            Exception: one of `Engine.errors`.

        """
        sentences = self._voice.phonemize(clean(text))
        # Piper would drop the others too, with a warning on the terminal that holds the text.
        known = [[p for p in sentence if p in self._known] for sentence in sentences]
        return [sentence for sentence in known if has_sound(sentence)]

    def speak(
        self, text: str, *, speaker: int | None, length: float, variation: float | None
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the samples of each run, shape (n_samples,), float32, in [-1, 1] if all is well.

        `length` is a factor on all durations. `variation` is the noise in the sound, and the
        noise in the durations follows in the voice's own proportion; None is the voice's own.

        Raises:
            Exception: one of `Engine.errors`.

        """
        config = self._voice.config
        noise, noise_w = config.noise_scale, config.noise_w_scale
        if variation is not None:
            proportion = noise_w / noise if noise > 0 else 1.2  # 0.8 / 0.667, Piper's defaults
            noise, noise_w = variation, variation * proportion
        settings = self.engine.piper.SynthesisConfig(
            speaker_id=speaker,
            length_scale=config.length_scale * length,
            noise_scale=noise,
            noise_w_scale=noise_w,
        )
        limit = int(_PHONEMES / max(1.0, length))  # slower speech is longer
        for sentence in self.phonemes(text):
            for piece in split(sentence, limit):
                if has_sound(piece):
                    ids = self._voice.phonemes_to_ids(list(piece))
                    yield self._run(ids, settings)

    def _run(self, ids: list[int], settings: Any) -> npt.NDArray[np.float32]:
        # Not PiperVoice.synthesize: it stretches every clause to full scale by default, so that
        # "Yes." is as loud as a shout, and logs the text.
        samples = self._voice.phoneme_ids_to_audio(ids, settings)
        return np.asarray(samples, dtype=np.float32).reshape(-1)

    def look(self) -> Seen:
        """Return where the operators of the voice were put."""
        return look(self._name, self._voice.session)

    def where(self) -> Device:
        """Return where the voice runs now, as its session says."""
        return where(self._voice.session, self._cuda)
