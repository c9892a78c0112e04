"""Loading: from a model's name to an engine that has it, or one sentence why not.

Imported when a model loads. What may not live here: replies.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from attrs import frozen

from evakit.abc import Evidence, LoadContext
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import ConfigurationError, ModelError

from ._build import EngineBuild
from ._engine import CHUNK, Engine, EngineOptions, LoadFailedError, installed_build
from ._estimate import estimate_vram
from ._gguf import check_gguf, read_head
from ._models import ModelChoice
from ._placement import in_main_memory, read_evidence
from ._refusals import check_memory, main_gpu, not_imported, out_of_memory
from ._wire import EngineError

__all__ = ["Loaded", "estimate", "load"]

_CONTEXT: Final = 4096  # tokens: about 20 minutes of talk; SmolLM2 was trained for 8192


@frozen
class Loaded:
    """A model that is ready."""

    engine: Engine
    around: int
    """Tokens that the model's template adds to each message."""
    evidence: tuple[Evidence, ...]


def load(
    choice: ModelChoice,
    context: LoadContext,
    *,
    backend: str,
    context_tokens: int | None,
    threads: int | None,
    parallel: int,
    cache_mib: int,
) -> Loaded:
    """Load a model, on exactly the device of `context`; blocks.

    Raises:
        BackendUnavailableError: xllamacpp is not installed.
        ModelError: the file is missing, or not a model that llama.cpp can load.
        PlacementError: the GPU that is asked for cannot be had, or the model does not fit.
        ConfigurationError: more context is asked for than the model was trained for.

    """
    device = context.device
    build = _build(device, backend)
    gpu = None
    if device != CPU:
        gpu = main_gpu(build, device, component=backend, environment=os.environ)
    path = _path(choice, context)
    check_gguf(path, model=choice.name)
    if context.vram_bytes is not None and gpu is not None:
        need = estimate(choice, context, context_tokens=context_tokens, parallel=parallel)
        check_memory(need, context.vram_bytes, device, component=backend)
    options = EngineOptions(
        path=path,
        context=context_tokens or _CONTEXT,
        parallel=parallel,
        threads=threads or context.threads or max(1, _cpus() // 2),
        cache_mib=cache_mib,
        gpu=gpu,
        keeps_log=build.has_gpu,
    )
    engine = _engine(options, choice.name, backend, device)
    try:
        if (context_tokens or 0) > engine.context:
            raise ConfigurationError(
                f"context_tokens is {context_tokens}, but {choice.name} was trained for "
                f"{engine.trained_context}; ask for at most that."
            )
        return Loaded(
            engine, _around(engine, choice.name), _evidence(engine, build, path, choice.name)
        )
    except BaseException:
        engine.close()
        raise


def estimate(
    choice: ModelChoice, context: LoadContext, *, context_tokens: int | None, parallel: int
) -> int:
    """Return about how many bytes of a GPU's memory the model will take.

    Raises:
        ModelError: its file is missing, or no model.

    """
    tokens = (context_tokens or _CONTEXT) * parallel
    path = _path(choice, context)
    return estimate_vram(path, tokens=tokens, chunk=CHUNK, model=choice.name)


def _build(device: Device, backend: str) -> EngineBuild:
    try:
        return installed_build()
    except ImportError as error:
        raise not_imported(error, device, component=backend) from error


def _evidence(engine: Engine, build: EngineBuild, path: Path, model: str) -> tuple[Evidence, ...]:
    if not build.has_gpu:
        return in_main_memory(build)
    head = read_head(path, model=model, with_tensors=True)
    return read_evidence(engine.log, input_bytes=head.input_bytes or 0)


def _path(choice: ModelChoice, context: LoadContext) -> Path:
    if choice.model is None:
        return Path(choice.file)
    folder = context.models.get(choice.model.name)
    if folder is None:
        raise ModelError(
            f"The files of {choice.model.name} were not given to the backend; get them with: "
            f"evakit models fetch {choice.model.name}",
            model=choice.name,
        )
    return folder / choice.file


def _engine(options: EngineOptions, model: str, backend: str, device: Device) -> Engine:
    try:
        return Engine(options)
    except LoadFailedError as error:
        if (refusal := out_of_memory(error.lines, device, component=backend)) is not None:
            raise refusal from error
        why = next(
            (f"it says {line.text!r}" for line in error.lines if line.level == "E"),
            "the file is damaged, of an architecture that this release does not know, or too "
            "large for this machine's memory",
        )
        raise ModelError(
            f"llama.cpp could not load {options.path}: {why}; download it again, ask for fewer "
            "context_tokens, or update xllamacpp.",
            model=model,
        ) from error


def _around(engine: Engine, model: str) -> int:
    """Tell the template's tokens around a message from one turn more."""
    one = [{"role": "user", "content": "a"}]
    more = [*one, {"role": "assistant", "content": "a"}, *one]
    try:
        added = engine.count(more) - engine.count(one) - 2 * engine.tokens("a")
    except EngineError as error:
        raise ModelError(
            f"{model} has a chat template that llama.cpp cannot use ({error}); "
            "use a model that was made for conversations.",
            model=model,
        ) from error
    return max(0, -(-added // 2))


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):  # how many this process may use; not on all systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
