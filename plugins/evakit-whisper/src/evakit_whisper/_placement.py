"""Where a model of CTranslate2 is, as its runs show it.

Pure, but for reading a model. What may not live here: loading, and what was asked for.
"""

from __future__ import annotations

from typing import Any, Final

from evakit.devices import Device, Evidence, Strength
from evakit.devices.device import CPU
from evakit.devices.evidence import MODEL

__all__ = ["declared", "evidence_of", "observed", "vram_bytes"]

# Of a model in float16, which all of Systran's are: what a weight is in the other types. (Biases
# and embeddings stay as they are; the work below has room for them.)
_BYTES_OF_A_WEIGHT: Final = {
    "int8": 0.5,
    "int8_float32": 0.5,
    "int8_float16": 0.5,
    "int8_bfloat16": 0.5,
    "int16": 1.0,
    "float16": 1.0,
    "bfloat16": 1.0,
    "float32": 2.0,
}
# What a run holds beside the weights grows with the model: keys and values of the decoder's
# attention for 30 s of sound, and the encoder's. faster-whisper's README measured 4.5 GB for
# large-v2 (3.1 GB of float16) and 2.9 GB for its int8, with five beams.
_WORK: Final = 0.4
_LEAST_WORK: Final = 64 << 20


def _device_of(kind: str, number: int) -> Device:
    """Return the device that CTranslate2 calls so."""
    return CPU if kind == "cpu" else Device(f"{kind}:{number}")


def observed(view: Any) -> Device:
    """Return where a StorageView is: what a run gave, and so where the run was."""
    return _device_of(view.device, view.device_index)


def declared(model: Any) -> Device:
    """Return where a model of CTranslate2 says that it is: what was asked for, resolved."""
    return _device_of(model.device, model.device_index[0])


def evidence_of(seen: Device | None, model: Any) -> tuple[Evidence, ...]:
    """Return what a model, and `seen`, where its last run was, amount to."""
    says = declared(model)
    said = Evidence(
        kind=MODEL,
        strength=Strength.DECLARED,
        device=says,
        says=f"the model says that it is on {says}, computed as {model.compute_type}",
    )
    if seen is None:
        return (said,)
    return (
        Evidence(
            kind=MODEL,
            strength=Strength.OBSERVED,
            device=seen,
            says=f"the output of an encoder run is on {seen} (CTranslate2 StorageView)",
        ),
        said,
    )


def vram_bytes(model_bin: int, compute_type: str) -> int:
    """Return what a model whose file has so many bytes takes of a GPU's memory."""
    weights = model_bin * _BYTES_OF_A_WEIGHT[compute_type]
    return round(weights + model_bin * _WORK) + _LEAST_WORK
