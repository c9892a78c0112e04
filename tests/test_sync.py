"""Conversation is AsyncConversation without async: the same words, one line a method."""

from __future__ import annotations

import ast
import gc
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import evakit
from evakit import _sync, errors
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)
RENAMED = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
PAIRS = [(evakit.AsyncConversation, evakit.Conversation), (evakit.AsyncTurn, evakit.Turn)]


def public(cls):
    return {n for n in vars(cls) if not n.startswith("_") or n == "__init__"}


def converse(**arguments):
    arguments = {"stt": ScriptedSTT("hello"), "llm": ScriptedLLM(), "tts": ToneTTS()} | arguments
    return evakit.Conversation(**arguments)


def test_both_conversations_offer_the_same_words():
    names = {RENAMED.get(n, n) for n in public(evakit.AsyncConversation)} - {"require_open"}
    assert public(evakit.Conversation) == names
    assert public(evakit.Turn) == public(evakit.AsyncTurn)


def test_signatures_of_both_conversations_are_equal():
    for name in public(evakit.Conversation) - {"id"}:
        ours = inspect.getattr_static(evakit.Conversation, name)
        twin = {v: k for k, v in RENAMED.items()}.get(name, name)
        theirs = inspect.getattr_static(evakit.AsyncConversation, twin)
        if isinstance(ours, property):
            ours, theirs = ours.fget, theirs.fget
        expected = inspect.signature(theirs)
        if name in {"turn", "saying"}:
            expected = expected.replace(return_annotation="Turn")
        assert inspect.signature(ours) == expected, name


def test_methods_of_the_facade_hold_no_logic():
    tree = ast.parse(Path(_sync.__file__).read_text())
    facade = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Conversation")
    for function in facade.body:
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
            statements = [s for s in function.body if not isinstance(s, ast.Expr)]
            assert len(statements) <= 1, function.name


def test_a_turn_without_async_gives_the_same_events():
    with converse() as conversation, conversation.turn(QUESTION) as turn:
        kinds = [type(event).__name__ for event in turn]

    assert kinds[0] == "TranscriptReady"
    assert kinds[-1] == "TurnFinished"
    assert turn.reply.text == "You said: hello"
    assert len(conversation.history) == 2


def test_respond_returns_the_reply():
    with converse() as conversation:
        reply = conversation.respond("hi", voice="ton")

    assert reply.text == "You said: hi"
    assert conversation.backends == {}


def test_a_failing_stage_raises_its_error_and_the_conversation_goes_on():
    llm = ScriptedLLM(errors.GenerationError("No.", backend="x"))
    with converse(llm=llm) as conversation:
        with pytest.raises(errors.GenerationError, match="No"):
            conversation.respond("hi")
        with pytest.raises(errors.AudioError, match="cannot be read"):
            conversation.respond(Path("missing.wav"))
        assert conversation.respond("again").text == "You said: again"


def test_leaving_a_turn_early_stops_all_work():
    llm = ScriptedLLM(" ".join(["One two three."] * 500), delay=0.001)
    with converse(llm=llm) as conversation:
        with conversation.turn("Count.") as turn:
            for event in turn:
                if isinstance(event, evakit.AudioReady):
                    break
        assert llm.stopped == 1
        assert turn.reply.interrupted


