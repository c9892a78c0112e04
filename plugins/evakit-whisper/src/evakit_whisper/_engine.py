"""Engine: faster-whisper's model with what evakit needs from it, and its errors named.

Imports faster_whisper, so it is imported only when a model loads, after
`evakit.privacy.silence_hub_client`. What may not live here: languages as people write them,
transcripts, and what to do about silence.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel, transcribe
from faster_whisper.audio import pad_or_trim

from evakit.abc import Evidence, logger
from evakit.devices import Device

from ._placement import declared, evidence_of, observed

__all__ = ["ENGINE_ERRORS", "Engine"]

ENGINE_ERRORS: Final = (RuntimeError, ValueError, IndexError, KeyError)
"""What CTranslate2 and faster-whisper raise when they fail."""


class _Chatter(logging.LoggerAdapter[logging.Logger]):
    """What faster-whisper tells: lengths, languages and probabilities; all of it at DEBUG."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        del level
        super().log(logging.DEBUG, msg, *args, **kwargs)


_TOKENS: Final = 8  # written in a warm-up: enough for each part of the decoder to be prepared
_FRAMES: Final = 100  # of features in a second of sound

_CHATTER: Final = _Chatter(logger("evakit.whisper"))


class _NoBar(transcribe.tqdm):  # type: ignore[misc] # tqdm has no types
    """The progress bar that faster-whisper makes even when none is shown.

    tqdm's own starts a thread that watches bars and outlives the model; this one does not.
    """

    monitor_interval = 0


transcribe.tqdm = _NoBar


class Engine(WhisperModel):  # type: ignore[misc] # faster-whisper has no types
    """A loaded Whisper. Never touches the network: it is given a folder with all files."""

    def __init__(
        self, folder: Path, *, device: str, index: int, compute_type: str, threads: int
    ) -> None:
        self._encoded = threading.local()
        super().__init__(
            str(folder),
            device=device,
            device_index=index,
            compute_type=compute_type,
            cpu_threads=threads,
            num_workers=1,
            local_files_only=True,
        )
        self._seen: Device | None = None
        tokens = self.hf_tokenizer
        self.languages: frozenset[str] = frozenset(
            code
            for code in self.supported_languages
            if code == "en" or tokens.token_to_id(f"<|{code}|>") is not None
        )
        """Whisper's codes of the languages that this very model has tokens for."""

    @property
    def logger(self) -> _Chatter:
        """Where faster-whisper tells what it does; its own would show that to the user."""
        return _CHATTER

    @logger.setter
    def logger(self, _: object) -> None:
        """Leave faster-whisper's own logger alone."""

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        """Encode a window, or hand out what `first_window` has encoded already."""
        ready = getattr(self._encoded, "window", None)
        if ready is not None:
            self._encoded.window = None
            return ready
        return self._encode(features)

    def _encode(self, features: npt.NDArray[np.float32]) -> Any:
        """Run the encoder, and note where its output is: the proof of where the model is."""
        output = super().encode(features)
        self._seen = observed(output)
        return output

    def warm_up(self, seconds: int) -> None:
        """Hear `seconds` of a made sound, at most 30, and write a few tokens about it.

        CTranslate2 loads cuBLAS, and finds out whether it can compute, only here.

        Raises:
            Exception: one of `ENGINE_ERRORS`.

        """
        at = np.arange(16_000 * seconds, dtype=np.float32) / 16_000
        sound = 0.1 * np.sin(2 * np.pi * 220 * at) * np.sin(2 * np.pi * 3 * at)
        features = self.feature_extractor(sound.astype(np.float32))[:, : _FRAMES * seconds]
        output = self._encode(features)
        names = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
        known = (self.hf_tokenizer.token_to_id(name) for name in names)
        prompt = [token for token in known if token is not None]
        self.model.generate(output, [prompt], beam_size=1, max_length=len(prompt) + _TOKENS)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return where the last run of the encoder was, and where the model says that it is."""
        return evidence_of(self._seen, self.model)

    def where(self) -> Device | None:
        """Return where the model says that it is; None when it was taken out of there."""
        return declared(self.model) if self.model.model_is_loaded else None

    def close(self) -> None:
        """Have CTranslate2 let go of the weights, as far as nobody is using them."""
        self.model.unload_model()

    def first_window(self, samples: npt.NDArray[np.float32]) -> Any:
        """Encode the first 30 s of `samples`, shape (n_samples,), just as `segments` would."""
        features = self.feature_extractor(samples)[:, :-1]
        return self._encode(pad_or_trim(features[:, : self.feature_extractor.nb_max_frames]))

    def language_probabilities(self, window: Any) -> dict[str, float]:
        """Return how likely each language is in an encoded window."""
        return {token[2:-2]: p for token, p in self.model.detect_language(window)[0]}

    def segments(
        self, samples: npt.NDArray[np.float32], *, window: Any = None, **options: Any
    ) -> Iterator[Any]:
        """Iterate over faster-whisper's segments of `samples`, decoded as they are asked for.

        `window` is the output of `first_window` for the same samples, where it was needed
        before: encoding is most of the work, so it is not done twice. Iterate in one thread.
        """
        segments, _ = self.transcribe(samples, **options)
        self._encoded.window = window
        try:
            yield from segments
        finally:
            self._encoded.window = None
