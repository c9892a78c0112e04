"""The interpreter ends, whatever is open: never a hang, never a crash, and nothing hidden."""

from __future__ import annotations

import pytest

BEGIN = """
import asyncio, atexit, os, sys, threading, time
from evakit import _workers
_workers.PATIENCE = 0.5  # of 5 s, before anything takes it over
import evakit
from evakit.abc import BlockingLLM
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

def endless():
    return ScriptedLLM(" ".join(["One two three."] * 5000), delay=0.001)

class Hanging(BlockingLLM):
    '''An engine that never returns, like one that is stuck in its C code.'''
    def tokens(self, request):
        yield "Well, "
        print("hanging", flush=True)
        threading.Event().wait()

def talking(llm=None, **arguments):
    return evakit.Conversation(stt=None, llm=llm or ScriptedLLM(), tts=None, **arguments)
"""


def unclosed(err):
    return err.count("was left unclosed") == 1 and "ResourceWarning" in err


def test_with_a_conversation_left_open(program):
    done = program(f"{BEGIN}\nconversation = talking()\nconversation.respond('hi')\nprint('end')")
    assert (done.out, done.code) == ("end\n", 0)
    assert unclosed(done.err)


def test_with_a_turn_half_read_and_threads_at_work(program):
    done = program(
        BEGIN
        + """
class Engine(BlockingLLM):
    def tokens(self, request):
        while True:
            yield "word "
conversation = talking(Engine())
turn = conversation.turn("?").__enter__()
for event, _ in zip(turn, range(5)): pass
print("end")
"""
    )
    assert (done.out, done.code) == ("end\n", 0)
    assert unclosed(done.err)
    assert done.seconds < 10


def test_where_warnings_are_errors_an_open_conversation_is_closed_all_the_same(program):
    done = program(
        BEGIN
        + """
class Telling(ScriptedLLM):
    async def unload(self):
        print("unloaded", flush=True)
for conversation in [talking(Telling()), talking(Telling())]:
    conversation.load()
""",
        options=["-W", "error"],
    )
    assert done.out == "unloaded\nunloaded\n"
    assert "ResourceWarning" in done.err
    assert done.code == 0  # Python prints what is raised at exit, and goes on


def test_with_an_engine_that_never_returns(program):
    done = program(
        BEGIN
        + """
conversation = talking(Hanging())
def talk():
    conversation.respond("?")
threading.Thread(target=talk, daemon=True).start()
while True:  # until it hangs
    time.sleep(0.01)
    if conversation._conversation._running and conversation._conversation._running._entered: break
time.sleep(0.2)
print("end", flush=True)
""",
    )
    assert done.out.split() == ["hanging", "end"]
    assert done.code == 0
    assert done.seconds < 8


def test_an_engine_that_never_returns_gives_ctrl_c_back(program):
    done = program(
        BEGIN
        + """
with talking(Hanging()) as conversation:
    try:
        conversation.respond("?")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    try:
        conversation.respond("again")
    except evakit.errors.BackendBusyError as error:
        print(error)
    try:
        conversation.close()
    except evakit.errors.BackendBusyError:
        print("closed")
print("end")
""",
        interrupts=["hanging"],
    )
    lines = done.out.splitlines()
    assert lines[:2] == ["hanging", "interrupted"]
    assert "told to stop" in lines[2]
    assert lines[3:] == ["closed", "end"]
    assert done.code == 0
    assert done.seconds < 8


def test_an_asyncio_program_with_an_engine_that_never_returns_ends_on_ctrl_c(program):
    done = program(
        BEGIN
        + """
async def main():
    async with evakit.AsyncConversation(stt=None, llm=Hanging(), tts=None) as conversation:
        await conversation.respond("?")
asyncio.run(main())
""",
        interrupts=["hanging"],
    )
    assert done.code != 0
    assert "told to stop" in done.err  # from closing, which cannot unload it
    assert done.seconds < 8


def test_a_trio_program_with_an_engine_that_never_returns_ends_on_ctrl_c(program):
    done = program(
        BEGIN
        + """
import trio
async def main():
    async with evakit.AsyncConversation(stt=None, llm=Hanging(), tts=None) as conversation:
        await conversation.respond("?")
trio.run(main)
""",
        interrupts=["hanging"],
    )
    assert done.code != 0
    assert "KeyboardInterrupt" in done.err
    assert done.seconds < 8


