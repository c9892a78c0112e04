"""Web frameworks as they are: Flask on werkzeug's threads, FastAPI on uvicorn, on loopback."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import flask
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from werkzeug.serving import make_server

import evakit
from evakit.abc import BlockingLLM
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)


class Engine(BlockingLLM):
    """Blocks, as engines do; one reply at a time."""

    def tokens(self, request):
        yield from (f"You said: {request.text}".split(" "))


class Hearing(ScriptedSTT):
    """Hears the same in whatever audio, as often as it is asked."""

    def open(self, options):
        self.script.append("hello")
        return super().open(options)


def ask(address, body=b"", kind="text/plain", timeout=30):
    """Send a request and return the body of the answer, and its type."""
    request = urllib.request.Request(
        address, body, {"Content-Type": kind, "Connection": "close"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read(), answer.headers.get_content_type()


def form(name, content):
    """Encode one uploaded file, as a browser does."""
    mark = uuid.uuid4().hex
    head = (
        f"--{mark}\r\nContent-Disposition: form-data; name={name!r}; filename=q.wav\r\n"
        "Content-Type: audio/wav\r\n\r\n"
    ).replace("'", '"')
    return head.encode() + content + f"\r\n--{mark}--\r\n".encode(), (
        f"multipart/form-data; boundary={mark}"
    )


@pytest.fixture
def flask_server():
    """An application whose requests are threads, with one stack for all of them."""
    app = flask.Flask(__name__)
    stack = evakit.Stack(stt=Hearing(), llm=Engine(), tts=ToneTTS())
    held = evakit.Conversation(stack)  # so that requests do not load and unload

    @app.post("/ask")
    def text():
        with evakit.Conversation(stack) as conversation:
            return conversation.respond(flask.request.get_data(as_text=True)).text

    @app.post("/upload")
    def upload():
        with evakit.Conversation(stack) as conversation:
            reply = conversation.respond(flask.request.files["question"])
        return flask.Response(reply.audio.encode("wav"), mimetype="audio/wav")

    @app.post("/stream")
    def stream():
        def events():
            with evakit.Conversation(stack) as conversation, conversation.turn("x") as turn:
                for event in turn:
                    yield type(event).__name__ + "\n"

        return flask.Response(events(), mimetype="text/plain")

    with held:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()


def test_flask_answers_many_requests_at_once(flask_server):
    with ThreadPoolExecutor(8) as pool:
        bodies = pool.map(lambda n: ask(f"{flask_server}/ask", f"n{n}".encode())[0], range(24))
        assert [b.decode() for b in bodies] == [f"Yousaid:n{n}" for n in range(24)]


def test_flask_takes_an_upload_and_answers_with_speech(flask_server):
    content, kind = form("question", QUESTION.encode("wav"))
    body, answered = ask(f"{flask_server}/upload", content, kind)
    assert answered == "audio/wav"
    assert evakit.Audio.load(body).duration > 0.1


def test_flask_streams_a_turn(flask_server):
    lines = ask(f"{flask_server}/stream")[0].decode().splitlines()
    assert lines[0] == "TokenGenerated"
    assert lines[-1] == "TurnFinished"


def make_api():
    """Endpoints of both kinds on one stack, which lives as long as the application."""
    stack = evakit.Stack(stt=Hearing(), llm=Engine(), tts=ToneTTS())
    left = []

    async def lifespan(_):
        async with stack:
            yield

    api = FastAPI(lifespan=asynccontextmanager(lifespan))
    api.state.left = left

    @api.post("/async")
    async def awaiting(request: Request) -> Response:
        async with evakit.AsyncConversation(stack) as conversation:
            said = (await request.body()).decode()
            return Response((await conversation.respond(said)).text)

    @api.post("/sync")
    def blocking() -> Response:  # in a thread of Starlette's
        with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
            return Response(conversation.respond("sync").text)

    @api.post("/upload")
    async def upload(question: UploadFile) -> Response:
        async with evakit.AsyncConversation(stack) as conversation:
            reply = await conversation.respond(await question.read())
        return Response(reply.audio.encode("wav"), media_type="audio/wav")

    @api.post("/endless")
    async def endless() -> StreamingResponse:
        async def events():
            llm = ScriptedLLM("word " * 100_000, delay=0.001)
            try:
                async with evakit.AsyncConversation(stt=None, llm=llm, tts=None) as conversation:
                    async with conversation.turn("x") as turn:
                        async for event in turn:
                            yield f"{type(event).__name__}\n"
            finally:
                left.append(llm.stopped)

        return StreamingResponse(events())

    return api


@pytest.fixture
def fastapi_server():
    api = make_api()
    config = uvicorn.Config(api, port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def starting(*args, **kwargs):
        await startup(*args, **kwargs)
        started.set()

    server.startup = starting
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    assert started.wait(30)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", api.state.left
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def test_fastapi_answers_from_endpoints_of_both_kinds_at_once(fastapi_server):
    address, _ = fastapi_server
    with ThreadPoolExecutor(8) as pool:
        awaited = pool.map(lambda n: ask(f"{address}/async", f"n{n}".encode())[0], range(16))
        blocked = pool.map(lambda _: ask(f"{address}/sync")[0], range(16))
        assert [b.decode() for b in awaited] == [f"Yousaid:n{n}" for n in range(16)]
        assert {b.decode() for b in blocked} == {"You said: sync"}


def test_fastapi_takes_an_upload_and_answers_with_speech(fastapi_server):
    address, _ = fastapi_server
    content, kind = form("question", QUESTION.encode("wav"))
    body, answered = ask(f"{address}/upload", content, kind)
    assert answered == "audio/wav"
    assert evakit.Audio.load(body).duration > 0.1


def test_a_client_that_goes_away_stops_the_turn_that_fastapi_streams(fastapi_server):
    address, left = fastapi_server
    request = urllib.request.Request(f"{address}/endless", b"", method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.readline() == b"TokenGenerated\n"
    gate = threading.Event()
    for _ in range(1000):
        if left:
            break
        gate.wait(0.01)
    assert left == [1]
