"""Loading: from a model's name to an engine that has it, or one sentence why not.

Imported when a model loads. What may not live here: replies.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from attrs import frozen

from evakit.abc import LoadContext
from evakit.devices import Placement
from evakit.errors import BackendUnavailableError, ConfigurationError, DeviceError, ModelError

from ._engine import Engine, EngineOptions, LoadFailedError
from ._gguf import check_gguf
from ._models import ModelChoice
from ._placement import read_placement
from ._wire import EngineError

__all__ = ["Loaded", "load"]

_CONTEXT: Final = 4096  # tokens: about 20 minutes of talk; SmolLM2 was trained for 8192


@frozen
class Loaded:
    """A model that is ready."""

    engine: Engine
    around: int
    """Tokens that the model's template adds to each message."""
    placement: Placement


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
    """Load a model, on the CPU; blocks.

    Raises:
        BackendUnavailableError: xllamacpp is not installed.
        ModelError: the file is missing, or not a model that llama.cpp can load.
        DeviceError: another device than the CPU is asked for.
        ConfigurationError: more context is asked for than the model was trained for.

    """
    if context.device.name != "cpu":
        raise DeviceError(
            f"{backend} was asked for on {context.device}, but runs on the CPU only; "
            "ask for device 'cpu' or 'auto'.",
            component=backend,
            wanted=context.device.name,
        )
    path = _path(choice, context)
    check_gguf(path, model=choice.name)
    options = EngineOptions(
        path=path,
        context=context_tokens or _CONTEXT,
        parallel=parallel,
        threads=threads or context.threads or max(1, _cpus() // 2),
        cache_mib=cache_mib,
    )
    engine = _engine(options, choice.name, backend)
    try:
        if (context_tokens or 0) > engine.context:
            raise ConfigurationError(
                f"context_tokens is {context_tokens}, but {choice.name} was trained for "
                f"{engine.trained_context}; ask for at most that."
            )
        around = _around(engine, choice.name)
        return Loaded(engine, around, read_placement(*engine.devices, path.stat().st_size))
    except BaseException:
        engine.close()
        raise


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


def _engine(options: EngineOptions, model: str, backend: str) -> Engine:
    try:
        return Engine(options)
    except ImportError as error:
        raise BackendUnavailableError(
            f"xllamacpp could not be imported ({error}); install it with: pip install xllamacpp",
            backend=backend,
            stage="llm",
        ) from error
    except LoadFailedError as error:
        raise ModelError(
            f"llama.cpp could not load {options.path}: the file is damaged, of an architecture "
            "that this release does not know, or too large for this machine's memory; download "
            "it again, ask for fewer context_tokens, or update xllamacpp.",
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
