"""Opening, closing, forking and failing at awkward moments: nothing hangs, nothing is lost."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading

import anyio
import numpy as np
import pytest

import evakit
from evakit import errors
from evakit.abc import BlockingLLM, STTSession, STTUpdate
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)
ENDLESS = " ".join(["One two three."] * 5000)


class Loading(ScriptedLLM):
    """Loads until it is let on."""

    def __init__(self, *replies):
        super().__init__(*replies)
        self.begun, self.go_on = anyio.Event(), anyio.Event()
        self.loads = 0

    async def load(self, context):
        self.begun.set()
        await self.go_on.wait()
        self.loads += 1

    async def unload(self):
        self.loads -= 1


def converse(**arguments):
    chosen = {"stt": None, "llm": ScriptedLLM(), "tts": ToneTTS()} | arguments
    return evakit.AsyncConversation(**chosen)


async def test_stages_that_fail_together_are_one_error_with_the_others_as_notes(anyio_backend):
    class Failing(ScriptedLLM):
        async def load(self, context):
            raise errors.BackendUnavailableError("No LLM here.", backend="llm")

    class AlsoFailing(ScriptedSTT):
        async def load(self, context):
            raise errors.BackendUnavailableError("No STT here.", backend="stt")

    with pytest.raises(errors.BackendUnavailableError, match=r"No (STT|LLM) here\.") as caught:
        await converse(stt=AlsoFailing(), llm=Failing()).load()
    # On trio the second may be cancelled before it fails.
    assert len(getattr(caught.value, "__notes__", [])) <= 1


async def test_closing_stops_a_turn_that_is_running(anyio_backend):
    llm = ScriptedLLM(ENDLESS, delay=0.001)
    conversation = converse(llm=llm)
    async with conversation, conversation.turn("Count.") as turn:
        await anext(turn)
        await conversation.aclose()
        given = llm.tokens_given
        with pytest.raises(errors.ConversationClosedError):
            async for _ in turn:
                pass
    assert llm.tokens_given == given
    assert llm.stopped == 1


async def test_an_engine_is_not_unloaded_under_a_turn(anyio_backend):
    order = []

    class Engine(BlockingLLM):
        def unload_model(self):
            order.append("unload")

        def tokens(self, request):
            try:
                for _ in range(1000):
                    yield "word "
            finally:
                order.append("end")

    conversation = converse(llm=Engine(), tts=None)
    async with conversation, conversation.turn("?") as turn:
        await anext(turn)
        await conversation.aclose()

    assert order == ["end", "unload"]


async def test_a_conversation_closed_while_it_loads_leaves_nothing_loaded(anyio_backend):
    llm = Loading()
    conversation = converse(llm=llm)
    with pytest.raises(errors.ConversationClosedError):
        async with conversation_loading(conversation, llm):
            await conversation.aclose()
    assert llm.loads == 0


async def test_a_stack_closed_while_it_loads_leaves_nothing_loaded(anyio_backend):
    llm = Loading()
    stack = evakit.Stack(stt=None, llm=llm, tts=None)
    with pytest.raises(errors.ConversationClosedError):
        async with conversation_loading(evakit.AsyncConversation(stack), llm):
            await stack.aclose()
    assert llm.loads == 0


class conversation_loading:  # noqa: N801 (reads as a verb)
    """Start loading in a task; at the end of the block let it go on, and raise what it raised."""

    def __init__(self, conversation, llm):
        self.conversation, self.llm = conversation, llm
        self.error = None

    async def __aenter__(self):
        self.tasks = anyio.create_task_group()
        await self.tasks.__aenter__()
        self.tasks.start_soon(self.load)
        await self.llm.begun.wait()
        self.tasks.start_soon(self.let_on)

    async def load(self):
        try:
            await self.conversation.load()
        except errors.EvakitError as error:
            self.error = error

    async def let_on(self):
        await anyio.sleep(0.01)
        self.llm.go_on.set()

    async def __aexit__(self, *exc):
        await self.tasks.__aexit__(None, None, None)
        if self.error is not None:
            raise self.error


async def test_a_tts_of_two_sample_rates_fails_the_turn_and_not_the_conversation(anyio_backend):
    class Odd(evakit.abc.BlockingTTS):
        def synthesize(self, text, options):
            for rate in (16_000, 22_050):
                yield evakit.Audio(0.1 * np.ones(rate), rate)

    async with converse(tts=Odd()) as conversation:
        for _ in range(2):
            with pytest.raises(errors.SynthesisError, match="22050"):
                await conversation.respond("Hello there.")


async def test_words_that_were_never_spoken_are_not_remembered(anyio_backend):
    async with converse(llm=ScriptedLLM("I will do it now. And then more.")) as conversation:
        async with conversation.turn("Do it.") as turn:
            async for event in turn:
                if isinstance(event, evakit.ClauseReady):
                    break

    assert [m.role.value for m in conversation.history] == ["user"]


async def test_a_text_turn_that_is_left_early_is_interrupted(anyio_backend):
    async with converse(llm=ScriptedLLM("one two three"), tts=None) as conversation:
        async with conversation.turn("?") as turn:
            await anext(turn)
            await anyio.wait_all_tasks_blocked()

    assert turn.reply.interrupted
    assert turn.reply.played == "one"


async def test_observers_see_one_end_of_each_turn(anyio_backend):
    ends = []

    def observe(event, conversation_id):
        if type(event).__name__ in {"TurnFinished", "TurnInterrupted", "TurnFailed"}:
            ends.append(type(event).__name__)

    llm = ScriptedLLM("One two.", "Three four.", errors.GenerationError("No.", backend="x"))
    async with converse(llm=llm, observers=[observe]) as conversation:
        async with conversation.turn("1") as turn:
            async for _ in turn:
                pass
            turn.played(1)
        await conversation.respond("2")
        with pytest.raises(errors.GenerationError):
            await conversation.respond("3")

    assert ends == ["TurnInterrupted", "TurnFinished", "TurnFailed"]


async def test_a_turn_that_failed_was_not_cut_short_by_the_user(anyio_backend):
    class Breaking(ToneTTS):
        def open(self, options):
            session = super().open(options)
            take = session.__anext__

            class Session(type(session)):
                async def __anext__(self):
                    if self._backend.chunks_given >= 3:
                        raise errors.SynthesisError("Broken.", backend="tone")
                    return await take()

            session.__class__ = Session
            return session

    llm = ScriptedLLM("One two three four five.", "Yes.")
    async with converse(llm=llm, tts=Breaking()) as conversation:
        with pytest.raises(errors.SynthesisError):
            await conversation.respond("Count.")
        assert conversation.history[-1].content
        assert not conversation.history[-1].interrupted
        with pytest.raises(errors.SynthesisError):
            await conversation.respond("And?")
        assert llm.requests[1].interrupted is None


async def test_a_broken_connection_of_a_streaming_stt_keeps_its_own_error(anyio_backend):
    def broken():
        return errors.TranscriptionError("The line broke.", backend="x", retryable=True)

    class Session(STTSession):
        async def feed(self, audio):
            """Into the void."""

        async def finish(self):
            await anyio.sleep(0.01)
            raise broken()

        def updates(self):
            return self

        def __aiter__(self):
            return self

        async def __anext__(self) -> STTUpdate:
            await anyio.sleep(0.01)
            raise broken()

    class Streaming(ScriptedSTT):
        def open(self, options):
            return Session()

    async with converse(stt=Streaming()) as conversation:
        with pytest.raises(errors.TranscriptionError, match="The line broke") as caught:
            await conversation.respond(QUESTION)
    assert caught.value.retryable


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # where anybody can raise it
async def test_an_engines_own_cancellation_is_an_error_and_not_the_callers(anyio_backend):
    import asyncio

    class Cancelling(ScriptedLLM):
        def reply(self, request):
            raise asyncio.CancelledError

    async with converse(llm=Cancelling()) as conversation:
        with pytest.raises(errors.BackendError, match="cancellation"):
            await conversation.respond("?")


@pytest.mark.parametrize("where", ["llm", "observer"])
async def test_an_exit_of_a_plugin_does_not_end_the_program(anyio_backend, where):
    class Exiting(ScriptedLLM):
        def reply(self, request):
            sys.exit(2)

    def leave(event, conversation_id):
        sys.exit(2)

    if where == "llm":
        async with converse(llm=Exiting()) as conversation:
            with pytest.raises(errors.GenerationError, match="SystemExit"):
                await conversation.respond("?")
    else:
        async with converse(observers=[leave]) as conversation:
            assert (await conversation.respond("?")).text


async def test_several_languages_have_a_voice_each(anyio_backend):
    tts = ToneTTS()
    stt = ScriptedSTT(evakit.Transcript("bonjour", language="fr"))
    async with converse(stt=stt, tts=tts, language=["en", "fr"]) as conversation:
        await conversation.respond(QUESTION)

    assert tts.options[-1].voice.name == "ton"


def test_arguments_that_a_stack_would_hide_are_refused():
    stack = evakit.Stack(stt=None, llm=None, tts=None)
    with pytest.raises(errors.ConfigurationError, match=r"llm=, device="):
        evakit.AsyncConversation(stack, llm=ScriptedLLM(), device="cpu")


async def test_an_instance_belongs_to_one_stack(anyio_backend):
    llm = ScriptedLLM()
    async with converse(llm=llm):
        with pytest.raises(errors.ConfigurationError, match="share that Stack"):
            await converse(llm=llm).load()
    async with converse(llm=llm) as again:
        assert (await again.respond("x")).text


async def test_nothing_that_was_said_reaches_the_log(anyio_backend, caplog):
    def quote(event, conversation_id):
        raise ValueError(f"cannot store {event!r}")

    with caplog.at_level(logging.DEBUG, "evakit"):
        async with converse(observers=[quote]) as conversation:
            await conversation.respond("my number is 4242")

    assert "4242" not in caplog.text
    assert conversation.id in caplog.text
    assert "ValueError" in caplog.text


async def test_a_listening_conversation_remembers_what_it_heard(anyio_backend):
    async with converse(stt=ScriptedSTT("note this"), llm=None, tts=None) as conversation:
        await conversation.respond(QUESTION)

    assert [m.content for m in conversation.history] == ["note this"]


# --- without async


def run(code, timeout=30):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return done.stdout, done.stderr, done.returncode


OPEN_TURN = """
    import threading, evakit
    from evakit.testing.fakes import ScriptedLLM, ToneTTS
    llm = ScriptedLLM(" ".join(["One two three."] * 5000), delay=0.001)
    conversation = evakit.Conversation(stt=None, llm=llm, tts=ToneTTS())
