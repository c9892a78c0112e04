"""ModelStore: the folder with the fetched models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .model import Model

__all__ = ["ModelStore", "Progress"]

Progress = Callable[[str, int, int | None], None]
"""Called while a model is fetched with its name, the bytes that are here, and all its bytes."""


class ModelStore:
    def __init__(self, home: Path | None = None, *, offline: bool = False) -> None: ...
    def path(self, model: Model) -> Path | None: ...
    def ensure(self, model: Model, *, progress: Progress | None = None) -> Path: ...
    def verify(self, model: Model) -> None: ...
    def remove(self, model: Model) -> bool: ...
