"""What evakit logs: of which conversation, how each turn ended, and never what was said.

And that nothing is printed unasked, by evakit or by an engine.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.config
import logging.handlers
import queue
import subprocess
import sys
import textwrap
import threading
import time

import anyio
import numpy as np
import pytest

import evakit
from evakit import errors
from evakit.abc import BlockingLLM, BlockingTTS, CallbackLLM, Speech, logger
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)
# Put together at run time, so that no source line in a traceback holds it.
CANARY = f"{QUESTION.sample_rate}-periwinkle-umbrella"


class Records(logging.Handler):
    """Keeps every record, as text too: with its exception, its stack and all its attributes."""

    def __init__(self):
        super().__init__(logging.NOTSET)
        self.records, self.texts = [], []
        layout = "%(conversation_id)s|%(levelname)s|%(name)s|%(message)s"
        self.setFormatter(logging.Formatter(layout, defaults={"conversation_id": "-"}))

    def emit(self, record):
        self.records.append(record)
        self.texts.append(f"{self.format(record)}\n{vars(record)!r}")

    def of(self, name="evakit", level=logging.NOTSET):
        return [
            record
            for record in self.records
            if f"{record.name}.".startswith(f"{name}.") and record.levelno >= level
        ]

    def lines(self, **which):
        return [record.getMessage() for record in self.of(**which)]


@pytest.fixture
def records():
    """All that is logged by anybody, at every level."""
    root = logging.getLogger()
    handler, before = Records(), root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


# --- what was said


class QuotingError(Exception):
    """A vendor's exception that quotes what it was given."""

    def __init__(self):
        super().__init__(f"cannot work with {CANARY!r}")


def quoting():
    return errors.BackendError(f"It stumbled over {CANARY!r}.", backend="x")


class FailingInThread(BlockingLLM):
    def tokens(self, request):
        yield f"{CANARY} "
        raise QuotingError


class FailingInCallback(CallbackLLM):
    def generate(self, request, emit):
        emit(f"{CANARY} ")
        raise QuotingError


class FailingTTS(BlockingTTS):
    def synthesize(self, text, options):
        raise QuotingError
        yield


class SilentTTS(BlockingTTS):
    def synthesize(self, text, options):
        yield Speech(evakit.Audio(np.zeros(16_000), 16_000))


class Unloadable(ScriptedLLM):
    async def load(self, context):
        raise QuotingError


def failing_function(request):
    raise QuotingError


async def failing_coroutine(request):
    yield request.text
    raise QuotingError


async def blocking_coroutine(request):
    said = request.text
    time.sleep(0.7 if len(request.messages) <= 3 else 0)  # noqa: ASYNC251 (so that the watchdog barks)
    return said


def a_number(request):
    return 4242


def quote(event, conversation_id):
    raise ValueError(f"cannot store {event!r}")


def shout(event, conversation_id):
    raise RuntimeError(repr(event)) from QuotingError()


CASES = {
    "all goes well": {},
    "the STT fails": {"stt": lambda: ScriptedSTT(quoting())},
    "the STT's vendor fails": {"stt": lambda: ScriptedSTT(QuotingError())},
    "the LLM fails": {"llm": lambda: ScriptedLLM(quoting())},
    "the LLM's vendor fails": {"llm": lambda: ScriptedLLM(QuotingError())},
    "the LLM fails in its thread": {"llm": FailingInThread},
    "the LLM fails in its callback": {"llm": FailingInCallback},
    "the LLM says nothing": {"llm": lambda: ScriptedLLM("")},
    "the LLM cannot be loaded": {"llm": Unloadable},
    "the TTS fails": {"tts": FailingTTS},
    "the TTS is silent": {"tts": SilentTTS},
    "a function fails": {"llm": lambda: failing_function},
    "an async function fails": {"llm": lambda: failing_coroutine},
    "an async function blocks": {"llm": lambda: blocking_coroutine},
    "a function gives a number": {"llm": lambda: a_number},
    "an observer fails": {"observers": lambda: [quote]},
    "an observer fails with a cause": {"observers": lambda: [shout]},
}


def parts(case):
    usual = {
        "stt": lambda: ScriptedSTT(f"I say {CANARY}."),
        "llm": lambda: ScriptedLLM(f"You said {CANARY}. And {CANARY} again!"),
        "tts": ToneTTS,
        "observers": list,
    }
    return {name: make() for name, make in (usual | CASES[case]).items()}


