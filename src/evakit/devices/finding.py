"""Finding and Remedy: one thing that is wrong with a machine or an installation, and its cure.

What may not live here: looking for them (`checks/`), and showing them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from ..errors import PlacementError

__all__ = ["Finding", "Remedy", "Severity"]


class Severity(StrEnum):
    """How much a finding matters, most first."""

    BLOCKER = "blocker"
    """Nothing runs on the GPU, or one engine cannot, until it is cured."""
    WARNING = "warning"
    """It works, and will be slow, or break at the next change."""
    UNKNOWN = "unknown"
    """It could not be told."""


@frozen(kw_only=True)
class Remedy:
    """What to do about a finding: a sentence, and the exact commands where there are some."""

    what: str
    """The sentence: `install the build of PyTorch for CUDA 13`."""
    pip: str | None = None
    """The command where packages are managed with pip."""
    uv: str | None = None
    """The command where they are managed with uv."""
    shell: str | None = None
    """The command that is no matter of Python packages."""

    @property
    def command(self) -> str | None:
        """The one command to show where there is room for one only."""
        return self.shell or self.pip or self.uv

    def __str__(self) -> str:
        if self.pip and self.uv:
            return f"{self.what}: {self.pip} (with uv: {self.uv})"
        return f"{self.what}: {self.command}" if self.command else self.what

    def to_json(self) -> dict[str, str | None]:
        """Return it as JSON values."""
        return {"what": self.what, "pip": self.pip, "uv": self.uv, "shell": self.shell}


def _remedies(remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    return tuple(remedies)


@frozen(kw_only=True)
class Finding:
    """One thing that is wrong."""

    code: str
    """Its name for programs, which stays the same: `torch-cpu-wheel`."""
    severity: Severity
    what: str
    """What is wrong, in a sentence without its full stop."""
    evidence: str
    """What was looked at, and what it said."""
    fix: tuple[Remedy, ...] = field(default=(), converter=_remedies)
    """What to do, most promising first."""
    engine: str | None = None
    """The engine that it is about, `onnxruntime` for one; None when it is the machine."""
    error: type[PlacementError] = PlacementError
    """What a device that is required is refused with because of it."""

    def __str__(self) -> str:
        return f"{self.what} ({self.evidence})"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "what": self.what,
            "evidence": self.evidence,
            "fix": [remedy.to_json() for remedy in self.fix],
            "engine": self.engine,
            "error": self.error.__name__,
        }
