"""Seen from outside Python, a local conversation talks to nobody and lets nobody in."""

from __future__ import annotations

import json
import os
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

_can_watch = pytest.mark.skipif(
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
                watch = _watch(child.pid, facts)
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


def _watch(pid, facts):
    try:
        if "listener" in facts:
            return syscalls.Watch(pid, facts["listener"])
        reason = facts["reason"]
    except PermissionError as error:
        reason = str(error)
    pytest.skip(f"this container does not let one process watch another: {reason}")


def _listening(pid):
    process = psutil.Process(pid)
    return [
        connection.laddr
        for each in (process, *process.children(recursive=True))
        for connection in each.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


@_can_watch
def test_the_conversation_took_place(watched):
    assert {d["device"] for d in watched.step("loaded").facts["backends"].values()} == {"cpu"}
    answers = [step.facts for step in watched.steps if step.name == "answered"]
    assert len(answers) == 2
    for answer in answers:
        assert "hello" in answer["heard"].lower()
        assert answer["text"]
        assert answer["seconds"] > 0.2


@_can_watch
def test_native_connections_and_listeners_are_seen(watched):
    before, after = watched.step("controls before"), watched.step("controls after")
    control = syscalls.Call("connect", socket.AF_INET, f"127.0.0.1:{watched.port}")
    assert before.calls[0] == control
    assert [call.name for call in before.calls] == ["connect", "listen"]
    assert len(before.listening) == 1
    assert after.calls[-1] == control


@_can_watch
def test_a_local_conversation_opens_no_connection_and_no_port(watched):
    before, after = watched.step("controls before"), watched.step("controls after")
    assert watched.step("unloaded").calls == before.calls
    assert len(after.calls) == len(before.calls) + 1  # the second control
    assert [call for call in watched.calls if call.is_internet] == after.calls


@_can_watch
def test_no_tcp_port_listens_during_a_local_conversation_or_after_it(watched):
    during = [step for step in watched.steps if step.name in {"loaded", "answered", "unloaded"}]
    assert len(during) == 4
    assert [step.listening for step in during] == [[], [], [], []]


# Notes the telemetry switch at the moment when somebody, whoever it is, imports ONNX Runtime.
_SPY = """
import os, sys
class Spy:
    switches = []
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            self.switches.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Spy())
"""


def _run(code):
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=50
    ).stdout


@pytest.mark.parametrize("backend", ["vad silero", "tts piper", "stt whisper:tiny.en"])
def test_onnx_runtime_is_imported_with_its_telemetry_switched_off(question, backend):
    kind, name = backend.split()
    code = f"""{_SPY}
import anyio
from evakit.abc import LoadContext
from evakit.models import ModelStore
from evakit.plugins import discover
from evakit.registry import BackendName
asked = BackendName.parse({name!r})
backend = discover().get({kind!r}, asked.name).create(asked.model)
store = ModelStore()
models = {{model.name: store.ensure(model) for model in backend.models()}}
anyio.run(backend.load, LoadContext(models=models))
if {kind!r} == "tts":
    voice = backend.voices[0]
    models = {{model.name: store.ensure(model) for model in backend.voice_models(voice)}}
    anyio.run(backend.prepare_voice, voice, models)
print(Spy.switches)
"""
    assert _run(code).split("\n")[0] == "['1']"


def test_where_the_host_imported_onnx_runtime_earlier_its_telemetry_is_switched_off():
    code = """
import onnxruntime
calls = []
really = onnxruntime.disable_telemetry_events
onnxruntime.disable_telemetry_events = lambda: calls.append(really())
from evakit.privacy import import_onnxruntime
assert not calls
assert import_onnxruntime() is onnxruntime
print(calls)
"""
    assert _run(code).strip() == "[None]"
