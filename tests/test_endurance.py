"""A thousand turns, and nothing is left of them: no thread, task, file or memory."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections import Counter

import pytest

import evakit
from evakit import AudioReady, TokenGenerated
from evakit.abc import BlockingLLM, BlockingTTS, Finish
from evakit.errors import GenerationError, TranscriptionError
from evakit.testing import ScriptedLLM, ScriptedSTT, ToneTTS, speech

WARM = 10
TURNS = 1_000
# Objects that may be more after 990 turns: two a turn. Caches and free lists fill up by some 500
# to 1,200 in the first thousand turns and hardly after them; one event that is kept is four a turn.
SLACK = 2_000
SAID = speech(0.2)
OPEN_FILES = "/proc/self/fd"


class Backends:
    """Scripted backends, and the script of turns of which some are left and some fail."""

    def __init__(self):
        self.stt, self.llm = ScriptedSTT(), ScriptedLLM()
        self.tts = ToneTTS(seconds_per_character=0.005)

    def stack(self):
        return evakit.Stack(stt=self.stt, llm=self.llm, tts=self.tts)

    def prepare(self, number):
        """Write what happens in turn `number`; of what came before, forget all notes."""
        for notes in (self.stt.script, self.stt.heard, self.stt.options):
            notes.clear()
        for notes in (self.llm.script, self.llm.requests, self.tts.spoken, self.tts.options):
            notes.clear()
        failure = number % 20
        self.stt.script.append(
            TranscriptionError("no", backend="stt") if failure == 7 else "How are you?"
        )
        self.llm.script.append(
            GenerationError("no", backend="llm")
            if failure == 16
            else "I am very well. Thank you for asking. And how are you today?"
        )


def said(number):
    return SAID if number % 2 else "How are you?"


def is_left_at(number, event):
    """Whether the reader leaves the turn: some at the first word, some at the first sound."""
    return isinstance(event, {3: TokenGenerated, 5: AudioReady}.get(number % 9, ()))


class Rest:
    """What is there after some turns: threads, files, tasks; and memory."""

    def __init__(self, tasks):
        gc.collect()
        self.memory = sys.getallocatedblocks()  # and not tracemalloc, which takes thrice the time
        # Without those that wait a moment for more work.
        names = [thread.name for thread in threading.enumerate()]
        threads = [name for name in names if not name.startswith(("evakit-worker", "Trio"))]
        files = len(os.listdir(OPEN_FILES)) if os.path.exists(OPEN_FILES) else None
        self.counts = {"threads": len(threads), "files": files, "tasks": tasks}

    def is_as(self, earlier):
        assert self.counts == earlier.counts
        assert self.memory - earlier.memory < SLACK


def count_tasks():
    """How many tasks the running event loop has."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


async def converse(stack, number):
    try:
        async with (
            evakit.AsyncConversation(stack) as conversation,
            conversation.turn(said(number)) as turn,
        ):
            async for event in turn:
                if is_left_at(number, event):
                    break
    except (TranscriptionError, GenerationError):
        return "failed"
    return "interrupted" if turn.reply.interrupted else "finished"


def converse_without_async(stack, number):
    try:
        with evakit.Conversation(stack) as conversation, conversation.turn(said(number)) as turn:
            for event in turn:
                if is_left_at(number, event):
                    break
    except (TranscriptionError, GenerationError):
        return "failed"
    return "interrupted" if turn.reply.interrupted else "finished"


def was_mixed(ends):
    return ends.keys() == {"failed", "finished", "interrupted"} and min(ends.values()) > 50


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_after_a_thousand_turns_all_is_as_after_ten(anyio_backend):
    backends, ends = Backends(), Counter()
    async with backends.stack() as stack:
        for number in range(TURNS):
            backends.prepare(number)
            ends[await converse(stack, number)] += 1
            if number == WARM - 1:
                early = Rest(count_tasks())
        Rest(count_tasks()).is_as(early)
    assert was_mixed(ends)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_async_after_a_thousand_turns_all_is_as_after_ten():
    backends, ends = Backends(), Counter()
    stack = backends.stack()
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as other:
        other.respond("Hello.")  # whose event loop goes on while it is open

        def tasks():
            return other._loop.open().call(count_tasks)

        with evakit.Conversation(stack):  # and whose backends stay loaded
            for number in range(TURNS):
                backends.prepare(number)
                ends[converse_without_async(stack, number)] += 1
                if number == WARM - 1:
                    early = Rest(tasks())
            Rest(tasks()).is_as(early)
    assert was_mixed(ends)


class BlockingReply(BlockingLLM):
    """An engine that blocks, so that its replies go through worker threads."""

    def tokens(self, request):
        yield from ("I am ", "well. ", "And ", "you?")
        yield Finish("stop")


class BlockingVoice(BlockingTTS):
    def synthesize(self, text, options):
        yield speech(0.1)
        yield speech(0.1)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_after_hundreds_of_turns_in_threads_all_is_as_after_ten(anyio_backend):
    async with evakit.Stack(stt=None, llm=BlockingReply(), tts=BlockingVoice()) as stack:
        for number in range(TURNS // 5):
            await converse(stack, 2 * number)
            if number == WARM - 1:
                early = Rest(count_tasks())
        Rest(count_tasks()).is_as(early)
