"""The page on web frameworks keeps its word: its applications serve, and refuse, as it says."""

from __future__ import annotations

import logging
import re
import types
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi import testclient

import evakit
from evakit import errors
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/serve-from-a-web-framework.md"
QUESTION = (files("evakit.cli") / "question.wav").read_bytes()
PDF = b"%PDF-1.7\n" + b"stream " * 100
NOT_NOW = "The assistant cannot answer now; try again later."

FAILURES = [
    (errors.AudioFormatError("This is no sound; send some."), 422),
    (errors.EmptyAudioError("This has no length; send some sound."), 422),
    (errors.ContextTooLongError("That is too long; say less.", backend="llm"), 413),
    (errors.UnknownVoiceError("There is no such voice; choose another."), 400),
    (errors.UnknownLanguageError("Nobody speaks that; choose another."), 400),
    (errors.ConversationBusyError("One at a time; wait."), 409),
    (errors.BackendBusyError("The queue does not move; wait.", backend="tts", retryable=True), 503),
    (errors.BackendTimeoutError("Nothing came; wait.", backend="llm", seconds=60), 504),
    (errors.GenerationError("It broke; choose another.", backend="llm"), 502),
    (errors.BackendUnavailableError("No network; get some.", backend="llm"), 502),
    (errors.ConfigurationError("That makes no sense; correct it."), 500),
    (errors.ModelUnavailableError("It is nowhere; fetch it.", model="whisper:base"), 500),
    (errors.StorageError("The disk is full; free some space."), 500),
]


@pytest.fixture(scope="module")
def blocks():
    return re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def program(blocks):
    page = types.ModuleType("page")
    code = compile("\n".join(blocks), PAGE, "exec", dont_inherit=True)
    exec(code, vars(page))  # noqa: S102 (it is what the test is about)
    return page


@pytest.fixture(scope="module")
def page(blocks):
    """The application that the page builds up, block after block; its last one is Flask's."""
    return program([block for block in blocks if "flask" not in block])


@pytest.fixture(scope="module")
def client(page):
    with testclient.TestClient(page.app) as client:
        yield client


@pytest.fixture
def failing(page, monkeypatch):
    """A function that lets the application meet an error with the next question."""

    def fail(error):
        stack = evakit.Stack(stt=ScriptedSTT(error, "hello"), llm=ScriptedLLM(), tts=ToneTTS())
        monkeypatch.setattr(page, "stack", stack)
        return stack

    return fail


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


@pytest.mark.parametrize("path", ["/answer", "/stream"])
def test_what_is_no_recording_is_refused_with_what_to_do(client, path):
    answer = client.post(path, files={"recording": ("question.pdf", PDF)})
    assert answer.status_code == 422
    assert "audio" in answer.json()["error"]


def check(error, status, answer):
    """Check what an error was answered with: status, header, text."""
    code, retry_after, said = answer
    assert code == status
    assert retry_after == ("5" if status == 503 else None)
    assert said == {"error": NOT_NOW if status >= 500 else str(error)}


@pytest.mark.parametrize(("error", "status"), FAILURES, ids=lambda given: type(given).__name__)
def test_fastapi_answers_an_error_with_its_status(client, failing, caplog, error, status):
    failing(error)
    with caplog.at_level(logging.ERROR, "page"):
        answer = client.post("/answer", files={"recording": ("question.wav", QUESTION)})
    check(error, status, (answer.status_code, answer.headers.get("retry-after"), answer.json()))
    assert bool([r for r in caplog.records if str(error) in r.message]) is (status >= 500)


@pytest.mark.parametrize(("error", "status"), FAILURES, ids=lambda given: type(given).__name__)
def test_flask_answers_an_error_with_its_status(blocks, error, status):
    page = program([block for block in blocks if "flask" in block or "STATUS" in block])
    stack = evakit.Stack(stt=ScriptedSTT(error), llm=ScriptedLLM(), tts=ToneTTS())

    @page.app.post("/ask")
    def ask():
        with evakit.Conversation(stack) as conversation:
            return conversation.respond(QUESTION).text

    answer = page.app.test_client().post("/ask")
    check(error, status, (answer.status_code, answer.headers.get("Retry-After"), answer.json))


def test_an_error_is_said_on_the_socket_and_the_conversation_goes_on(client, failing):
    failing(errors.TranscriptionError("It broke; choose another.", backend="stt"))
    with client.websocket_connect("/talk") as socket:
        socket.send_bytes(QUESTION)
        assert socket.receive_json() == {"error": NOT_NOW}
        socket.send_bytes(PDF)
        assert "audio" in socket.receive_json()["error"]
        socket.send_bytes(QUESTION)
        assert socket.receive_json() == {"heard": "hello"}


def test_the_table_of_answers_is_what_the_program_does(page):
    rows = re.findall(r"^\| `(\w+)` \| (\d+)", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {kind.__name__: str(status) for kind, status in page.STATUS.items()} == dict(rows)
