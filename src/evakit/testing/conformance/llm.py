"""LLMConformance: what every LLM must do. What may not live here: other kinds."""

from __future__ import annotations

from typing import ClassVar

import anyio
from attrs import evolve

from ...abc import LLM, Finish, LLMChunk, LLMRequest, ToolCall, Usage
from ...chat import Message, Role
from ...errors import ContextTooLongError
from . import backend as _backend
from ._promises import promised

__all__ = ["LLMConformance"]


class LLMConformance(_backend.BackendConformance):
    """What every LLM must do."""

    request: ClassVar[LLMRequest] = LLMRequest(
        messages=(Message(Role.USER, "Say hello to me."),), max_tokens=12
    )
    """What a reply is asked for with."""
    too_long: ClassVar[str] = "word " * 50_000
    """A message that is more than the model can read; of one that can, a reply is expected."""

    async def chunks(self, llm: LLM, request: LLMRequest | None = None) -> list[LLMChunk]:
        """Return all of a reply."""
        async with llm.reply(request or self.request) as stream:
            return [chunk async for chunk in stream]

    async def text(self, llm: LLM, request: LLMRequest | None = None) -> str:
        """Return the text of a reply."""
        return "".join(c for c in await self.chunks(llm, request) if isinstance(c, str))

    async def use(self, backend: LLM) -> object:
        return bool((await self.text(backend)).strip())

    @promised
    async def test_a_reply_has_text(self, loaded: LLM) -> None:
        """A reply to a plain question has text in it."""
        assert (await self.text(loaded)).strip()

    @promised
    async def test_a_reply_is_made_of_known_pieces(self, loaded: LLM) -> None:
        """A piece of a reply is text, a tool call, what it cost or why it ends."""
        kinds = {type(chunk) for chunk in await self.chunks(loaded)}
        odd = {kind.__name__ for kind in kinds - {str, ToolCall, Usage, Finish}}
        assert not odd, f"{', '.join(odd)}"

    @promised
    async def test_a_reply_says_once_why_it_ends(self, loaded: LLM) -> None:
        """A reply says once why it ends: `stop`, or `length` where it was cut off."""
        ends = [c.reason for c in await self.chunks(loaded) if isinstance(c, Finish)]
        assert ends in (["stop"], ["length"]), f"it says {ends}"

    @promised
    async def test_no_text_comes_after_the_end(self, loaded: LLM) -> None:
        """After a reply has said why it ends, no text of it comes."""
        ended = False
        for chunk in await self.chunks(loaded):
            assert not (ended and isinstance(chunk, str)), f"{chunk!r} comes"
            ended = ended or isinstance(chunk, Finish)

    @promised
    async def test_a_reply_that_is_over_stays_over(self, loaded: LLM) -> None:
        """A stream that has come to its end gives nothing more, however often it is asked."""
        with anyio.fail_after(_backend._PATIENCE):
            async with loaded.reply(self.request) as stream:
                first = [chunk async for chunk in stream]
                again = [chunk async for chunk in stream]
        assert first, "it gives nothing at all"
        assert not again, f"it gives {again}"

    @promised
    async def test_usage_is_counted_or_unknown(self, loaded: LLM) -> None:
        """What a reply cost is counted in tokens, and is None where that is not known."""
        for usage in (c for c in await self.chunks(loaded) if isinstance(c, Usage)):
            counts = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
            assert all(count is None or count >= 0 for count in counts), f"{usage}"

    @promised
    async def test_a_reply_is_no_longer_than_was_asked_for(self, loaded: LLM) -> None:
        """`max_tokens` is an upper bound on a reply's length."""
        chunks = await self.chunks(loaded, evolve(self.request, max_tokens=2))
        text = "".join(chunk for chunk in chunks if isinstance(chunk, str))
        counts = [c.completion_tokens or 0 for c in chunks if isinstance(c, Usage)]
        assert max(counts, default=0) <= 2, f"of at most 2 tokens there are {counts}"
        assert len(text.split()) <= 2, f"at most 2 tokens say {text!r}"

    @promised
    async def test_a_whole_conversation_is_answered(self, loaded: LLM) -> None:
        """A request may hold a system prompt, earlier turns, names and an interrupted reply."""
        messages = (
            Message(Role.SYSTEM, "You are brief."),
            Message(Role.USER, "Name a colour — any 🙂", name="Zoë"),
            Message(Role.ASSISTANT, "Blue is", interrupted=True),
            *self.request.messages,
        )
        request = evolve(
            self.request,
            messages=messages,
            language="en-GB",
            conversation_id="conformance",
            interrupted="Blue is",
        )
        assert (await self.text(loaded, request)).strip()

    @promised
    async def test_a_message_that_is_too_long_is_an_error_of_its_own(self, loaded: LLM) -> None:
        """One message that exceeds what the model can read is a ContextTooLongError."""
        request = evolve(self.request, messages=(Message(Role.USER, self.too_long),), max_tokens=1)
        try:
            answer = await self.text(loaded, request)
        except ContextTooLongError:
            return
        assert answer, "it is answered with nothing"

    @promised
    async def test_a_reply_that_is_left_stops(self, loaded: LLM) -> None:
        """Leaving the block stops the generation, and the next reply need not wait for it."""
        with anyio.fail_after(_backend._PATIENCE):
            async with loaded.reply(self.request) as stream:
                await anext(stream)
            assert await self.use(loaded)

    @promised
    async def test_a_reply_that_nobody_reads_can_be_left(self, loaded: LLM) -> None:
        """The block of a reply can be left before anything of it was read."""
        with anyio.fail_after(_backend._PATIENCE):
            async with loaded.reply(self.request):
                pass
            assert await self.use(loaded)

    @promised
    async def test_a_prompt_that_was_read_early_is_answered(self, loaded: LLM) -> None:
        """`prefill` reads a prompt early or does nothing; the reply to it comes all the same."""
        await loaded.prefill(self.request)
        assert await self.use(loaded)
