"""Evidence: one thing that was seen, and Proof: what all of it together amounts to.

Pure: what is observed is observed elsewhere, by the backends of their engines and by the manager
of the machine. What may not live here: looking at anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from .device import Device
from .finding import Remedy

__all__ = ["Evidence", "Proof", "Strength", "Verdict", "WarmUp", "judge"]


class Strength(StrEnum):
    """How much a piece of evidence is worth."""

    OBSERVED = "observed"
    """Seen in the engine after a real run: where a tensor lies, where a node was put."""
    DECLARED = "declared"
    """What the engine says of itself, which may be what it was asked for. Proves nothing, and
    refutes what it contradicts."""
    ENVIRONMENT = "environment"
    """Seen outside the engine: contexts, memory, time."""


class Verdict(StrEnum):
    """What the evidence amounts to."""

    PROVEN = "proven"
    PARTIAL = "partial"
    """Some of the work is done where it was asked for, and some elsewhere."""
    REFUTED = "refuted"
    """The model is somewhere else."""
    UNKNOWN = "unknown"
    """Something that a proof needs was not seen."""


# The kinds of evidence that a proof needs.
MODEL: Final = "model"
"""Where the model, or the output of its work, lies; a backend's business."""
CONTEXT: Final = "context"
"""Whether this process has an active context on a GPU."""
WARM_UP: Final = "warm-up"
"""That the model has done real work since it was loaded."""
MEMORY: Final = "memory"
"""How much of a GPU's memory loading took, where that can be read."""


@frozen(kw_only=True)
class Evidence:
    """One thing that was seen, and which device it speaks for."""

    kind: str
    """`model`, `context`, `warm-up` or `memory`."""
    strength: Strength
    device: Device
    """The device that it speaks for."""
    says: str
    """What was looked at and what it said, for people."""
    share: float | None = None
    """The share of the model, or of its work, that it is about, in [0, 1]; None when it is all."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kind": self.kind,
            "strength": self.strength.value,
            "device": self.device.name,
            "says": self.says,
            "share": self.share,
        }


@frozen(kw_only=True)
class WarmUp:
    """Real work that a model did before its first task."""

    seconds: float
    """How long it took."""
    amount: float
    """How much came of it: seconds of audio heard or made, tokens written, frames judged."""
    unit: str
    """What is counted: `s of audio`, `tokens`, `frames`."""

    @property
    def rate(self) -> float | None:
        """How much a second; None when nothing came of it or no time could be measured."""
        return self.amount / self.seconds if self.seconds > 0 and self.amount > 0 else None

    def __str__(self) -> str:
        return f"{self.amount:.3g} {self.unit} in {self.seconds:.3g} s"


def _all(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@frozen(kw_only=True)
class Proof:
    """Where a model is, what that is known from, and what speaks against it."""

    verdict: Verdict
    wanted: Device
    device: Device | None
    """Where the model was found to be; None when nothing says so."""
    evidence: tuple[Evidence, ...] = field(default=(), converter=_all)
    reasons: tuple[str, ...] = field(default=(), converter=_all)
    """Why the verdict is not `proven`, a sentence without full stop each."""
    fix: tuple[Remedy, ...] = field(default=(), converter=_all)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verdict": self.verdict.value,
            "wanted": self.wanted.name,
            "device": None if self.device is None else self.device.name,
            "evidence": [piece.to_json() for piece in self.evidence],
            "reasons": list(self.reasons),
            "fix": [remedy.to_json() for remedy in self.fix],
        }


_MISSING: Final = {
    MODEL: "nothing that was observed says where the model is",
    CONTEXT: "it is not known whether this process has an active context on that GPU",
    WARM_UP: "the model has not done any work yet",
    MEMORY: "the GPU's memory did not grow as the model was loaded",
}


def judge(
    wanted: Device, evidence: Iterable[Evidence], *, required: Iterable[str] = (MODEL, WARM_UP)
) -> Proof:
    """Say what the evidence amounts to, for a model that was to be on `wanted`.

    Proven takes a piece of each of the `required` kinds that speaks for `wanted`, the one about
    the model being observed in the engine; a declaration never does. Whatever speaks for another
    device refutes it, or makes it partial when it is about a share.
    """
    pieces = tuple(evidence)
    observed = [e for e in pieces if e.kind == MODEL and e.strength is Strength.OBSERVED]
    against = [e for e in pieces if e.device != wanted and e.share != 0]
    here = [e for e in observed if e.device == wanted and e.share != 0]
    found = _found(observed, against)
    if against:
        shared = here and all(
            e.share is not None and e.strength is Strength.OBSERVED for e in against
        )
        return Proof(
            verdict=Verdict.PARTIAL if shared else Verdict.REFUTED,
            wanted=wanted,
            device=found,
            evidence=pieces,
            reasons=[e.says for e in against],
        )
    seen = {e.kind for e in pieces if e.kind != MODEL} | ({MODEL} if here else set())
    missing = [_MISSING.get(kind, f"no {kind} was seen") for kind in required if kind not in seen]
    return Proof(
        verdict=Verdict.UNKNOWN if missing else Verdict.PROVEN,
        wanted=wanted,
        device=found,
        evidence=pieces,
        reasons=missing,
    )


def _found(observed: list[Evidence], against: list[Evidence]) -> Device | None:
    """Return where most of the model is, as observed; else where anything says that it is."""
    if observed:
        return max(observed, key=lambda e: 1.0 if e.share is None else e.share).device
    return against[0].device if against else None