@pytest.mark.parametrize("case", CASES)
async def test_what_was_said_is_in_no_record_whatever_happens(anyio_backend, case, records, capfd):
    conversation = evakit.AsyncConversation(
        **parts(case), system=f"Never say {CANARY}.", history=[{"role": "user", "content": CANARY}]
    )
    for said in (QUESTION, f"I write {CANARY}."):
        with contextlib.suppress(errors.EvakitError):
            await conversation.respond(said)
    with contextlib.suppress(errors.EvakitError), anyio.move_on_after(0.01):
        await conversation.respond(f"I write {CANARY}.")  # left in the middle
    with contextlib.suppress(errors.EvakitError):
        async with conversation.turn(f"I write {CANARY}."):
            await anyio.wait_all_tasks_blocked()  # and told to nobody
    await conversation.aclose()

    assert records.of()
    assert [text for text in records.texts if "umbrella" in text] == []
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_an_error_that_is_raised_does_say_what_was_said():
    """The other half: whoever asked is told, and only they."""
    conversation = evakit.Conversation(stt=None, llm=ScriptedLLM(quoting()), tts=None)
    with conversation, pytest.raises(errors.BackendError, match="periwinkle"):
        conversation.respond("hi")


def test_a_loop_in_debug_mode_and_a_sync_conversation_quote_nothing_either(records, capfd):
    async def main():
        async with evakit.AsyncConversation(**parts("all goes well")) as conversation:
            await conversation.respond(f"I write {CANARY}.")

    anyio.run(main, backend_options={"debug": True})
    with evakit.Conversation(**parts("the TTS fails")) as conversation:
        with pytest.raises(errors.SynthesisError):
            conversation.respond(f"I write {CANARY}.")
        with conversation.turn(f"I write {CANARY}.") as turn:
            next(turn)

    assert records.of("asyncio")
    assert [text for text in records.texts if "umbrella" in text] == []
    assert capfd.readouterr() == ("", "")


# --- one line a turn


def turns(records):
    return [line for line in records.lines(level=logging.INFO) if "turn" in line]


async def test_each_turn_is_one_line_that_says_how_it_ended_and_how_long_it_took(
    anyio_backend, records
):
    llm = ScriptedLLM("One.", "One. Two. Three. Four.", quoting())
    conversation = evakit.AsyncConversation(stt=None, llm=llm, tts=ToneTTS())
    async with conversation:
        await conversation.respond("1")
        async with conversation.turn("2") as turn:
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    break
        with pytest.raises(errors.BackendError):
            await conversation.respond("3")
        with pytest.raises(errors.ConfigurationError):
            await conversation.respond(3)

    finished, interrupted, failed, unusable = turns(records)
    assert finished.startswith(f"Conversation {conversation.id}: turn finished (first token ")
    assert "first audio" in finished
    assert interrupted.startswith(f"Conversation {conversation.id}: turn interrupted (")
    assert f": turn failed in {quoting().stage} x with BackendError (" in failed
    assert ": turn failed with ConfigurationError (" in unusable


async def test_a_failure_that_nobody_was_told_of_is_a_warning(anyio_backend, records):
    conversation = evakit.AsyncConversation(stt=None, llm=ScriptedLLM(QuotingError()), tts=None)
    async with conversation, conversation.turn("?"):
        await anyio.wait_all_tasks_blocked()

    [warning] = records.of(level=logging.WARNING)
    assert warning.conversation_id == conversation.id
    assert conversation.id in warning.getMessage()


# --- of which conversation


class Telling(BlockingLLM):
    """Logs from its worker thread, as plugins do: through evakit's loggers or by themselves."""

    def __init__(self):
        self.ours, self.theirs = logger("evakit.telling"), logging.getLogger("evakit.stranger.x")

    def load_model(self, context):
        self.ours.debug("loading")

    def unload_model(self):
        self.ours.debug("unloading")

    def tokens(self, request):
        self.ours.warning("ours")
        self.theirs.warning("theirs")
        yield f"{threading.current_thread().name} "


async def test_records_carry_the_id_also_from_worker_threads(anyio_backend, records):
    conversation = evakit.AsyncConversation(stt=None, llm=Telling(), tts=None)
    async with conversation:
        reply = await conversation.respond("hi")
    logging.getLogger("evakit.elsewhere").warning("outside")

    assert reply.text.strip() != threading.current_thread().name
    ids = {record.getMessage(): record.conversation_id for record in records.of()}
    assert ids.pop("outside") is None
    assert {"loading", "ours", "theirs", "unloading"} <= set(ids)
    assert set(ids.values()) == {conversation.id}


async def test_conversations_side_by_side_keep_their_ids(anyio_backend, records):
    class Naming(BlockingLLM):
        def tokens(self, request):
            logger("evakit.naming").info(request.conversation_id)
            yield "x"

    async with evakit.Stack(stt=None, llm=Naming(), tts=None) as stack:
        talks = [evakit.AsyncConversation(stack) for _ in range(10)]
        async with anyio.create_task_group() as tasks:
            for talk in talks:
                tasks.start_soon(talk.respond, "hi")

    named = records.of("evakit.naming")
    assert {record.conversation_id for record in named} == {talk.id for talk in talks}
    assert all(record.getMessage() == record.conversation_id for record in named)
    lines = [record for record in records.of("evakit.conversation") if "turn" in record.msg]
    assert len(lines) == 10
    assert all(record.conversation_id in record.getMessage() for record in lines)


