"""A voice service: a recording is uploaded, the spoken answer comes back.

uvicorn --app-dir examples fastapi_upload:app
curl -F recording=@question.wav http://127.0.0.1:8000/answer -o answer.mp3
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response, UploadFile

import evakit

stack = evakit.Stack(voice="joe")


@asynccontextmanager
async def loaded(_: FastAPI) -> AsyncIterator[None]:
    """Load the models once, before the first request."""
    async with stack:
        yield


app = FastAPI(lifespan=loaded)


@app.post("/answer")
async def answer(recording: UploadFile) -> Response:
    """Answer a recording of any format with speech as MP3."""
    async with evakit.AsyncConversation(stack) as conversation:
        reply = await conversation.respond(recording.file)
    if reply.audio is None:
        return Response("Nothing was heard.", 422)
    return Response(reply.audio.encode("mp3"), media_type="audio/mpeg")
