"""Source: where the files of a model are, told before anything is imported.

What may not live here: torch, transformers, and reading what is in the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import frozen

from evakit.abc import LoadContext
from evakit.errors import ModelError

from ._models import ModelChoice

__all__ = ["Source", "estimate_vram", "find_source"]

# What a conversation of 4096 tokens takes beside the weights. Keys and values are 35 % of the
# weights of SmolLM2-135M (94 MB), 5 % of Qwen2.5-0.5B (50 MB) and 3 % of Llama-3-8B (540 MB).
_USUAL: Final = 4096
_FIXED: Final = 100 * 2**20  # bytes
_SHARE: Final = 0.05  # of the weights


@frozen(kw_only=True)
class Source:
    """The files of a model."""

    name: str
    """The model, for people."""
    folder: Path
    file: str | None = None
    """The .gguf file in it; None when it holds safetensors."""

    @property
    def path(self) -> Path:
        """What was named, for people."""
        return self.folder / self.file if self.file else self.folder


def find_source(choice: ModelChoice, context: LoadContext) -> Source:
    """Return where the files are.

    Raises:
        ModelError: they are not where they were said to be.

    """
    if choice.model is not None:
        folder = context.models.get(choice.model.name)
        if folder is None:
            raise ModelError(
                f"The files of {choice.model.name} were not given to the backend; get them with: "
                f"evakit models fetch {choice.model.name}",
                model=choice.name,
            )
        return Source(name=choice.name, folder=folder, file=choice.file)
    path = choice.path or Path()
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(
                f"There is no file {path}; correct the path or name another model.",
                model=choice.name,
            )
        return Source(name=choice.name, folder=path.parent, file=path.name)
    if not path.is_dir():
        raise ModelError(
            f"There is no folder {path}; correct the path or name another model.",
            model=choice.name,
        )
    if not (path / "config.json").is_file() or not any(_weights(path)):
        raise ModelError(
            f"{path} holds no model: a config.json and weights as .safetensors are needed; name "
            "another folder, or save the model with save_pretrained().",
            model=choice.name,
        )
    return Source(name=choice.name, folder=path)


def estimate_vram(source: Source, dtype: str | None, context_tokens: int | None) -> int | None:
    """Return about how many bytes of a GPU a model takes; None for a GGUF file.

    Weights are reckoned at the size that they have on the disk, which is their size in 16 bits
    for almost all models; those of a GGUF file are packed, and unpacked as they are loaded.
    """
    if source.file is not None:
        return None
    weights = sum(file.stat().st_size for file in _weights(source.folder))
    weights *= 2 if dtype == "float32" else 1
    work = (_FIXED + _SHARE * weights) * (context_tokens or _USUAL) / _USUAL
    return round(weights + work)


def _weights(folder: Path) -> Iterable[Path]:
    return folder.glob("*.safetensors")
