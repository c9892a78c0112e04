"""The page on embedding keeps its word: its blocks for other hosts run there, silence included."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import types
from importlib.resources import files
from pathlib import Path

import flask
import numpy as np
import pytest
from fastapi import testclient

import evakit

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/embed.md"
BLOCK = re.compile(r"^```(py|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUESTION = (files("evakit.cli") / "question.wav").read_bytes()
SILENCE = evakit.Audio(np.zeros(16_000), 16_000).encode()


@pytest.fixture(scope="module")
def blocks():
    """The blocks for other hosts, by what each of them has that no other has."""
    texts = [text for kind, text in BLOCK.findall(PAGE.read_text("utf-8")) if kind == "py"]
    named = {
        name: next(text for text in texts if mark in text)
        for name, mark in {"notebook": "await", "flask": "flask", "fastapi": "fastapi"}.items()
    }
    assert len(texts) == len(set(named.values())), "a block of the page is run by no test"
    return named


def run(block, page):
    code = compile(block, PAGE, "exec", dont_inherit=True)
    exec(code, vars(page))  # noqa: S102 (it is what the test is about)


@pytest.fixture
def page():
    """What the page's first block leaves behind, as for a reader from the top."""
    page = types.ModuleType("page")
    run(BLOCK.search(PAGE.read_text("utf-8"))[2], page)
    return page


def test_the_cell_of_a_notebook_runs(blocks, page):
    awaits = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    cell = compile(blocks["notebook"], PAGE, "exec", awaits, dont_inherit=True)

    async def run_cell():
        running = eval(cell, vars(page))  # noqa: S307 (it is what the test is about)
        assert inspect.iscoroutine(running)
        await running

    asyncio.run(run_cell())
    assert page.reply.text == "You said: Hello."


def check(post):
    """Check that a question is answered in speech, and silence in words."""
    kind, content, status = post(QUESTION)
    assert (kind, status) == ("audio/mpeg", 200)
    assert evakit.Audio.load(content).duration > 0.5
    _, content, status = post(SILENCE)
    assert (content, status) == (b"Nothing was heard.", 422)


def test_the_flask_server_answers_a_question_and_silence(blocks, page, monkeypatch, tmp_path):
    served = []

    def serve(app):
        client = app.test_client()

        def post(recording):
            file = tmp_path / "question.wav"
            file.write_bytes(recording)
            with file.open("rb") as upload:
                answer = client.post("/ask", data={"question": upload})
            return answer.mimetype, answer.data, answer.status_code

        check(post)
        served.append(app)

    monkeypatch.setattr(flask.Flask, "run", serve)
    run(blocks["flask"], page)
    assert served == [page.app]


def test_the_fastapi_server_answers_a_question_and_silence(blocks, page):
    run(blocks["fastapi"], page)
    with testclient.TestClient(page.app) as client:

        def post(recording):
            answer = client.post("/ask", files={"question": ("question.wav", recording)})
            return answer.headers.get("content-type"), answer.content, answer.status_code

        check(post)