def test_leaving_from_a_thread_ends_the_thread_and_not_the_program(program):
    done = program(
        BEGIN
        + """
def talk():
    with talking(endless()) as conversation, conversation.turn("?") as turn:
        for event in turn:
            sys.exit(3)
thread = threading.Thread(target=talk)
thread.start()
thread.join()
with talking() as conversation:
    print(conversation.respond("still here").text)
"""
    )
    assert (done.out, done.err, done.code) == ("You said: still here\n", "", 0)


def test_sys_exit_between_two_events_ends_the_program_with_its_code(program):
    done = program(
        BEGIN
        + """
with talking(endless()) as conversation, conversation.turn("?") as turn:
    for event in turn:
        sys.exit(3)
"""
    )
    assert (done.out, done.err, done.code) == ("", "", 3)


def test_sys_exit_in_an_observer_ends_neither_turn_nor_program(program):
    done = program(
        BEGIN
        + """
with talking(observers=[lambda event, conversation_id: sys.exit(3)]) as conversation:
    print(conversation.respond("on").text)
"""
    )
    assert (done.out, done.err, done.code) == ("You said: on\n", "", 0)


@pytest.mark.parametrize("when", ["loading", "turn"])
def test_ctrl_c_once_ends_the_program(program, when):
    done = program(
        BEGIN
        + f"""
class Slow(ScriptedLLM):
    async def load(self, context):
        import anyio
        print("loading", flush=True)
        await anyio.sleep(60 if {when!r} == "loading" else 0)
def observe(event, conversation_id):
    print("turn", flush=True)
llm = Slow(" ".join(["One two three."] * 5000), delay=0.001)
with talking(llm, observers=[observe]) as conversation:
    conversation.respond("?")
""",
        interrupts=[when],
    )
    assert done.code != 0
    assert done.err.rstrip().endswith("KeyboardInterrupt")
    assert done.seconds < 10


def test_ctrl_c_twice_does_not_wait_for_an_engine_that_takes_its_time(program):
    done = program(
        BEGIN
        + """
import signal
class Stubborn(BlockingLLM):
    def tokens(self, request):
        yield "Well, "
        print("first", flush=True)
        time.sleep(0.2)
        print("second", flush=True)
        threading.Event().wait()
with talking(Stubborn()) as conversation:
    conversation.respond("?")
""",
        interrupts=["first", "second"],
    )
    assert done.code != 0
    assert "KeyboardInterrupt" in done.err
    assert done.seconds < 8


def test_a_daemon_thread_that_holds_an_idle_conversation(program):
    done = program(
        BEGIN
        + """
ready = threading.Event()
def hold():
    with talking() as conversation:
        conversation.respond("hi")
        ready.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
ready.wait()
print("end")
"""
    )
    assert (done.out, done.code) == ("end\n", 0)
    assert unclosed(done.err)


def test_a_handler_at_exit_may_use_a_conversation(program):
    done = program(
        BEGIN
        + """
conversation = talking()
conversation.load()
@atexit.register
def goodbye():
    print(conversation.respond("goodbye").text)
    conversation.close()
"""
    )
    assert (done.out, done.err, done.code) == ("You said: goodbye\n", "", 0)


def test_a_handler_that_comes_after_evakits_own_is_told_that_it_is_closed(program):
    done = program(
        """
import atexit
@atexit.register
def goodbye():
    try:
        conversation.respond("goodbye")
    except evakit.errors.ConversationClosedError as error:
        print(error)
"""
        + BEGIN
        + "\nconversation = talking()\nconversation.load()\n"
    )
    assert done.out == "The conversation was closed; make a new one.\n"
    assert done.code == 0
    assert unclosed(done.err)


def test_a_conversation_that_begins_at_exit_and_is_left_open(program):
    done = program(
        """
import atexit
@atexit.register
def goodbye():
    try:
        print(talking().respond("goodbye").text, flush=True)
    except evakit.EvakitError as error:
        print(error, flush=True)  # Python 3.12 starts no thread any more
"""
        + BEGIN
        + "\nevakit.Conversation\n"
    )
    assert done.code == 0
    assert done.out == "You said: goodbye\n" or "interpreter is ending" in done.out


def test_an_async_conversation_left_open_keeps_nobody(program):
    done = program(
        BEGIN
        + """
async def main():
    conversation = evakit.AsyncConversation(stt=None, llm=ScriptedLLM(), tts=None)
    print((await conversation.respond("hi")).text)
asyncio.run(main())
"""
    )
    assert (done.out, done.code) == ("You said: hi\n", 0)
