"""TransformersLLM: the LLM backend.

What may not live here: torch and transformers (`_engine.py`, `_loading.py`), prompts
(`_prompt.py`), and what torch's errors mean (`_refusals.py`).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from evakit.abc import (
    CallbackLLM,
    Capabilities,
    Evidence,
    LLMRequest,
    LoadContext,
    Usage,
    WarmUp,
    stop_asked,
)
from evakit.abc.llm import Emit
from evakit.chat import Message, Role
from evakit.devices import Device
from evakit.errors import (
    BackendUnavailableError,
    ConfigurationError,
    DeviceError,
    ModelError,
)
from evakit.models import Model

from ._models import choose_model

if TYPE_CHECKING:
    from ._loading import Loaded

__all__ = ["TransformersLLM"]

_DTYPES: Final = (None, "float32", "bfloat16", "float16")
_WARM_UP: Final = 8  # tokens: enough for a rate; 0.3 s with the starter model on one CPU


class TransformersLLM(CallbackLLM):
    """Generates replies with transformers, on PyTorch, in this process."""

    capabilities = Capabilities(devices={"cpu", "cuda"}, engines={"torch"})

    def __init__(
        self,
        model: str = "smollm2-135m-instruct",
        *,
        context_tokens: int | None = None,
        max_tokens: int = 256,
        temperature: float = 0.2,
        top_p: float = 0.9,
        repeat_penalty: float = 1.1,
        seed: int | None = 0,
        dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        """Choose a model.

        Args:
            model: `smollm2-135m-instruct`, `organisation/name[@revision]` of the Hugging Face
                hub, the path of a folder with a model, or that of a .gguf file.
            context_tokens: what prompt and reply may have together; None is 4096, or what the
                model was trained for if that is less. Older turns are left out as needed.
            max_tokens: the length of a reply where the request does not say.
            temperature: how freely words are chosen; 0 takes the likeliest. 0.2 and a `top_p`
                of 0.9 are what SmolLM2's authors use.
            top_p: the share of the likeliest words that are chosen from.
            repeat_penalty: above 1, words that were just said become less likely; small models
                go round in circles without it.
            seed: the same seed gives the same reply; None, a new one each time.
            dtype: `float32`, `bfloat16` or `float16`; None is float32 on the CPU, on a GPU
                bfloat16, or float16 where the GPU is older than Ampere.
            threads: CPU threads; None leaves it to the conversation, then to torch.

        Raises:
            UnknownModelError: `model` is none of these.
            ConfigurationError: an option makes no sense.

        """
        _at_least(1, max_tokens=max_tokens, threads=threads)
        _at_least(64, context_tokens=context_tokens)
        _at_least(0, temperature=temperature, seed=seed)
        if not 0 < top_p <= 1:
            raise ConfigurationError(f"top_p is {top_p}; use a number above 0, at most 1.")
        if not 0 < repeat_penalty < math.inf:
            raise ConfigurationError(f"repeat_penalty is {repeat_penalty}; 1 means no penalty.")
        if dtype not in _DTYPES:
            names = ", ".join(map(repr, _DTYPES))
            raise ConfigurationError(f"dtype is {dtype!r}; use one of {names}.")
        self._choice = choose_model(model)
        self.model_name = self._choice.name
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._sampling = {
            "temperature": temperature,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "seed": seed,
        }
        self._dtype = dtype
        self._threads = threads
        self._loaded: Loaded | None = None
        self._wanted = "cpu"

    def models(self) -> tuple[Model, ...]:
        """Name the model, unless it is on this disk."""
        return () if self._choice.model is None else (self._choice.model,)

    def load_model(self, context: LoadContext) -> None:
        """Load the model onto exactly the device that is asked for.

        Raises:
            BackendUnavailableError: torch, transformers or a package of the model's is missing.
            ModelError: the files are missing or damaged, or no model for conversations.
            PlacementError: torch cannot use the GPU, or the model does not fit there.
            DeviceError: another kind of device is asked for.
            ConfigurationError: more context is asked for than the model was trained for.

        """
        from evakit.privacy import silence_hub_client  # noqa: PLC0415 (describing stays quick)

        from ._refusals import check_build, refusals  # noqa: PLC0415
        from ._source import find_source  # noqa: PLC0415

        wanted = context.device.name
        if not re.fullmatch(r"cpu|cuda:\d+", wanted):
            raise DeviceError(
                f"{self.name} was asked for on {wanted}, but runs on 'cpu' and 'cuda:N'; ask for "
                "one of them.",
                component=self.name,
                wanted=wanted,
            )
        source = find_source(self._choice, context)
        if wanted != "cpu":
            check_build(component=self.name, wanted=wanted)
        silence_hub_client()
        try:
            with refusals(component=self.name, wanted=wanted):
                from ._loading import load  # noqa: PLC0415 (imports torch)
        except (ImportError, OSError) as error:
            raise BackendUnavailableError(
                f"torch or transformers could not be imported ({error}); install them with: "
                "pip install torch transformers accelerate gguf",
                backend=self.name,
                stage="llm",
            ) from error
        self._wanted = wanted
        self._loaded = load(
            source,
            backend=self.name,
            device=wanted,
            dtype=self._dtype,
            context_tokens=self._context_tokens,
            threads=self._threads or context.threads,
            vram_bytes=context.vram_bytes,
        )

    def unload_model(self) -> None:
        """Free the model."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.engine.close()

    def vram_estimate(self, context: LoadContext) -> int | None:
        """Return the bytes of the weights and of a conversation's keys and values.

        None for a GGUF file, which is unpacked as it is loaded: into how much, its size does not
        tell.
        """
        from ._source import estimate_vram, find_source  # noqa: PLC0415 (describing stays quick)

        try:
            source = find_source(self._choice, context)
        except ModelError:  # loading says so
            return None
        return estimate_vram(source, self._dtype, self._context_tokens)

    def warm_up_model(self) -> WarmUp | None:
        """Write a few tokens.

        Raises:
            PlacementError: torch cannot use the GPU.
            GenerationError: the model wrote nothing, or torch failed.

        """
        started = time.perf_counter()
        with self._errors() as loaded:
            ids = loaded.prompts.fitting([Message(Role.USER, "Hello!")], _WARM_UP)
            cost = loaded.engine.generate(
                ids, lambda _: False, max_tokens=_WARM_UP, sampling=self._sampling
            )
        seconds = time.perf_counter() - started
        return WarmUp(seconds=seconds, amount=cost.written, unit="tokens")

    def evidence(self) -> tuple[Evidence, ...]:
        """Say where the parameters, the buffers and the output of the last run lie."""
        from ._placement import evidence_of  # noqa: PLC0415 (describing stays quick)

        reading = None if self._loaded is None else self._loaded.engine.reading()
        return () if reading is None else evidence_of(reading)

    def quick_check(self) -> Device:
        """Say where the model's first parameter lies.

        Raises:
            DeviceError: it is not loaded.

        """
        device = None if self._loaded is None else self._loaded.engine.device
        if device is None:
            raise DeviceError(
                f"{self.name} is not loaded; load it before asking where it is.",
                component=self.name,
            )
        return Device(device)

    def generate(self, request: LLMRequest, emit: Emit) -> None:
        """Emit the reply's text as it comes, then what it cost and why it ended."""
        from ._reply import Reply  # noqa: PLC0415 (describing stays quick)

        max_tokens = request.max_tokens or self._max_tokens
        with self._errors() as loaded:
            ids = self._prompt(loaded, request)
            reply = Reply(loaded.engine.decode, loaded.engine.ends, emit)
            cost = loaded.engine.generate(
                ids,
                reply.take,
                max_tokens=min(max_tokens, loaded.prompts.context - len(ids)),
                sampling=self._sampling,
            )
        if not stop_asked():
            reply.end(
                Usage(
                    prompt_tokens=cost.prompt,
                    cached_tokens=cost.cached,
                    completion_tokens=cost.written,
                )
            )

    def warm(self, request: LLMRequest) -> None:
        """Read a prompt, so that the reply to it starts sooner."""
        with self._errors() as loaded:
            if loaded.engine.keeps_prompts:
                ids = self._prompt(loaded, request)
                loaded.engine.generate(ids, lambda _: True, max_tokens=1, sampling=self._sampling)

    def _prompt(self, loaded: Loaded, request: LLMRequest) -> list[int]:
        # Room for the reply, but never more than half: a bound on a reply is not a plan.
        reserved = min(request.max_tokens or self._max_tokens, loaded.prompts.context // 2)
        return loaded.prompts.fitting(request.messages, reserved)

    @contextmanager
    def _errors(self) -> Generator[Loaded]:
        """Give what is loaded, and say what goes wrong with it as evakit's errors."""
        from ._problems import Problem, explained, not_loaded  # noqa: PLC0415 (as above)

        loaded = self._loaded
        if loaded is None:
            raise not_loaded(self.name)
        try:
            yield loaded
        except Problem as problem:
            error = explained(
                problem,
                backend=self.name,
                device=self._wanted,
                trained=loaded.engine.trained_context,
            )
            raise error from problem.__cause__ or problem


def _at_least(least: int, **options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not least <= value < math.inf:
            raise ConfigurationError(f"{name} is {value}; use at least {least}.")