def test_the_caller_s_own_context_is_left_as_it_was(records):
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
        with conversation.turn("hi") as turn:
            logger("evakit.mine").info("between two events")
            next(turn)
            logger("evakit.mine").info("and after one")
    assert [record.conversation_id for record in records.of("evakit.mine")] == [None, None]


PRINTING = """
import logging, logging.config, sys
{before}
import evakit
from evakit.testing.fakes import ScriptedLLM
conversation = evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None)
{after}
with conversation:
    conversation.respond("hi")
print(conversation.id)
"""
LAYOUT = "'%(conversation_id)s %(name)s %(message)s'"
DICT = """
logging.config.dictConfig({
    "version": 1,
    "formatters": {"plain": {"format": "%(conversation_id)s %(name)s %(message)s"}},
    "handlers": {"out": {
        "class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "plain"
    }},
    "loggers": {NAME: {"handlers": ["out"], "level": "INFO"}},
    "disable_existing_loggers": False,
})
"""
ON_ROOT = f"""
handler = logging.StreamHandler(sys.stdout)
handler.addFilter(logging.Filter("evakit"))
handler.setFormatter(logging.Formatter({LAYOUT}))
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel("INFO")
"""


@pytest.mark.parametrize(
    "configure",
    [DICT.replace("NAME", "'evakit'"), DICT.replace("NAME", "'evakit.conversation'"), ON_ROOT],
    ids=["on evakit", "on a child", "on the root"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_format_with_the_id_works_wherever_the_program_puts_its_handler(configure, when):
    places = {"before": "", "after": ""} | {when: configure}
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", PRINTING.format(**places)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    *lines, name = done.stdout.splitlines()
    turn = f"{name} evakit.conversation Conversation {name}: turn finished ("
    assert len([line for line in lines if line.startswith(turn)]) == 1
    assert all(line.startswith(f"{name} evakit.") for line in lines)


def test_a_queue_handler_takes_the_id_along_to_its_other_thread():
    waiting = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    log = logging.getLogger("evakit")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
            conversation.respond("hi")
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    taken = [waiting.get_nowait() for _ in range(waiting.qsize())]
    assert {record.conversation_id for record in taken} == {conversation.id}


def test_evakit_leaves_logging_itself_as_it_found_it():
    code = """
        import json, logging
        before = logging.getLogRecordFactory(), logging.getLoggerClass(), logging.raiseExceptions
        import evakit
        [getattr(evakit, name) for name in evakit.__all__]
        assert before == (
            logging.getLogRecordFactory(), logging.getLoggerClass(), logging.raiseExceptions
        )
        print(json.dumps([
            logging.getLogger().handlers, logging.getLogger().filters, logging.getLogger().level,
            logging.getLogger("evakit").level, logging.getLogger("evakit").propagate,
        ]))
        logging.getLogger("evakit.anything").error("not shown")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], [], logging.WARNING, logging.NOTSET, True]
    assert done.stderr == ""


# --- the engines' own words

REAL = """
    import os, sys, tempfile, logging
    import evakit
    from importlib.resources import files

    class Kept(logging.Handler):
        records = []
        def emit(self, record):
            self.records.append(record)
    if LEVEL is not None:
        logging.getLogger().addHandler(Kept())
        logging.getLogger().setLevel(LEVEL)
    question = (files("evakit.cli") / "question.wav").read_bytes()
    with evakit.Conversation(stt="whisper:tiny.en", language="en") as conversation:
        assert "France" in conversation.respond(question).heard
        assert conversation.respond("And you?").audio.duration > 0.1
        with conversation.turn("Tell me a story.") as turn:
            for event in turn:
                break
    ours = [r for r in Kept.records if r.name.split(".")[0] == "evakit"]
    theirs = sorted({r.name for r in Kept.records} - {r.name for r in ours})
    with open(sys.argv[1], "w") as file:
        for record in ours:
            print(record.levelname, record.name, record.conversation_id, file=file)
        print(*theirs, file=file)
"""


def real_turn(level, tmp_path, *options):
    path = tmp_path / "records"
    code = f"LEVEL = {level!r}\n{textwrap.dedent(REAL)}"
    done = subprocess.run(
        [sys.executable, *options, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    *ours, theirs = path.read_text().splitlines()
    return [line.split() for line in ours], theirs.split()


@pytest.mark.timeout(180)
def test_a_turn_with_the_real_engines_prints_nothing_even_where_warnings_are_errors(tmp_path):
    assert real_turn(None, tmp_path, "-W", "error") == ([], [])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_what_the_engines_tell_arrives_as_records_at_debug_and_nowhere_else(tmp_path, level):
    ours, theirs = real_turn(level, tmp_path)
    names = {name for _, name, _ in ours}
    assert {"evakit.conversation", "evakit.stack"} <= names
    assert ("evakit.whisper" in names) == (level == "DEBUG")
    assert {level for level, name, _ in ours if name == "evakit.whisper"} <= {"DEBUG"}
    assert len({conversation for *_, conversation in ours}) == 1
    assert set(theirs) <= {"asyncio"}  # which names its selector, at DEBUG
