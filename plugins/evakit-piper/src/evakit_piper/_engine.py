"""Engine: piper and ONNX Runtime, imported, and the one place where a voice's session is built.

The only module that imports piper. What may not live here: names of voices, options, evakit's
contracts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evakit.audio import Audio
from evakit.errors import BackendUnavailableError, EvakitError, ModelError
from evakit.privacy import import_onnxruntime

from ._text import clean, has_sound, split
from ._voices import read_config

__all__ = ["Engine", "LoadedVoice"]

_MAX_THREADS: Final = 4  # a clause is too little work for more
# Phonemes in one run, about 12 s of sound. The process grows with the longest run and stays so:
# 310 MB at 200, 420 at 300, 820 at 800, 1.5 GB at 1,600 (joe).
_PHONEMES: Final = 300
_WARM_UP: Final = "1 2 3"  # numbers are words in every language that espeak-ng speaks
# Where the time of a voice goes; the rest is bookkeeping on shapes.
_COMPUTE: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_CPU: Final = "CPUExecutionProvider"


class Engine:
    """The imported modules and what every session is built with."""

    def __init__(self, threads: int | None) -> None:
        """Import the engine.

        Raises:
            BackendUnavailableError: piper or ONNX Runtime is not installed or does not start.

        """
        try:
            ort = import_onnxruntime()
            import piper  # noqa: PLC0415 (the engine loads with the first voice, not before)
            import piper.tashkeel  # noqa: PLC0415
        except (ImportError, OSError) as error:  # OSError: piper asks for the working folder
            raise BackendUnavailableError(
                f"Piper could not be started ({error}); install it with: pip install evakit-piper",
                backend="piper",
                stage="tts",
            ) from error
        self.piper = piper
        self._ort = ort
        self.threads = threads or min(_MAX_THREADS, _cores())
        native = ort.capi.onnxruntime_pybind11_state
        self.errors: tuple[type[Exception], ...] = (
            native.EPFail,
            native.EngineError,
            native.Fail,
            native.InvalidArgument,
            native.InvalidGraph,
            native.InvalidProtobuf,
            native.NoModel,
            native.NoSuchFile,
            native.NotImplemented,
            native.RuntimeException,
            piper.tashkeel.TashkeelError,
            RuntimeError,  # espeak-ng's bridge
            ValueError,  # onnxruntime's own checks of what a run is fed with
        )

    def session(self, graph: Path) -> Any:
        """Build a session on the CPU.

        Raises:
            Exception: one of `errors`.

        """
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Measured on two cores that an LLM and an STT want too: threads that spin between
        # operators make a clause take 1.4 times as long; on idle cores they save 3 %.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.log_severity_level = 4  # fatal: errors are raised, nothing goes to the terminal
        session = self._ort.InferenceSession(str(graph), options, providers=[_CPU])
        session.disable_fallback()
        return session

    def load(self, graph: Path, config_path: Path, model: str) -> LoadedVoice:
        """Load a voice and speak a few words with it, so that the first reply is not the slowest.

        Raises:
            ModelError: a file is missing or wrong, or the voice needs what is not here.

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
            voice = self.piper.PiperVoice(session=self.session(graph), config=settings)
            if settings.espeak_voice == "ar":  # Arabic is written without its vowels
                voice.tashkeel_diacritizier = self.piper.tashkeel.TashkeelDiacritizer()
                voice.tashkeel_diacritizier.session = self.session(
                    self.piper.tashkeel.TASHKEEL_DIR / "model.onnx"
                )
            loaded = LoadedVoice(self, voice)
            Audio(loaded.warm_up(), settings.sample_rate)
        except failures as error:
            reason = error if isinstance(error, EvakitError) else f"{type(error).__name__}: {error}"
            raise ModelError(
                f"{graph} cannot speak ({reason}); fetch the voice again.", model=model
            ) from error
        return loaded


class LoadedVoice:
    """A voice that has spoken its first words; any number of threads may use it."""

    def __init__(self, engine: Engine, voice: Any) -> None:
        self.engine = engine
        self._voice = voice
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

    def warm_up(self) -> npt.NDArray[np.float32]:
        """Return the samples of the first words; the first run is the slowest.

        Raises:
            ValueError: the voice knows none of the phonemes.
            Exception: one of `Engine.errors`.

        """
        sentences = self.phonemes(_WARM_UP)
        if not sentences and self._voice.config.phoneme_type.value == "espeak":
            raise ValueError("it has no sounds for the numbers 1 to 3")
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

    def providers(self) -> dict[str, Counter[str]]:
        """Return what each execution provider was given: operators and how many of them.

        Compute operators only where the graph has any. Falls back to the registered providers,
        with nothing counted, on releases of ONNX Runtime that do not tell (before 1.24).
        """
        session = self._voice.session
        found: dict[str, Counter[str]] = {name: Counter() for name in session.get_providers()}
        if not hasattr(session, "get_provider_graph_assignment_info"):
            return found
        nodes = [
            (subgraph.ep_name, node.op_type)
            for subgraph in session.get_provider_graph_assignment_info()
            for node in subgraph.get_nodes()
        ]
        compute = [node for node in nodes if node[1] in _COMPUTE] or nodes
        for provider, operator in compute:
            found.setdefault(provider, Counter())[operator] += 1
        return found


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
