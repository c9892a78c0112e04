"""The page on web frameworks keeps its word: its application serves as it says."""

from __future__ import annotations

import re
import types
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi import testclient

import evakit

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/serve-from-a-web-framework.md"
QUESTION = (files("evakit.cli") / "question.wav").read_bytes()


@pytest.fixture(scope="module")
def blocks():
    return re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def client(blocks):
    page = types.ModuleType("page")
    exec("\n".join(blocks), vars(page))  # noqa: S102 (it is what the test is about)
    with testclient.TestClient(page.app) as client:
        yield client


def test_the_first_block_is_the_example_whole(blocks):
    example = (ROOT / "examples/fastapi_upload.py").read_text("utf-8")
    assert example.endswith(blocks[0])


def test_an_upload_is_answered(client):
    answer = client.post("/answer", files={"recording": ("question.wav", QUESTION)})
    assert evakit.Audio.load(answer.content).duration > 0.5


def test_a_websocket_gets_text_and_speech_as_they_come(client):
    with client.websocket_connect("/talk") as socket:
        for _ in range(2):
            socket.send_bytes(QUESTION)
            heard = socket.receive_json()["heard"]
            assert heard == "What is the capital of France?"
            pcm, clauses = b"", []
            while True:
                message = socket.receive()
                if "bytes" in message and message["bytes"] is not None:
                    pcm += message["bytes"]
                elif "clause" in message["text"]:
                    clauses.append(message["text"])
                else:
                    break
            assert clauses
            assert evakit.AudioFormat(24_000).decode(pcm).peak > 0.1


def test_a_streamed_response_is_speech(client):
    answer = client.post("/stream", files={"recording": ("question.wav", QUESTION)})
    assert answer.headers["content-type"].startswith("audio/L16")
    assert evakit.AudioFormat(24_000).decode(answer.content).peak > 0.1
