"""Whether a file can be a model at all, told from its first bytes.

The engine says only "failed to init server", whatever the reason. What may not live here:
reading tensors, which is the engine's job.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from evakit.errors import ModelError

__all__ = ["check_gguf"]

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md: magic, version, two counts of 8 bytes
_HEADER: Final = struct.Struct("<4sIQQ")
_VERSIONS: Final = (2, 3)  # what llama.cpp reads


def check_gguf(path: Path, *, model: str) -> None:
    """Look at the first bytes of a model's file.

    Raises:
        ModelError: there is no such file, or it is not GGUF, or of a version that is not read.

    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except FileNotFoundError:
        raise ModelError(
            f"There is no file {path}; correct the path or name another model.", model=model
        ) from None
    except OSError as error:
        raise ModelError(
            f"{path} could not be read ({error.strerror or error}); name a .gguf file that can be.",
            model=model,
        ) from error
    if not header.startswith(b"GGUF"):
        raise ModelError(
            f"{path} is not a GGUF model; download it again, or convert the model to GGUF first.",
            model=model,
        )
    if len(header) < _HEADER.size:
        raise ModelError(f"{path} ends after {len(header)} bytes; download it again.", model=model)
    version = _HEADER.unpack(header)[1]
    if version not in _VERSIONS:
        raise ModelError(
            f"{path} is GGUF of version {version}, which llama.cpp does not read; "
            "download a newer file of this model.",
            model=model,
        )
