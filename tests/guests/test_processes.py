"""Programs of several processes: workers that are spawned, forked, or served from a fork server."""

from __future__ import annotations

import multiprocessing
import os
import pickle

import numpy as np
import pytest

import evakit
from evakit import errors

ANSWER = '''
import evakit
from evakit.testing.fakes import ScriptedLLM, ToneTTS

def answer(number):
    """The work of a worker: a conversation of its own."""
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=ToneTTS()) as conversation:
        return conversation.respond(f"number {number}").text
'''
POOL = (
    ANSWER
    + """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    method = multiprocessing.get_context("METHOD")
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
        conversation.respond("in the parent")
        with ProcessPoolExecutor(2, mp_context=method) as pool:
            print(sorted(pool.map(answer, range(4))))
        print(conversation.respond("still here").text)
"""
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
EXPECTED = [f"You said: number {number}" for number in range(4)]
# Python 3.12 warns of any fork of a process with threads.
FORKING = ("-W", "default", "-W", "ignore::DeprecationWarning")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_make_conversations_of_their_own(program, method):
    done = program(POOL.replace("METHOD", method), options=FORKING)
    assert (done.err, done.code) == ("", 0)
    assert done.out == f"{EXPECTED}\nYou said: still here\n"


@needs_fork
def test_a_parents_conversation_is_a_clear_error_in_a_forked_worker(program):
    done = program(
        """
        import multiprocessing, evakit
        from evakit.testing.fakes import ScriptedLLM

        def use(what):
            try:
                what()
            except evakit.errors.ConversationClosedError as error:
                print(error, flush=True)

        def work():
            use(lambda: conversation.respond("hi"))
            use(lambda: conversation.turn("hi").__enter__())
            use(lambda: turn.__next__())
            use(conversation.load)
            conversation.close()  # does nothing here

        with evakit.Conversation(stt=None, llm=ScriptedLLM("One. " * 99), tts=None) as conversation:
            with conversation.turn("first") as turn:
                next(turn)
                process = multiprocessing.get_context("fork").Process(target=work)
                process.start()
                process.join()
                assert process.exitcode == 0
            print(conversation.respond("parent").text)
        """,
        options=FORKING,
    )
    assert (done.err, done.code) == ("", 0)
    *told, last = done.out.splitlines()
    assert last == "You said: parent"
    assert len(told) == 4
    for sentence in told:
        assert "forked" in sentence
        assert "in each worker" in sentence


@needs_fork
def test_what_was_constructed_before_the_fork_and_not_used_works_in_each_worker(program):
    """As with `gunicorn --preload`: the module makes it, the workers use it."""
    done = program(
        """
        import os, sys, evakit
        from evakit.testing.fakes import ScriptedLLM

        stack = evakit.Stack(stt=None, llm=ScriptedLLM(), tts=None)
        conversation = evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None)

        def serve(number):
            with evakit.Conversation(stack) as own:
                print(own.respond(f"stack {number}").text, flush=True)
            with conversation:
                print(conversation.respond(f"conversation {number}").text, flush=True)

        for number in range(2):
            child = os.fork()
            if not child:
                serve(number)
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        serve(2)
        """,
        options=FORKING,
    )
    assert (done.err, done.code) == ("", 0)
    assert done.out.splitlines() == [
        f"You said: {what} {number}" for number in range(3) for what in ("stack", "conversation")
    ]


@needs_fork
def test_a_fork_while_other_threads_talk_leaves_a_child_that_can_talk(program):
    done = program(
        """
        import os, sys, threading, evakit
        from evakit.abc import BlockingLLM
        from evakit.testing.fakes import ScriptedLLM

        class Engine(BlockingLLM):
            def tokens(self, request):
                yield "word "

        def talk():
            with evakit.Conversation(stt=None, llm=Engine(), tts=None) as conversation:
                while not over.is_set():
                    conversation.respond("?")
                    talking.set()

        over, talking = threading.Event(), threading.Event()
        thread = threading.Thread(target=talk)
        thread.start()
        talking.wait()
        for _ in range(10):
            child = os.fork()
            if not child:
                with evakit.Conversation(stt=None, llm=Engine(), tts=None) as own:
                    text = own.respond("?").text
                os._exit(0 if text == "word " else 1)
            assert os.waitpid(child, 0)[1] == 0
        over.set()
        thread.join()
        print("end")
        """,
        options=FORKING,
    )
    assert (done.out, done.err, done.code) == ("end\n", "", 0)


def _same(value):
    """What a worker does with a value: nothing; it went there and comes back."""
    return value


def values():
    audio = evakit.Audio(0.5 * np.sin(np.arange(800) / 9), 16_000)
    reply = evakit.Reply(
        heard="hi",
        text="Hello.",
        played="Hello.",
        audio=audio,
        timings=evakit.TurnTimings(input_complete_at=1.0, finished_at=2.0),
        transcript=evakit.Transcript("hi", (evakit.Segment("hi", 0, 800),), "en"),
        interrupted=False,
    )
    failure = errors.SynthesisError("It broke.", backend="piper", retryable=True)
    yield audio
    yield evakit.History([{"role": "user", "content": "hi"}])
    yield reply
    yield evakit.Voice(name="joe", language="en")
    yield evakit.TokenGenerated("Hello")
    yield evakit.TranscriptReady(evakit.Transcript("hi"))
    yield evakit.ClauseReady("Hello.")
    yield evakit.AudioReady(audio, (evakit.Word("Hello", 0, 800),))
    yield evakit.TurnFinished(reply)
    yield evakit.TurnInterrupted(reply)
    yield evakit.TurnFailed(failure, reply)


@pytest.mark.timeout(120)
def test_values_go_to_spawned_workers_and_come_back(tmp_path):
    sent = list(values())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        back = pool.map(pickle.loads, [pickle.dumps(value) for value in sent])
    assert [type(value) for value in back] == [type(value) for value in sent]
    for one, other in zip(sent[:-1], back[:-1], strict=True):
        assert other == one
    assert vars(back[-1].error) == vars(sent[-1].error)
    assert str(back[-1].error) == "It broke."


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_goes_to_another_process_and_back(name):
    kind = getattr(errors, name)
    options = {
        errors.BackendTimeoutError: {"backend": "x", "seconds": 2.0},
        errors.BackendError: {"backend": "x", "stage": "tts", "retryable": True},
        errors.DeviceError: {"component": "x", "wanted": "cuda", "found": "cpu"},
        errors.ModelError: {"model": "x", "retryable": True},
        errors.PluginError: {"distribution": "x"},
    }
    arguments = next((given for base, given in options.items() if issubclass(kind, base)), {})
    error = kind("It broke.", **arguments)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert type(back) is kind
    assert (str(back), vars(back)) == (str(error), vars(error))


@needs_fork
@pytest.mark.timeout(120)
def test_a_forked_child_may_load_real_engines_of_its_own_and_ends_with_its_own_status(program):
    """Their threads are not in the child: what frees them, or ends them, would hang or crash."""
    done = program(
        """
        import os, sys, evakit
        from importlib.resources import files

        question = (files("evakit.cli") / "question.wav").read_bytes()
        with evakit.Conversation(stt="whisper:tiny.en", language="en") as conversation:
            conversation.respond(question)
            for number in (3, 4):
                child = os.fork()
                if not child:
                    if number == 4:
                        with evakit.Conversation(stt="whisper:tiny.en", language="en") as own:
                            print(own.respond(question).heard, flush=True)
                    sys.exit(number)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            print(conversation.respond(question).heard)
        """,
        options=FORKING,
        deadline=60,
    )
    question = "What is the capital of France?"
    assert (done.err, done.code) == ("", 0)
    assert done.out.splitlines() == ["3", question, "4", question]
