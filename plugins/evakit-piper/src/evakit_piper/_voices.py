"""Voices by name: the known ones, any of Piper's by its full name, and files of one's own.

What may not live here: loading a voice, and what its model consists of (`_models.py`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from evakit.errors import ModelError, UnknownLanguageError, UnknownVoiceError
from evakit.models import Model
from evakit.voices import Voice

from ._models import MODELS, hub_model

__all__ = ["DEFAULT", "VOICES", "VoiceName", "find_voice", "model_of", "read_config"]

DEFAULT: Final = "joe"
_DESCRIPTIONS: Final = {
    "joe": "a man, American English",
    "siwis": "a woman, French",
    "upmc": "French, two speakers: upmc#jessica and upmc#pierre",
    "tom": "a man, French, 44.1 kHz",
    "gilles": "a man, French, 16 kHz",
}
_MODELS: Final = {model.name.removeprefix("piper:"): model for model in MODELS}
VOICES: Final = tuple(
    Voice(
        name=name,
        language=model.languages[0],
        model=model.name,
        licence=model.licence,
        description=_DESCRIPTIONS[name],
    )
    for name, model in _MODELS.items()
)
# The full names, so that both ways of writing share one model.
_STEMS: Final = {m.files[0].name.removesuffix(".onnx"): name for name, m in _MODELS.items()}
# Patterns as text: compiled when needed, not at discovery. The first: Piper's docs/VOICES.md.
_STEM: Final = r"([a-z]{2,3})_([A-Z]{2}|[0-9]{3})-[A-Za-z0-9_]+-(x_low|low|medium|high)"
_ESPEAK_VOICE: Final = r"(?i)(?:.*/)?([a-z]{2,3})(?:-([a-z]{2}))?(?![a-z0-9])"


class VoiceName(NamedTuple):
    """A voice as people write it: `joe`, `fr_FR-upmc-medium#pierre`, `/voices/mine.onnx`."""

    base: str
    """Without the speaker."""
    speaker: str | None = None
    """Which of a voice's speakers; None is its first."""

    @classmethod
    def parse(cls, text: str) -> VoiceName:
        """Take a name apart; a `#` that is part of a file's path stays there."""
        if text.endswith(".onnx"):
            return cls(text)
        base, _, speaker = text.rpartition("#")
        return cls(base, speaker) if base and speaker else cls(text)

    @property
    def path(self) -> Path | None:
        """The file that it names, where it names one."""
        return Path(self.base) if self.base.endswith(".onnx") else None


def find_voice(name: str, backend: str) -> Voice:
    """Return the voice of that name; looks at the disk only for a path, never at the network.

    Raises:
        UnknownVoiceError: the name is not one of Piper's, or there is no such file.
        ModelError: the configuration beside the file is missing or makes no sense.

    """
    parsed = VoiceName.parse(name)
    if parsed.path is not None:
        return _local_voice(name, parsed.path, backend)
    short = _STEMS.get(parsed.base, parsed.base)
    for voice in VOICES:
        if voice.name == short:
            return Voice(
                name=name,
                language=voice.language,
                model=voice.model,
                licence=voice.licence,
                description=voice.description,
            )
    if match := re.fullmatch(_STEM, parsed.base):
        return Voice(name=name, language=f"{match[1]}-{match[2]}", model=f"piper:{parsed.base}")
    known = ", ".join(voice.name for voice in VOICES)
    raise UnknownVoiceError(
        f"{backend} has no voice {name!r}; it has {known}, any of Piper's voices by its full name "
        "(en_US-lessac-medium), and a path to your own .onnx file."
    )


def model_of(voice: Voice) -> Model | None:
    """Return the model that a voice needs; None for a file of one's own.

    Raises:
        UnknownVoiceError: the voice names a model that is not Piper's.

    """
    if voice.model is None:
        return None
    name = voice.model.removeprefix("piper:")
    if name in _MODELS:
        return _MODELS[name]
    if not voice.model.startswith("piper:") or not re.fullmatch(_STEM, name):
        raise UnknownVoiceError(
            f"The voice {voice.name!r} needs the model {voice.model!r}, which is not one of "
            "Piper's; use a voice that find_voice() returned."
        )
    return hub_model(name, voice.language)


def read_config(path: Path, model: str) -> dict[str, Any]:
    """Return the configuration of a voice.

    Raises:
        ModelError: the file is missing, cannot be read, or holds no JSON object.

    """
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); a Piper voice needs its configuration "
            "beside the .onnx file.",
            model=model,
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not the JSON configuration of a Piper voice; fetch the voice again.",
            model=model,
        ) from error
    if not isinstance(config, dict):
        raise ModelError(
            f"{path} holds no configuration of a Piper voice; fetch the voice again.", model=model
        )
    return config


def _local_voice(name: str, path: Path, backend: str) -> Voice:
    if not path.is_file():
        raise UnknownVoiceError(
            f"{backend} finds no voice at {path}; give the path of an existing .onnx file."
        )
    config_path = path.with_name(f"{path.name}.json")
    config = read_config(config_path, name)
    try:
        return Voice(name=name, language=_language(config), description=f"the file {path}")
    except (UnknownLanguageError, LookupError, TypeError) as error:
        raise ModelError(
            f"{config_path} does not say which language the voice speaks; add "
            '"language": {"code": "en_US"} to it.',
            model=name,
        ) from error


def _language(config: dict[str, Any]) -> str:
    code = config.get("language", {}).get("code") if "language" in config else None
    if code is not None:
        return str(code)
    match = re.match(_ESPEAK_VOICE, config["espeak"]["voice"])
    if match is None:
        raise LookupError("espeak.voice")
    return "-".join(filter(None, match.groups()))