"""


def test_closing_inside_a_turn_ends_it():
    llm = ScriptedLLM(ENDLESS, delay=0.001)
    conversation = evakit.Conversation(stt=None, llm=llm, tts=ToneTTS())
    with conversation, conversation.turn("Count.") as turn:
        next(turn)
        conversation.close()
        with pytest.raises(errors.ConversationClosedError):
            next(turn)
    assert llm.stopped == 1


def test_closing_from_another_thread_ends_a_reply_that_is_waited_for():
    llm = ScriptedLLM(ENDLESS, delay=0.001)
    conversation = evakit.Conversation(stt=None, llm=llm, tts=ToneTTS())
    conversation.load()
    caught = []

    def ask():
        try:
            conversation.respond("Count.")
        except errors.ConversationClosedError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not llm.tokens_given:
        pass
    conversation.close()
    thread.join(10)
    assert caught
    assert llm.stopped == 1


def test_a_program_ends_although_a_turn_was_left_open():
    out, _, code = run(
        OPEN_TURN
        + """
    turn = conversation.turn("Count.").__enter__()
    next(turn)
    print("the end")
    """
    )
    assert (out, code) == ("the end\n", 0)


def test_a_program_ends_although_a_daemon_thread_is_in_a_turn():
    out, _, code = run(
        OPEN_TURN
        + """
    begun = threading.Event()
    def talk():
        with conversation.turn("Count.") as turn:
            for event in turn:
                begun.set()
    threading.Thread(target=talk, daemon=True).start()
    begun.wait()
    print("the end")
    """
    )
    assert (out, code) == ("the end\n", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_worker_makes_a_conversation_of_its_own():
    out, err, code = run(
        """
        import os, sys, warnings, evakit
        from evakit.testing.fakes import ScriptedLLM
        warnings.simplefilter("ignore", DeprecationWarning)
        with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
            conversation.respond("first")
            child = os.fork()
            if not child:
                conversation.close()
                with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as own:
                    print(own.respond("from the child").text, flush=True)
                sys.exit(3)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), conversation.respond("parent").text)
        """
    )
    assert err == ""
    assert code == 0
    assert out == "You said: from the child\n3 You said: parent\n"


def test_threads_that_race_for_the_first_use_leave_no_loop_behind():
    out, err, code = run(
        """
        import threading, evakit
        from evakit.testing.fakes import ScriptedLLM
        for _ in range(5):
            conversation = evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None)
            barrier = threading.Barrier(4)
            def use():
                barrier.wait()
                conversation.load()
            threads = [threading.Thread(target=use) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            conversation.close()
        for thread in set(threading.enumerate()) - {threading.main_thread()}:
            thread.join(5)
        print([t.name for t in threading.enumerate()])
        """
    )
    assert (out, err, code) == ("['MainThread']\n", "", 0)


def test_an_observer_that_calls_back_gets_a_clear_error():
    caught = []

    def call_back(event, conversation_id):
        for call in (lambda: conversation.respond("again"), conversation.close):
            try:
                call()
            except errors.ConversationBusyError as error:
                caught.append(str(error))

    conversation = evakit.Conversation(
        stt=None, llm=ScriptedLLM("One."), tts=None, observers=[call_back]
    )
    with conversation:
        conversation.respond("?")
    assert len(caught) >= 2
    assert "event loop" in caught[0]
