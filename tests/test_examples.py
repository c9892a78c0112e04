"""Every example runs as it stands, from any folder, and says what it is there to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

# Of each example: something that it prints, and the files that it leaves.
SAYS = {
    "ask_a_file.py": ("heard:  What is the capital of France?", {"answer.wav"}),
    "many_conversations.py": ("Cem is told in", set()),
    "observer.py": ("TurnFinished: 2", set()),
    "own_llm_backend.py": ("That is Paris. Would you like to hear another one?", set()),
    "own_tts_backend.py": ("spelled in", {"spelled.wav"}),
    "remember_between_runs.py": ("2 messages are in conversation.json", {"conversation.json"}),
    "stream_events.py": ("interrupted: True", set()),
    "transcribe_recordings.py": ("What is the capital of France?", set()),
}


def run(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_as_it_stands(name, tmp_path):
    says, leaves = SAYS[name]
    done = run(tmp_path, EXAMPLES / name)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert done.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} == leaves


def test_a_conversation_goes_on_in_the_next_run(tmp_path):
    for count in (2, 4):
        done = run(tmp_path, EXAMPLES / "remember_between_runs.py", "What is the capital of Italy?")
        assert f"{count} messages" in done.stdout, done.stderr


def test_the_plugin_is_listed_once_it_is_installed(tmp_path, beep_plugin):
    without = run(tmp_path, "-m", "evakit", "plugins", "--json")
    done = run(tmp_path, "-m", "evakit", "plugins", "--json", PYTHONPATH=str(beep_plugin))
    beep = {
        "kind": "tts",
        "name": "beep",
        "distribution": "evakit-beep",
        "version": "0.1.0",
        "available": True,
        "reason": None,
    }
    assert beep in json.loads(done.stdout)
    assert beep not in json.loads(without.stdout)


def test_a_conversation_speaks_with_the_plugin_by_name(tmp_path, beep_plugin):
    program = """
import evakit
from evakit.testing.fakes import ScriptedLLM

llm = ScriptedLLM("One two three.")
with evakit.Conversation(stt=None, llm=llm, tts="beep") as conversation:
    reply = conversation.respond("Count.")
    print(conversation.backends["tts"].name, reply.audio.duration, reply.audio.sample_rate)
"""
    done = run(tmp_path, "-c", program, PYTHONPATH=str(beep_plugin))
    assert done.stdout.split() == ["beep", "1.2", "16000"], done.stderr
