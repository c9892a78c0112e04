"""A plugin as a third party would write it: a streaming STT over a websocket, in Deepgram's shape.

The vendor sends a result for each stretch of audio, and may send a better one later.
"""

import json
import math
from contextlib import AsyncExitStack
from importlib import import_module

import anyio
import sniffio

import evakit
from evakit.abc import STT, Capabilities, STTOptions, STTSession, STTUpdate
from evakit.errors import BackendTimeoutError, TranscriptionError

REMOTE = Capabilities(devices={"remote"}, serves_many_at_once=True)


class StreamingSTT(STT):
    capabilities = REMOTE

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.url, self.timeout = url, timeout

    def open(self, options: STTOptions) -> STTSession:
        return Utterance(self, options)


class Utterance(STTSession):
    def __init__(self, stt: StreamingSTT, options: STTOptions) -> None:
        self._stt = stt
        self._language = options.languages[0] if len(options.languages) == 1 else None
        self._segments: dict[int, evakit.Segment] = {}  # by where they start: the last one counts
        self._failure: Exception | None = None
        self._heard_all = anyio.Event()

    async def __aenter__(self):
        websocket = import_module(f"websockets.{sniffio.current_async_library()}.client")
        connection = websocket.connect(f"{self._stt.url}?rate={self._stt.sample_rate}", close_timeout=1)
        async with AsyncExitStack() as stack:
            try:
                self._socket = await stack.enter_async_context(connection)
            except (OSError, websocket.InvalidHandshake) as error:
                raise self._failed(error) from error
            self._news, self._updates = anyio.create_memory_object_stream[STTUpdate](math.inf)
            stack.enter_context(self._updates)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._listen)
            stack.callback(tasks.cancel_scope.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_):
        with anyio.CancelScope(shield=True):  # says goodbye in any case
            await self._stack.aclose()

    async def feed(self, audio: evakit.Audio) -> None:
        audio.require_sample_rate(self._stt.sample_rate)
