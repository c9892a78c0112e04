"""Seen from outside Python, a local conversation talks to nobody and lets nobody in."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import syscalls
from attrs import define, field

from evakit.plugins import discover

_WATCHED = Path(__file__).with_name("watched.py")

pytestmark = pytest.mark.skipif(
    syscalls.why_not() is not None,
    reason=f"what native code does cannot be seen from outside here: {syscalls.why_not()}",
)


@define
class Step:
    """A step of the watched process, and what was seen of it by then."""

    name: str
    facts: dict
    calls: list[syscalls.Call]
    """All of its calls so far that may leave the machine, or let others in."""
    listening: list
    """The addresses at which it listens now, over TCP."""


@define
class Watched:
    """A process that was watched to its end."""

    port: int
    """Where its controls connect to."""
    steps: list[Step] = field(factory=list)
    calls: list[syscalls.Call] = field(factory=list)
    """All of its calls that were reported."""

    def step(self, name):
        return next(step for step in self.steps if step.name == name)


@pytest.fixture(scope="module")
def question(store, clips, tmp_path_factory):
    """A spoken question; what answering it needs is fetched before anybody watches."""
    registry = discover()
    tts = registry.get("tts", "piper").create()
    models = [
        *registry.get("stt", "whisper").create("tiny.en").models(),
        *registry.get("llm", "llamacpp").create().models(),
        *tts.models(),
        *tts.voice_models(tts.voices[0]),
    ]
    for model in models:
        store.ensure(model)
    path = tmp_path_factory.mktemp("privacy") / "question.wav"
    clips["en/hello_world"][0].save(path)
    return path


@pytest.fixture(scope="module")
def watched(question):
    """A conversation on local engines in a process of its own, watched to its end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        watched = Watched(server.getsockname()[1])
        command = [sys.executable, str(_WATCHED), str(watched.port), str(question)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            try:
                _follow(child, watched)
            finally:
                child.kill()  # it has ended, or something went wrong
        assert child.returncode == 0
    return watched


def _follow(child, watched):
    watch = None
    try:
        for line in child.stdout:
            facts = json.loads(line)
            if watch is None:
                watch = syscalls.Watch(child.pid, facts["listener"])
            internet = [call for call in watch.calls if call.is_internet]
            watched.steps.append(Step(facts["step"], facts, internet, _listening(child.pid)))
            child.stdin.write("\n")
            child.stdin.flush()
        child.wait()
    finally:
        child.kill()
        if watch is not None:
            watch.close()
            watched.calls += watch.calls


def _listening(pid):
    process = psutil.Process(pid)
    return [
        connection.laddr
        for each in (process, *process.children(recursive=True))
        for connection in each.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


def test_the_conversation_took_place(watched):
    assert {d["device"] for d in watched.step("loaded").facts["backends"].values()} == {"cpu"}
    answers = [step.facts for step in watched.steps if step.name == "answered"]
    assert len(answers) == 2
    for answer in answers:
        assert "hello" in answer["heard"].lower()
        assert answer["text"]
        assert answer["seconds"] > 0.2


def test_native_connections_and_listeners_are_seen(watched):
    before, after = watched.step("controls before"), watched.step("controls after")
    control = syscalls.Call("connect", socket.AF_INET, f"127.0.0.1:{watched.port}")
    assert before.calls[0] == control
    assert [call.name for call in before.calls] == ["connect", "listen"]
    assert len(before.listening) == 1
    assert after.calls[-1] == control


def test_a_local_conversation_opens_no_connection_and_no_port(watched):
    before, after = watched.step("controls before"), watched.step("controls after")
    assert watched.step("unloaded").calls == before.calls
    assert len(after.calls) == len(before.calls) + 1  # the second control
    assert [call for call in watched.calls if call.is_internet] == after.calls


def test_no_tcp_port_listens_during_a_local_conversation_or_after_it(watched):
    during = [step for step in watched.steps if step.name in {"loaded", "answered", "unloaded"}]
    assert len(during) == 4
    assert [step.listening for step in during] == [[], [], [], []]
