"""LlamaCppLLM: the LLM backend.

What may not live here: xllamacpp (`_engine.py`), finding and checking the model (`_loading.py`),
and which old turns go (`_context.py`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

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
from evakit.abc.llm import Emit, LLMChunk
from evakit.chat import Message, Role
from evakit.devices import Device
from evakit.devices.device import CPU
from evakit.errors import (
    BackendBusyError,
    BackendUnavailableError,
    ConfigurationError,
    ContextTooLongError,
    DeviceError,
    GenerationError,
    ModelError,
)
from evakit.models import Model

from ._context import fit
from ._models import choose_model
from ._wire import (
    TOO_LONG,
    EngineClosedError,
    EngineError,
    Reply,
    encodable,
    written,
)

if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["LlamaCppLLM"]

_PATIENCE: Final = 60.0  # seconds to wait for others' replies, as in evakit's lanes
_POLL: Final = 0.02  # seconds between two looks at whether the waiting caller was cancelled
_WARM_UP: Final = 8  # tokens: enough for the kernels of reading and of writing
_HELLO: Final = LLMRequest(messages=[Message(Role.USER, "Hello! Who are you?")])


class LlamaCppLLM(CallbackLLM):
    """Generates replies with llama.cpp, in this process.

    Args:
        model: `smollm2-135m-instruct`, the path of a .gguf file, or
            `organisation/repository/file.gguf[@revision]` of the Hugging Face hub.
        context_tokens: what prompt and reply may have together; None is 4096, or what the
            model was trained for if that is less. Older turns are left out as needed.
        max_tokens: the length of a reply where the request does not say.
        temperature: how freely words are chosen; 0 takes the likeliest. 0.2 and a `top_p`
            of 0.9 are what SmolLM2's authors use.
        top_p: the share of the likeliest words that are chosen from.
        repeat_penalty: above 1, words that were just said become less likely; small models
            go round in circles without it.
        seed: the same seed gives the same reply; None, a new one each time.
        threads: CPU threads; None is half of the CPUs. The engine's threads wait for each
            other without sleeping, so more of them than there are free CPUs are far slower
            than one: on two CPUs with other work, two wrote 1 token a second, one wrote 44.
        parallel: how many replies are generated at once; each takes the memory of a context.
        cache_mib: memory in MiB that keeps what was read for conversations that pause.

    Raises:
        UnknownModelError: `model` is none of these.
        ConfigurationError: a number makes no sense.

    """

    capabilities = Capabilities(
        devices={"cpu", "cuda"}, engines={"llama.cpp"}, serves_many_at_once=True
    )
    probe = "evakit_llamacpp._probe:try_device"

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
        threads: int | None = None,
        parallel: int = 2,
        cache_mib: int = 512,
    ) -> None:
        _at_least(1, max_tokens=max_tokens, parallel=parallel, threads=threads)
        _at_least(64, context_tokens=context_tokens)
        _at_least(0, temperature=temperature, cache_mib=cache_mib, seed=seed)
        if not 0 < top_p <= 1:
            raise ConfigurationError(f"top_p is {top_p}; use a number above 0, at most 1.")
        if not 0 < repeat_penalty < math.inf:
            raise ConfigurationError(f"repeat_penalty is {repeat_penalty}; 1 means no penalty.")
        self._choice = choose_model(model)
        self.model_name = self._choice.name
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._sampling = {
            "temperature": temperature,
            "top_p": top_p,
            "repeat_penalty": repeat_penalty,
            "seed": -1 if seed is None else seed,  # the engine's word for a new one each time
        }
        self._threads = threads
        self._parallel = parallel
        self._cache_mib = cache_mib
        self._engine: Engine | None = None
        self._evidence: tuple[Evidence, ...] = ()

    def models(self) -> tuple[Model, ...]:
        """Name the model, unless it is a file on this disk."""
        return () if self._choice.model is None else (self._choice.model,)

    def vram_estimate(self, context: LoadContext) -> int | None:
        """Say how much the model takes, its contexts and its work; None without its file."""
        from ._loading import estimate  # noqa: PLC0415 (describing a backend stays quick)

        try:
            return estimate(
                self._choice,
                context,
                context_tokens=self._context_tokens,
                parallel=self._parallel,
            )
        except ModelError:  # loading it will say what is wrong
            return None

    def load_model(self, context: LoadContext) -> None:
        """Load the model.

        Raises:
            BackendUnavailableError: xllamacpp is not installed.
            ModelError: the file is missing, or not a model that llama.cpp can load.
            PlacementError: the GPU that is asked for cannot be had, or the model does not fit.
            ConfigurationError: more context is asked for than the model was trained for.

        """
        from ._loading import load  # noqa: PLC0415 (describing a backend stays quick)

        loaded = load(
            self._choice,
            context,
            backend=self.name,
            context_tokens=self._context_tokens,
            threads=self._threads,
            parallel=self._parallel,
            cache_mib=self._cache_mib,
        )
        self._around = loaded.around
        self._slots = threading.BoundedSemaphore(self._parallel)
        self._evidence = loaded.evidence
        self._engine = loaded.engine

    def unload_model(self) -> None:
        """Stop what is being generated and free the model."""
        engine, self._engine, self._evidence = self._engine, None, ()
        if engine is not None:
            engine.close()

    def warm_up_model(self) -> WarmUp:
        """Write a few tokens.

        Raises:
            BackendError: the engine failed.

        """
        pieces: list[LLMChunk] = []

        def keep(piece: LLMChunk) -> bool:
            pieces.append(piece)
            return False

        begun = time.perf_counter()
        with self._errors():
            # A model may have nothing to say: as many tokens as it takes, whatever they are.
            self._run(_HELLO, _WARM_UP, Reply(keep).take, _PATIENCE, ignore_eos=True)
        seconds = time.perf_counter() - begun
        written = sum(p.completion_tokens or 0 for p in pieces if isinstance(p, Usage))
        return WarmUp(seconds=seconds, amount=written, unit="tokens")

    def evidence(self) -> tuple[Evidence, ...]:
        """Say what llama.cpp allocated where, or that it can be nowhere else than on the CPU."""
        return self._evidence

    def quick_check(self) -> Device:
        """Say where the model is: it stays where it was seen, for as long as the engine is open.

        Raises:
            DeviceError: it is not loaded.

        """
        engine = self._engine
        if engine is None or not engine.is_open:
            raise DeviceError(
                f"{self.name} is nowhere: its model is not loaded; load it.", component=self.name
            )
        # Where nothing was seen, nothing is proven: it works on no GPU that anybody relies on.
        return self._evidence[0].device if self._evidence else CPU

    def generate(self, request: LLMRequest, emit: Emit) -> None:
        """Emit the reply's text as it comes, then what it cost and why it ended."""
        with self._errors():
            self._run(request, request.max_tokens or self._max_tokens, Reply(emit).take, _PATIENCE)

    def warm(self, request: LLMRequest) -> None:
        """Read a prompt, so that the reply to it starts sooner; not while others are replied to."""
        with self._errors(), suppress(BackendBusyError):
            self._run(request, 0, lambda _chunk: stop_asked(), patience=0)

    def _run(
        self,
        request: LLMRequest,
        max_tokens: int,
        take: Callable[[dict[str, Any]], bool],
        patience: float,
        **options: object,
    ) -> None:
        engine = self._engine
        if engine is None:
            raise EngineClosedError
        messages = self._fitting(engine, request)
        with self._slot(patience) as ours:
            if ours:
                body = {
                    **self._sampling,
                    "messages": written(messages),
                    "max_tokens": max_tokens,
                    "stream": True,
                    # A chunk for each piece of the prompt: the only moments to stop at.
                    "return_progress": True,
                    **options,
                }
                engine.stream(body, take)

    def _fitting(self, engine: Engine, request: LLMRequest) -> tuple[Message, ...]:
        # Room for the reply, but never more than half: a bound on a reply is not a plan.
        reserved = min(request.max_tokens or self._max_tokens, engine.context // 2)
        space = engine.context - reserved
        messages, tokens = fit(
            request.messages,
            space,
            count=lambda some: engine.count(written(some)),
            cost=lambda message: engine.tokens(encodable(message.content)) + self._around,
        )
        if tokens > space:
            raise ContextTooLongError(
                f"The last message and the system prompt have {tokens} tokens, but {self.name} "
                f"reads at most {space} ({engine.context} less {reserved} for the reply); shorten "
                f"them, or set context_tokens (the model was trained for {engine.trained_context})"
                " or use another model.",
                backend=self.name,
            )
        return messages

    @contextmanager
    def _slot(self, patience: float) -> Generator[bool]:
        """Wait until fewer than `parallel` replies are generated; False when asked to stop."""
        deadline = time.monotonic() + patience
        while not self._slots.acquire(timeout=_POLL):
            if stop_asked():
                yield False
                return
            if time.monotonic() > deadline:
                raise BackendBusyError(
                    f"{self.name} was busy for {patience:g} s with other conversations; try "
                    "again, allow fewer at once, or raise its option parallel.",
                    backend=self.name,
                    stage="llm",
                    retryable=True,
                )
        try:
            yield True
        finally:
            self._slots.release()

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except EngineClosedError:
            raise BackendUnavailableError(
                f"{self.name} is not loaded; load it, or use a conversation that is open.",
                backend=self.name,
                stage="llm",
            ) from None
        except EngineError as error:
            kind = ContextTooLongError if error.kind == TOO_LONG else GenerationError
            raise kind(
                f"{self.name} could not reply: llama.cpp says {str(error)!r}; "
                "change the messages or use another model.",
                backend=self.name,
            ) from error


def _at_least(least: int, **options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not least <= value < math.inf:
            raise ConfigurationError(f"{name} is {value}; use at least {least}.")
