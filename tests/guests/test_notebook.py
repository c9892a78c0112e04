"""Where a loop runs already, as in a notebook: it works, and says once what is better."""

from __future__ import annotations

import queue

import pytest
from jupyter_client.manager import KernelManager

MAKE = """
import evakit
from evakit.testing.fakes import ScriptedLLM
conversation = evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A real IPython kernel, in a process of its own."""
    folder = tmp_path_factory.mktemp("kernel")
    manager = KernelManager(connection_file=str(folder / "kernel.json"))
    manager.start_kernel(
        cwd=str(folder),
        env={"IPYTHONDIR": str(folder), "PATH": "", "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    )
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.fixture
def cell(kernel):
    """Run a cell; return what it printed on stdout and stderr, and the error that it ended with.

    It is interrupted, as by the notebook's stop button, when it prints `interrupt_at`.
    """
    manager, client = kernel

    def run(code, *, interrupt_at=None):
        texts = {"stdout": "", "stderr": "", "error": ""}
        asked = client.execute(code)
        while True:
            try:
                message = client.get_iopub_msg(timeout=30)
            except queue.Empty:
                pytest.fail("The cell did not end within 30 s")
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                texts[content["name"]] += content["text"]
                if interrupt_at and interrupt_at in content["text"]:
                    manager.interrupt_kernel()
            elif message["msg_type"] == "error":
                texts["error"] = "\n".join(content["traceback"])
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return texts["stdout"], texts["stderr"], texts["error"]

    return run


def test_a_notebook_uses_both_conversations_and_is_warned_once(cell):
    assert cell(MAKE) == ("", "", "")

    out, err, error = cell("answer = conversation.respond('hi')\nprint(answer.text)")
    assert (out, error) == ("You said: hi\n", "")
    assert err.count("RuntimeWarning") == 1
    assert "AsyncConversation" in err
    assert "answer = conversation.respond('hi')" in err  # the user's own line

    assert cell("print(conversation.respond('again').text)") == ("You said: again\n", "", "")
    assert cell(f"{MAKE}\nprint(conversation.respond('new').text)") == ("You said: new\n", "", "")
    reading = "with conversation.turn('x') as turn:\n    print(len(list(turn)) > 1)"
    assert cell(reading) == ("True\n", "", "")

    awaiting = (
        "async with evakit.AsyncConversation(stt=None, llm=ScriptedLLM(), tts=None) as own:\n"
        "    print((await own.respond('awaited')).text)"
    )
    assert cell(awaiting) == ("You said: awaited\n", "", "")


LONG = """
llm = ScriptedLLM("word " * 99999, delay=0.001)
conversation = evakit.Conversation(stt=None, llm=llm, tts=None)
threading.Timer(0.2, print, ["begun"], {"flush": True}).start()
conversation.respond("?")
"""


def test_interrupting_a_cell_stops_the_reply_and_the_next_cell_goes_on(cell):
    assert cell(f"{MAKE}\nimport threading")[2] == ""

    assert "KeyboardInterrupt" in cell(LONG, interrupt_at="begun")[2]
    assert cell("print(llm.stopped)") == ("1\n", "", "")
    assert cell("print(conversation.respond('on').text)") == ("You said: on\n", "", "")
    assert cell("conversation.close(); print('closed')") == ("closed\n", "", "")


RUNNING = """
import asyncio, sys, warnings
import evakit
from evakit.testing.fakes import ScriptedLLM

def converse():
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
        first = conversation.respond("hi").text
        return first, conversation.respond("again").text

async def main():
    return converse()
"""


@pytest.mark.parametrize("run", ["asyncio.run(main())", "__import__('trio').run(main)"])
def test_a_program_with_a_running_loop_is_warned_once_at_its_own_line(program, run):
    done = program(f"{RUNNING}\nprint({run})\nprint({run})", options=())
    assert done.code == 0
    assert done.out == "('You said: hi', 'You said: again')\n" * 2
    assert done.err.count("RuntimeWarning") == 1
    warning, line = done.err.splitlines()
    assert "program.py:7: RuntimeWarning" in warning
    assert "AsyncConversation" in warning
    assert line.strip().startswith("with evakit.Conversation(")


def test_where_warnings_are_errors_the_first_use_says_so_and_the_next_works(program):
    done = program(
        f"""{RUNNING}
async def main():
    try:
        converse()
    except RuntimeWarning as warning:
        print(warning)
    return converse()
print(asyncio.run(main()))
""",
        options=("-W", "error"),
    )
    assert (done.err, done.code) == ("", 0)
    said, worked = done.out.splitlines()
    assert "AsyncConversation" in said
    assert worked == "('You said: hi', 'You said: again')"


def test_threads_of_a_program_with_a_loop_are_not_warned_and_neither_are_observers(program):
    done = program(
        f"""{RUNNING}
def observe(event, conversation_id):
    try:
        other.respond("from an observer")
    except evakit.errors.ConversationBusyError:
        busy.add(1)
busy = set()
other = evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None, observers=[observe])
async def main():
    await asyncio.to_thread(other.respond, "hi")
    await asyncio.to_thread(other.close)
    return await asyncio.to_thread(converse)
print(asyncio.run(main()), busy)
""",
        options=("-W", "error"),
    )
    assert (done.err, done.code) == ("", 0)
    assert done.out == "('You said: hi', 'You said: again') {1}\n"
