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

from evakit.plugins import discover

_HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def models_are_here(store):
    """Fetch, before anybody watches, what the conversation needs."""
    registry = discover()
    for kind, name, model in (("stt", "whisper", "tiny.en"), ("llm", "llamacpp", None)):
        for needed in registry.get(kind, name).create(model).models():
            store.ensure(needed)
    tts = registry.get("tts", "piper").create()
    for needed in (*tts.models(), *tts.voice_models(tts.voices[0])):
        store.ensure(needed)


@pytest.fixture(scope="module")
def observed(models_are_here, clips, tmp_path_factory):
    """What a watched conversation did: the steps, the ports open at each, the system calls."""
    reason = syscalls.why_not()
    if reason is not None:
        pytest.skip(f"native connections cannot be seen here: {reason}")
    question = tmp_path_factory.mktemp("privacy") / "question.wav"
    clips["en/hello_world"][0].save(question)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, str(_HERE / "watched.py"), str(port), str(question)]
        with subprocess.Popen(
            command, env=os.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            steps, listening, watch, seen = [], {}, None, {}
            try:
                for line in child.stdout:
                    facts = json.loads(line)
                    name = f"{facts['step']} {len(steps)}"
                    steps.append(facts)
                    if watch is None:
                        watch = syscalls.Watch(child.pid, facts["listener"])
                    tree = [psutil.Process(child.pid)]
                    tree += tree[0].children(recursive=True)
                    listening[name] = [
                        connection.laddr
                        for process in tree
                        for connection in process.net_connections("inet")
                        if connection.status == psutil.CONN_LISTEN
                    ]
                    seen[facts["step"]] = len(watch.internet)
                    child.stdin.write("\n")
                    child.stdin.flush()
            finally:
                child.kill() if child.poll() is None and sys.exc_info()[0] else child.wait()
                if watch is not None:
                    watch.close()
    assert child.returncode == 0
    return steps, listening, watch, port, seen
