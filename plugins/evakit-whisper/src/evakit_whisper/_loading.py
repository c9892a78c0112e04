"""Loading the engine: the exact device, how numbers are held, and what failing to load means.

No engine is imported by this module until `load_engine` is called.
What may not live here: transcribing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evakit.abc import LoadContext
from evakit.devices import Device
from evakit.errors import (
    BackendUnavailableError,
    ConfigurationError,
    DeviceError,
    MissingLibraryError,
    ModelError,
)
from evakit.privacy import silence_hub_client

if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["COMPUTE_TYPES", "compute_type_for", "load_engine", "missing_library"]

# CTranslate2 4.8, docs/quantization.md, without `default` and `auto`, which choose silently.
COMPUTE_TYPES: Final = (
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
)
_DEFAULT_COMPUTE_TYPE: Final = {"cpu": "int8", "cuda": "float16"}
# Without tokenizer.json faster-whisper would ask the hub for one.
_NEEDED: Final = ("config.json", "model.bin", "tokenizer.json")
_MOST_THREADS: Final = 8  # beyond this the threads of one small encoder wait for each other


def load_engine(
    folder: Path | None,
    context: LoadContext,
    *,
    compute_type: str | None,
    model: str,
    backend: str,
) -> Engine:
    """Load the converted model in `folder` on exactly `context.device`.

    Raises:
        BackendUnavailableError: faster-whisper cannot be imported.
        ConfigurationError: the device cannot compute with this `compute_type`.
        DeviceError: CTranslate2 cannot use the device; its class says why.
        ModelError: files are missing or are not a model.

    """
    kind, _, index = context.device.name.partition(":")
    is_exact = context.device.name == "cpu" or (kind == "cuda" and index.isdecimal())
    if not is_exact:
        raise DeviceError(
            f"{backend} runs on 'cpu' or a GPU by number such as 'cuda:0', "
            f"not on {context.device.name!r}.",
            component=backend,
            wanted=context.device.name,
        )
    folder = _checked(folder, model)
    silence_hub_client()
    lacking = missing_library(backend) if context.device.is_gpu else None
    try:
        from ._engine import Engine  # noqa: PLC0415 (it imports faster-whisper)
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"{backend} needs faster-whisper, which cannot be imported ({error}); "
            "install it with: pip install 'faster-whisper>=1.2.1'",
            backend=backend,
        ) from error
    compute_type = compute_type_for(context.device, compute_type)
    try:
        engine = Engine(
            folder,
            device=kind,
            index=int(index or 0),
            compute_type=compute_type,
            threads=context.threads or min(_available_cores(), _MOST_THREADS),
        )
    except Exception as error:
        # `tokenizers` raises bare Exception, CTranslate2 RuntimeError and ValueError for anything.
        raise _explained(
            error,
            folder=folder,
            device=context.device,
            compute_type=compute_type,
            model=model,
            backend=backend,
        ) from error
    if lacking is not None:
        raise lacking
    return engine


def compute_type_for(device: Device, asked: str | None) -> str:
    """Return how numbers are held on a device: as asked, else by default."""
    return asked or _DEFAULT_COMPUTE_TYPE["cuda" if device.is_gpu else "cpu"]


def missing_library(backend: str) -> MissingLibraryError | None:
    """Load cuBLAS, which CTranslate2 looks for by name alone, and only in its first run.

    Returns what is missing and does not raise it: CTranslate2 may have more to say, for without a
    driver, or in a build without CUDA, no library helps.
    """
    # Here, because discovery imports this module.
    from evakit.devices.libraries import preload  # noqa: PLC0415
    from evakit.devices.library_names import CUBLAS_12  # noqa: PLC0415
    from evakit.devices.packages import look_at_packages  # noqa: PLC0415

    try:
        preload(look_at_packages(), CUBLAS_12, component=backend)
    except MissingLibraryError as error:
        return error
    return None


def _checked(folder: Path | None, model: str) -> Path:
    if folder is None or not folder.is_dir():
        where = f" at {folder}" if folder else ""
        raise ModelError(
            f"The model {model} is not here{where}; fetch it with: evakit models fetch {model}"
            if model.startswith("whisper:")
            else f"There is no folder {folder}; name one with a converted Whisper model.",
            model=model,
        )
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder} holds no complete Whisper model: {', '.join(missing)} is missing; "
            "fetch it again, or convert it with ct2-transformers-converter "
            "--copy_files tokenizer.json preprocessor_config.json",
            model=model,
        )
    return folder


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _explained(
    error: Exception, *, folder: Path, device: Device, compute_type: str, model: str, backend: str
) -> Exception:
    """Return our own error for what CTranslate2 4.8 and tokenizers say when they cannot load."""
    from ._refusals import refusal  # noqa: PLC0415 (discovery imports this module)

    text = str(error)
    if "compute type" in text:
        return ConfigurationError(
            f"{backend} cannot compute with {compute_type!r} on {device} ({text}); "
            "choose compute_type='int8' or 'float32'."
        )
    refused = refusal(error, component=backend, device=device)
    if refused is not None:
        return refused
    reason = text.partition("\n")[0] or type(error).__name__
    return ModelError(
        f"{folder} holds no Whisper model that can be loaded ({reason}); "
        f"remove it and fetch {model} again.",
        model=model,
    )