def test_conversations_in_several_threads_share_one_loop_and_leave_no_thread():
    before = set(threading.enumerate())
    replies, names = [], []

    def talk(number):
        with converse() as conversation:
            names.append({t.name for t in threading.enumerate() if "portal" in t.name})
            replies.append(conversation.respond(f"{number}").text)

    with converse():
        threads = [threading.Thread(target=talk, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(replies) == [f"You said: {n}" for n in range(6)]
    assert len(set.union(*names)) == 1
    for thread in set(threading.enumerate()) - before:
        thread.join(5)  # told to end with their loop, and about to
    assert set(threading.enumerate()) <= before


def test_several_conversations_share_a_stack():
    stt = ScriptedSTT("one", "two")
    stack = evakit.Stack(stt=stt, llm=None, tts=None)
    with evakit.Conversation(stack) as first, evakit.Conversation(stack) as second:
        assert first.respond(QUESTION).heard == "one"
        assert second.respond(QUESTION).heard == "two"
    assert stt.loaded is None


def test_use_after_close_says_so_and_starts_nothing():
    conversation = converse()
    with conversation:
        pass
    conversation.close()
    before = set(threading.enumerate())
    for use in (
        conversation.load,
        lambda: conversation.respond("x"),
        lambda: conversation.turn("x"),
    ):
        with pytest.raises(errors.ConversationClosedError):
            use()
    assert set(threading.enumerate()) <= before


def run_script(code, *, interrupt_at=None):
    """Run `code` in a Python of its own; send Ctrl-C when it prints `interrupt_at`."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed = ""
    if interrupt_at:
        for line in process.stdout:
            printed += line
            if interrupt_at in line:
                process.send_signal(signal.SIGINT)
                break
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    return printed + out, err, process.returncode


SLOW = """
    import threading, time, evakit
    from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

    class Slow(ScriptedLLM):
        async def load(self, context):
            print("loading", flush=True)
            await __import__("anyio").sleep(LOADING)
    LOADING = 0

    llm = Slow(" ".join(["One two three."] * 5000), delay=0.001)
    seen = set()
    def observe(event, conversation_id):
        name = type(event).__name__
        if name not in seen:
            seen.add(name)
            print(name, flush=True)
    conversation = evakit.Conversation(
        stt=None, llm=llm, tts=ToneTTS(delay=0.001), observers=[observe]
    )
    def after():
        given = llm.tokens_given
        time.sleep(0.05)
        print("still" if llm.tokens_given != given else "stopped", llm.stopped)
        print([t.name for t in threading.enumerate()])
"""


def test_ctrl_c_while_waiting_for_a_reply_stops_the_work():
    out, err, code = run_script(
        SLOW
        + """
    with conversation:
        try:
            conversation.respond("Count.")
        except KeyboardInterrupt:
            after()
        print(conversation.respond("And now?").text)
    after()
    """,
        interrupt_at="AudioReady",
    )
    assert code == 0, err
    assert "stopped" in out
    assert "still" not in out
    assert out.rstrip().endswith("['MainThread']")
    assert err == ""


def test_ctrl_c_inside_a_turn_stops_the_work():
    out, err, code = run_script(
        SLOW
        + """
    try:
        with conversation, conversation.turn("Count.") as turn:
            for event in turn:
                pass
    except KeyboardInterrupt:
        after()
    """,
        interrupt_at="AudioReady",
    )
    assert code == 0, err
    assert "stopped 1" in out
    assert out.rstrip().endswith("['MainThread']")
    assert err == ""


def test_ctrl_c_while_loading_leaves_nothing_behind():
    out, err, code = run_script(
        SLOW
        + """
    LOADING = 60
    try:
        with conversation:
            print("never")
    except KeyboardInterrupt:
        after()
    """,
        interrupt_at="loading",
    )
    assert code == 0, err
    assert "never" not in out
    assert out.rstrip().endswith("['MainThread']")
    assert err == ""


def test_an_unclosed_conversation_is_closed_at_exit_with_a_warning():
    out, err, code = run_script(
        """
        import evakit
        from evakit.testing.fakes import ScriptedLLM
        class Said(ScriptedLLM):
            async def unload(self):
                print("unloaded")
        conversation = evakit.Conversation(stt=None, llm=Said(), tts=None)
        print(conversation.respond("hello").text)
        """
    )
    assert code == 0
    assert out == "You said: hello\nunloaded\n"
    assert "ResourceWarning" in err
    assert "with block" in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_use_is_a_clear_error():
    out, err, code = run_script(
        """
        import os, warnings, evakit
        from evakit.testing.fakes import ScriptedLLM
        warnings.simplefilter("ignore", DeprecationWarning)
        with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
            child = os.fork()
            if not child:
                try:
                    conversation.respond("hello")
                except evakit.errors.ConversationClosedError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print(conversation.respond("hello").text)
        """
    )
    assert code == 0, err
    assert "in each worker, after the fork" in out
    assert out.rstrip().endswith("You said: hello")


def test_twenty_turns_end_with_the_threads_and_files_of_the_first():
    def count():
        gc.collect()
        # Workers wait a second for more to do: how many still do is a matter of time.
        threads = [t for t in threading.enumerate() if t.name != "evakit-worker"]
        return len(threads), len(os.listdir("/proc/self/fd"))

    with converse(stt=ScriptedSTT(*["hello"] * 20)) as conversation:
        conversation.respond(QUESTION)
        first = count()
        for _ in range(19):
            conversation.respond(QUESTION)
        assert count() == first
        assert len(conversation.history) == 40


def test_a_stack_stays_loaded_between_the_conversations_of_its_block():
    llm = ScriptedLLM()
    with evakit.Stack(stt=None, llm=llm, tts=ToneTTS()) as stack:
        backends = dict(stack.backends)
        for name in ("Ann", "Bob"):
            with evakit.Conversation(stack) as conversation:
                assert conversation.respond(f"I am {name}.").text == f"You said: I am {name}."
            assert stack.backends == backends
    assert not stack.backends
    with pytest.raises(errors.ConversationClosedError):
        evakit.Conversation(stack).respond("Hi")
    assert "evakit-portal" not in {thread.name for thread in threading.enumerate()}


def test_a_stack_that_cannot_be_loaded_leaves_no_loop_behind():
    with pytest.raises(errors.UnknownBackendError):
        with evakit.Stack(stt=None, llm="nobody", tts=None):
            pass
    assert "evakit-portal" not in {thread.name for thread in threading.enumerate()}
