"""Every example runs as it stands, from any folder, and says what it is there to say."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tokenize
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import evakit

EXAMPLES = Path(__file__).parents[1] / "examples"

# Of each example: something that it prints, and the files that it leaves.
SAYS = {
    "agent_langgraph.py": ("And tomorrow? -> Tomorrow as well.", set()),
    "agent_openai.py": ("When are you open? -> We are open from ten to six.", set()),
    "agent_pydantic_ai.py": ("Shall I keep a cake for you?", set()),
    "agent_smolagents.py": ("One moment. On Monday it is open from ten to six.", set()),
    "ask_a_file.py": ("heard:  What is the capital of France?", {"answer.wav"}),
    "bot_with_threads.py": ("at 48000 Hz>", set()),
    "greeting.py": ("assistant: Good morning! What would you like to know?", {"greeting.wav"}),
    "many_conversations.py": ("Cem is told in", set()),
    "observer.py": ("TurnFinished: 2", set()),
    "own_llm_backend.py": ("That is Paris. Would you like to hear another one?", set()),
    "own_tts_backend.py": ("spelled in", {"spelled.wav"}),
    "own_tts_function.py": ("was whistled in", {"whistled.wav"}),
    "push_to_talk.py": ("What is the capital of France? -> ", {"answer.wav"}),
    "remember_between_runs.py": ("2 messages are in conversation.json", {"conversation.json"}),
    "stream_events.py": ("interrupted: True", set()),
    "switch_to_french.py": ("De quoi parlons-nous ?", set()),
    "transcribe_recordings.py": ("What is the capital of France?", set()),
    "where_the_time_went.py": ("first token", set()),
}
# Examples that are no programs of their own, each with a test of its own.
SERVED = {"fastapi_upload.py", "test_without_models.py"}

# What a user would want to do, each in at most twenty lines.
TASKS = {
    "upload to speech in FastAPI": "fastapi_upload.py",
    "a bot whose own threads bring and take 48 kHz stereo int16 audio": "bot_with_threads.py",
    "record while a button is held, then answer": "push_to_talk.py",
    "own LangGraph agent": "agent_langgraph.py",
    "greeting": "greeting.py",
    "switch to French in mid-conversation": "switch_to_french.py",
    "restart with history": "remember_between_runs.py",
    "own TTS function": "own_tts_function.py",
    "test without models": "test_without_models.py",
    "where did the time of a turn go": "where_the_time_went.py",
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
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS) | SERVED


def lines_of_code(path):
    """Count the lines that are no docstring, comment or blank."""
    tree = ast.parse(path.read_text("utf-8"))
    bodies = [n.body for n in ast.walk(tree) if isinstance(n, ast.Module | ast.FunctionDef)]
    bodies += [n.body for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef | ast.ClassDef)]
    docstrings = set()
    for first, *_ in bodies:
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            docstrings.update(range(first.lineno, first.end_lineno + 1))
    code = set()
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}:
                code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_at_most_twenty_lines(task):
    assert lines_of_code(EXAMPLES / TASKS[task]) <= 20


def test_an_uploaded_recording_is_answered_in_speech(monkeypatch):
    from fastapi import testclient

    monkeypatch.syspath_prepend(str(EXAMPLES))
    import fastapi_upload

    with testclient.TestClient(fastapi_upload.app) as client:
        question = (files("evakit.cli") / "question.wav").read_bytes()
        answer = client.post("/answer", files={"recording": ("question.wav", question)})
        assert answer.headers["content-type"] == "audio/mpeg"
        assert evakit.Audio.load(answer.content).duration > 0.5
        silence = evakit.Audio(np.zeros(16_000), 16_000).encode()
        assert client.post("/answer", files={"recording": ("s.wav", silence)}).status_code == 422


def test_the_test_without_models_passes_as_a_test_of_anybodys(tmp_path):
    done = run(
        tmp_path,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        EXAMPLES / "test_without_models.py",
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


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
