"""Raw samples: bytes without a header, of which somebody else knows how they are laid out.

What may not live here: files, and the Audio value.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from ._audio_samples import mix
from .errors import AudioFormatError

__all__ = ["PCM_ENCODINGS", "decode_pcm", "encode_pcm"]

PCM_ENCODINGS: Final = {
    "int16": ("PCM_16", 2),
    "int32": ("PCM_32", 4),
    "float32": ("FLOAT", 4),
    "mulaw": ("ULAW", 1),
    "alaw": ("ALAW", 1),
}
"""What libsndfile calls each, and the bytes of a sample."""


def decode_pcm(data: bytes, rate: int, channels: int, encoding: str) -> npt.NDArray[np.float32]:
    """Return the samples in `data`, its channels mixed to one.

    Raises:
        AudioFormatError: `data` does not hold whole frames.

    """
    subtype, width = PCM_ENCODINGS[encoding]
    if len(data) % (width * channels):
        raise AudioFormatError(
            f"{len(data)} bytes are not whole {encoding} frames of {channels} "
            "channel(s); check the encoding and pass complete frames."
        )
    if not data:
        return np.zeros(0, np.float32)
    samples, _ = soundfile.read(
        io.BytesIO(data),
        dtype="float32",
        always_2d=True,
        format="RAW",
        subtype=subtype,
        channels=channels,
        samplerate=rate,
        endian="FILE" if width == 1 else "LITTLE",
    )
    return mix(samples)


def encode_pcm(samples: npt.NDArray[np.float32], rate: int, channels: int, encoding: str) -> bytes:
    """Return `samples` as bytes, copied to every channel."""
    buffer = io.BytesIO()
    subtype, width = PCM_ENCODINGS[encoding]
    soundfile.write(
        buffer,
        np.repeat(samples[:, None], channels, axis=1),
        rate,
        format="RAW",
        subtype=subtype,
        endian="FILE" if width == 1 else "LITTLE",
    )
    return buffer.getvalue()
