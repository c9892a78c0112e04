"""The examples tell nobody what was said."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
import stand_ins

ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import {module} as example, evakit
{before}
with evakit.Conversation(stt=None, llm=example.brain, tts=None) as conversation:
    print(conversation.respond("When are you open?").text)
"""


@pytest.fixture
def proxy():
    """A listener that a program finds wherever it turns, and what came in."""
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    calls.append(client.recv(100))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def ask(module, port, before=""):
    address = f"http://127.0.0.1:{port}"
    folder = str(stand_ins.EXAMPLES)
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(module=module, before=before), folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env={
            **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            "HTTP_PROXY": address,
            "HTTPS_PROXY": address,
            "OPENAI_API_KEY": "sk-of-nobody",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", sorted(p.stem for p in stand_ins.EXAMPLES.glob("agent_*.py")))
def test_an_example_calls_nobody(module, proxy):
    port, calls = proxy
    assert "open" in ask(module, port)
    assert calls == []


def test_openai_agents_would_call_if_the_example_did_not_forbid_it(proxy):
    port, calls = proxy
    ask("agent_openai", port, before="example.set_tracing_disabled(False)")
    assert any(b"api.openai.com" in call for call in calls)
