"""Loading: from files to an engine on exactly one device, or one sentence why not.

Imports torch and transformers, so it is imported only when a model loads. What may not live here:
replies.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Any, Final

import torch
from attrs import frozen
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from evakit.errors import (
    BackendUnavailableError,
    ConfigurationError,
    EvakitError,
    ModelError,
)

from ._engine import Engine, free_memory
from ._prompt import Prompts
from ._quiet import quiet
from ._refusals import refusal, refusals
from ._source import Source

__all__ = ["Loaded", "load"]

_CONTEXT: Final = 4096  # tokens: about 20 minutes of talk
_BFLOAT16: Final = 8  # the major compute capability from which on GPUs compute in it: Ampere's


@frozen
class Loaded:
    """A model that is ready."""

    engine: Engine
    prompts: Prompts


def load(
    source: Source,
    *,
    backend: str,
    device: str,
    dtype: str | None,
    context_tokens: int | None,
    threads: int | None,
    vram_bytes: int | None,
) -> Loaded:
    """Load a model onto exactly `device`, `cpu` or `cuda:N`; blocks.

    Raises:
        PlacementError: torch cannot use that GPU, or the model does not fit.
        BackendUnavailableError: a package that the model needs is not installed.
        ModelError: the files are damaged, or no model for conversations.
        ConfigurationError: more context is asked for than the model was trained for.

    """
    with refusals(backend, device):
        _try(device)
        if vram_bytes is not None:
            _limit(device, vram_bytes)
        before = _allocated(device)

    def lift() -> None:
        if vram_bytes is not None:
            with suppress(RuntimeError):  # a GPU that is lost has no limits
                _limit(device, None)

    try:
        tokenizer, model = _from_files(source, device, dtype, backend)
    except BaseException as error:
        _let_go(error)
        lift()
        raise
    grown = {name: size - before[name] for name, size in _allocated(device).items()}
    engine = Engine(model, tokenizer, threads=threads, grown=grown, on_close=lift)
    del model
    try:
        context = _context(engine.trained_context, context_tokens, source.name)
        return Loaded(engine, Prompts(tokenizer, context=context, model=source.name))
    except BaseException:
        engine.close()
        raise


def _try(device: str) -> None:
    """Run something on the device: only then torch finds out what it cannot do."""
    torch.ones(1, device=device).add_(1).item()


def _limit(device: str, vram_bytes: int | None) -> None:
    """Hold what torch allocates on a GPU to `vram_bytes` more than now; None lifts the limit.

    torch knows one limit for the whole process, whoever else uses it there.
    """
    if device == "cpu":
        return
    share = 1.0
    if vram_bytes is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        share = min(1.0, (torch.cuda.memory_reserved(device) + vram_bytes) / total)
    torch.cuda.set_per_process_memory_fraction(share, device)


def _allocated(device: str) -> dict[str, int]:
    """Return the bytes that torch has allocated on a GPU; nothing for the CPU."""
    return {} if device == "cpu" else {device: int(torch.cuda.memory_allocated(device))}


def _let_go(error: BaseException) -> None:
    """Free what a load has loaded that failed; the frames of its error hold it."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    free_memory()


def _from_files(source: Source, device: str, dtype: str | None, backend: str) -> tuple[Any, Any]:
    """Return the tokenizer and the model."""
    files = {
        "pretrained_model_name_or_path": str(source.folder),
        "local_files_only": True,
        "trust_remote_code": False,
    }
    packed: dict[str, Any] = {}
    if source.file is not None:
        files["gguf_file"] = source.file
        # What computes with packed weights is fetched from the hub, and runs there: not here.
        packed = {"quantization_config": GgufConfig(dequantize=True)}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(**files)
            _refuse_code(config)
            tokenizer = AutoTokenizer.from_pretrained(**files)
            model, report = AutoModelForCausalLM.from_pretrained(
                **files,
                **packed,
                config=config,
                dtype=getattr(torch, dtype or _dtype(device)),
                device_map={"": device},
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:
        raise _why(error, source, device, backend) from error
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:  # transformers has filled them with random numbers
        raise _unusable(source, f"{len(missing)} of its weights are not there, {missing[0]} first")
    return tokenizer, model


def _refuse_code(config: Any) -> None:
    """Refuse a model that names a repository with programs to compute its attention with."""
    for part in (config, config.get_text_config(decoder=True)):
        named = str(getattr(part, "_attn_implementation", None))
        if "/" in named:
            raise ValueError(f"it asks for the programs in {named}, which are not run here")


def _why(error: Exception, source: Source, device: str, backend: str) -> EvakitError:
    """Return what a failure to load means."""
    refused = refusal(error, component=backend, wanted=device)
    if refused is not None:
        return refused
    said = f"{type(error).__name__}: {error}".partition("\n")[0][:300].rstrip(".")
    if isinstance(error, ImportError):
        return BackendUnavailableError(
            f"{source.name} needs a package that is not installed ({said}); install it, or use "
            "another model.",
            backend=backend,
            stage="llm",
        )
    return _unusable(source, said)


def _unusable(source: Source, why: str) -> ModelError:
    return ModelError(
        f"transformers could not load {source.path} ({why}); the files are "
        "damaged or incomplete, or of an architecture that this release does not know: download "
        "them again, update transformers, or use another model.",
        model=source.name,
    )


def _context(trained: int | None, asked: int | None, model: str) -> int:
    """Return what a prompt and its reply may have together, in tokens."""
    if asked is None:
        return _CONTEXT if trained is None else min(_CONTEXT, trained)
    if trained is not None and asked > trained:
        raise ConfigurationError(
            f"context_tokens is {asked}, but {model} was trained for {trained}; ask for at most "
            "that."
        )
    return asked


def _dtype(device: str) -> str:
    if device == "cpu":
        return "float32"
    major, _ = torch.cuda.get_device_capability(device)
    return "bfloat16" if major >= _BFLOAT16 else "float16"
