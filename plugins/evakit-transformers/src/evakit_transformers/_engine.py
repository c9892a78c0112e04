"""Engine: a loaded model of transformers, run on torch.

Imports both, so it is imported only when a model loads, after `evakit.privacy.silence_hub_client`.
What may not live here: finding and loading the model, conversations, and evakit's errors.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import torch
from attrs import frozen
from transformers import GenerationConfig

from evakit.abc import stop_asked

from ._placement import Reading, Tensor
from ._prefix import Prefix
from ._problems import EngineClosedError, EngineError
from ._quiet import quiet
from ._sampling import Sampler

__all__ = ["Engine", "Generated", "free_memory"]

CHUNK: Final = 64
"""Tokens of a prompt that are read between two looks at whether the reply is still wanted."""

_FAILURES: Final = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What torch and the models of transformers raise when they fail."""

Take = Callable[[int], bool]


class _Unwanted(Exception):  # noqa: N818 (nothing went wrong)
    """Nobody waits for what the model is doing."""


@frozen(kw_only=True)
class Generated:
    """What a reply cost, in tokens."""

    prompt: int
    cached: int
    """Of the prompt, those that did not have to be read again."""
    written: int


class Engine:
    """A loaded model. One call at a time; `reading` and `device` at any time."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        threads: int | None,
        grown: Mapping[str, int],
        on_close: Callable[[], None],
    ) -> None:
        self._model = model
        self.tokenizer = tokenizer
        self._threads = threads
        self._grown = grown
        self._on_close = on_close
        self._output: str | None = None
        self._prefix = Prefix(model)
        self.ends = _ends(model, tokenizer)
        """The tokens that end a reply."""
        self.trained_context: int | None = getattr(
            model.config.get_text_config(decoder=True), "max_position_embeddings", None
        )
        """Tokens that the model was trained to read; None where its files do not say."""
        # What a repository recommends may be beams, searches or whole programs: of it, only what
        # ends a reply is used.
        model.generation_config = GenerationConfig()
        self._hooks = [
            model.register_forward_pre_hook(_look_up),
            model.register_forward_hook(self._note_output),
        ]

    def generate(
        self, ids: Sequence[int], take: Take, *, max_tokens: int, sampling: dict[str, Any]
    ) -> Generated:
        """Read the prompt `ids`, and call `take` with each token of the reply until it says True.

        Stops within one token, and while the prompt is read after 64, when the calling thread's
        work is no longer wanted.

        Raises what `take` raises, and:

        Raises:
            EngineClosedError: the model was unloaded.
            EngineError: transformers or torch failed.
            OverflowedError: the model's numbers left the range of their type.

        """
        model = self._model
        if model is None:
            raise EngineClosedError
        cache, known = self._prefix.take(ids)
        steps = _Steps(take)
        with self._at_work():
            try:
                prompt = torch.tensor([list(ids)], device=model.device)
                model.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    **({} if cache is None else {"past_key_values": cache}),
                    generation_config=GenerationConfig(
                        max_new_tokens=max_tokens,
                        do_sample=False,
                        use_cache=True,
                        prefill_chunk_size=None if cache is None else CHUNK,
                    ),
                    logits_processor=[Sampler(**sampling)],
                    stopping_criteria=[steps],
                )
            except _Unwanted:
                pass  # it was raised between two runs of the model: what was read is whole
            except _FAILURES as error:
                raise EngineError from error
        if steps.failure is not None:
            raise steps.failure
        self._prefix.keep(cache, [*ids, *steps.tokens])
        return Generated(prompt=len(ids), cached=known, written=len(steps.tokens))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without those that only steer the model."""
        text: str = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    @property
    def keeps_prompts(self) -> bool:
        """Whether a prompt that was read is not read again."""
        return self._prefix.can_continue

    @property
    def device(self) -> str | None:
        """Where the model's first parameter lies, as torch names it; None once it is closed."""
        model = self._model
        return None if model is None else str(next(model.parameters()).device)

    def reading(self) -> Reading | None:
        """Read where the model is; None once it is closed."""
        model = self._model
        if model is None:
            return None
        places = getattr(model, "hf_device_map", {}).values()
        return Reading(
            parameters=map(_tensor, model.parameters()),
            buffers=map(_tensor, model.buffers()),
            output=self._output,
            device_map=tuple(map(_name, places)),
            grown=self._grown,
        )

    def close(self) -> None:
        """Let go of the model; calling it twice is fine."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._model = None
        self._prefix.forget()
        self._on_close()
        free_memory()

    def _note_output(self, _module: Any, _inputs: Any, output: Any) -> None:
        self._output = str(output.logits.device)

    @contextmanager
    def _at_work(self) -> Generator[None]:
        """Work with the threads that were asked for, in this thread only, and say nothing."""
        before = torch.get_num_threads()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            with quiet():
                yield
        finally:
            if self._threads is not None:
                torch.set_num_threads(before)


def free_memory() -> None:
    """Give back what nothing refers to any more, also to the GPU's driver."""
    gc.collect()  # a model's modules refer to each other
    if torch.cuda.is_initialized():
        with suppress(RuntimeError):  # a GPU that is lost has nothing to give back
            torch.cuda.empty_cache()


class _Steps:
    """Is told of each token that was chosen, and says whether it was the last.

    One of the stopping criteria that `generate` takes.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self.tokens: list[int] = []
        self.failure: BaseException | None = None

    def __call__(self, ids: Any, _scores: Any, **_: Any) -> Any:
        token = int(ids[0, -1])
        self.tokens.append(token)
        try:
            is_last = self._take(token)
        except BaseException as failure:  # noqa: BLE001 (raised again when the engine has stopped)
            self.failure, is_last = failure, True
        return torch.tensor([is_last], device=ids.device)


def _look_up(*_: object) -> None:
    """Look, before the model runs, whether anybody waits for what comes of it."""
    if stop_asked():
        raise _Unwanted


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    found: set[int] = set()
    for ends in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        found.update([ends] if isinstance(ends, int) else ends or [])
    return frozenset(found)


def _tensor(tensor: Any) -> Tensor:
    return Tensor(str(tensor.device), tensor.numel() * tensor.element_size())


def _name(place: Any) -> str:
    return str(torch.device("cuda", place) if isinstance(place, int) else place)
