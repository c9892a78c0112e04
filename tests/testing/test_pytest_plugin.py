"""The pytest plugin as a program's own tests see it: an inner pytest with nothing else."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evakit.testing import conformance
from evakit.testing.conformance.backend import BackendConformance

pytest_plugins = ["pytester"]

BRAIN = """
def brain(request):
    return "It is ten." if "time" in request.text else "I cannot say."
"""
FIVE_LINES = """
from evakit.testing import speech
from kiosk import brain

def test_the_kiosk_tells_the_time(evakit_conversation):
    conversation = evakit_conversation("What is the time?", llm=brain)
    reply = conversation.respond(speech())
    assert reply.played == "It is ten."
    assert reply.timings.first_audio_delay < 0.5
"""


@pytest.fixture
def inner(pytester, monkeypatch):
    """Runs pytest on a file, in a folder without our conftest, as a user's would be."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(text, *options, kiosk=BRAIN):
        pytester.makepyfile(kiosk=kiosk)
        pytester.makepyfile(test_it=text)
        options = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", *options)
        return pytester.runpytest_subprocess(*options, timeout=50)

    return run


def test_a_programs_test_of_its_voice_flow_is_five_lines(inner):
    body = FIVE_LINES.partition("def ")[2]
    assert len(body.strip().splitlines()) == 5
    inner(FIVE_LINES, "-W", "error").assert_outcomes(passed=1)


def test_such_a_test_fails_when_the_program_is_wrong(inner):
    result = inner(FIVE_LINES.replace("It is ten.", "It is eleven."))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*'It is ten.' == 'It is eleven.'*"])


def test_timings_in_a_sync_test_are_exact(inner):
    inner(
        """
        import pytest
        from evakit.testing import ScriptedLLM, ToneTTS

        def test_it_answers_in_time(evakit_conversation):
            llm = ScriptedLLM("Yes, of course.", first_delay=20.0)
            conversation = evakit_conversation(stt=None, llm=llm, tts=ToneTTS(delay=10.0))
            assert conversation.respond("Well?").timings.first_audio_delay == pytest.approx(30.0)
        """
    ).assert_outcomes(passed=1)


def test_an_async_test_is_on_virtual_time_by_its_backend(inner):
    inner(
        """
        import anyio, evakit, pytest
        from evakit.testing import ScriptedLLM, ScriptedSTT, ToneTTS, speech, virtual

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual(request.param)

        @pytest.mark.anyio
        async def test_a_slow_voice_is_waited_for():
            backends = dict(stt=ScriptedSTT("Hello?"), llm=ScriptedLLM(), tts=ToneTTS(delay=30.0))
            async with evakit.AsyncConversation(**backends) as conversation:
                reply = await conversation.respond(speech())
            assert reply.timings.first_audio_delay == pytest.approx(30.0)
        """
    ).assert_outcomes(passed=2)


def test_a_conversation_has_a_scripted_backend_for_each_stage_that_is_not_given(inner):
    inner(
        """
        from evakit.testing import speech

        def test_it(evakit_conversation):
            conversation = evakit_conversation("One?", "Two?", language="en")
            replies = [conversation.respond(speech()) for _ in range(2)]
            assert [reply.heard for reply in replies] == ["One?", "Two?"]
            assert replies[1].text == "You said: Two?"
            assert replies[1].audio.duration > 0
            quiet = evakit_conversation(tts=None)
            assert quiet.respond("Three?").audio is None
        """
    ).assert_outcomes(passed=1)


def test_a_conversation_that_the_test_leaves_open_is_closed(inner):
    inner(
        """
        import threading

        def test_it(evakit_conversation):
            turn = evakit_conversation().turn("Hello?")
            next(turn.__enter__())  # and never left

        def test_nothing_is_left():
            assert not [t for t in threading.enumerate() if "portal" in t.name]
        """,
        "-W",
        "error",
    ).assert_outcomes(passed=2)


def test_tests_that_ask_for_nothing_get_nothing(inner):
    inner(
        """
        import sys, time, evakit
        from evakit.testing import ScriptedLLM

        def test_the_clock_is_the_real_one():
            start = time.monotonic()
            with evakit.Conversation(stt=None, llm=ScriptedLLM(delay=0.02), tts=None) as it:
                assert it.respond("Hello there.").timings.total_delay >= 0.02
            assert time.monotonic() - start >= 0.02
            assert "evakit.testing.clock" not in sys.modules
        """
    ).assert_outcomes(passed=1)


def test_it_can_be_switched_off(inner):
    inner(
        "def test_it(request):\n    assert not request.config.pluginmanager.has_plugin('evakit')",
        "-p",
        "no:evakit",
    ).assert_outcomes(passed=1)


def test_pytest_finds_it_by_itself():
    points = importlib.metadata.entry_points(group="pytest11", name="evakit")
    assert [point.value for point in points] == ["evakit.testing.pytest_plugin"]


def test_loading_it_imports_next_to_nothing():
    program = """
import json, sys, pytest
before = set(sys.modules)
import evakit.testing.pytest_plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    new = set(json.loads(done.stdout)) - {"contextvars", "_contextvars"}
    assert {name for name in new if not name.startswith("evakit")} == set()
    assert len(new) <= 5


def test_the_five_lines_that_the_guide_shows_pass(inner):
    page = Path(__file__).parents[2] / "docs/how-to/test-your-program.md"
    program, test, fixture = re.findall(
        r"^```py\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    asynchronous = """
import anyio
import evakit
from evakit.testing import ScriptedLLM

@pytest.mark.anyio
async def test_on_both_event_loops():
    async with evakit.AsyncConversation(stt=None, llm=ScriptedLLM(delay=9), tts=None) as it:
        assert (await it.respond("Hello?")).timings.first_token_delay == 9
"""
    inner(fixture + asynchronous + test, kiosk=program).assert_outcomes(passed=3)


def test_the_reference_lists_every_promise():
    page = (Path(__file__).parents[2] / "docs/reference/testing.md").read_text("utf-8")
    listed = re.findall(r"^\| (\S.*\.) \| `(\w+)` \|$", page, re.MULTILINE)
    kinds = [BackendConformance, *(getattr(conformance, name) for name in conformance.__all__)]
    promises = [
        (inspect.getdoc(test), name.removeprefix("test_"))
        for kind in kinds
        for name, test in vars(kind).items()
        if name.startswith("test_")
    ]
    assert sorted(listed) == sorted(promises)
