"""A plugin as a third party would write it: a streaming STT over a websocket, in Deepgram's shape.

The vendor sends a result for each stretch of speech, and may send a better one later.
"""

import json
import math
from contextlib import AsyncExitStack, contextmanager, suppress
from importlib import import_module

import anyio
import sniffio
from websockets.exceptions import ConnectionClosed, WebSocketException

import evakit
from evakit.abc import STT, Capabilities, STTOptions, STTSession, STTUpdate
from evakit.errors import TranscriptionError


class StreamingSTT(STT):
    capabilities = Capabilities(devices={"remote"}, serves_many_at_once=True)

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.url, self.timeout = url, timeout

    def open(self, options: STTOptions) -> STTSession:
        return _Utterance(self)

    @contextmanager
    def errors(self):
        try:
            yield
        except (OSError, WebSocketException, LookupError, TypeError, ValueError) as error:
            text = f"{self.name} gave no transcript ({error!r}); try again, or use another stt."
            raise TranscriptionError(text, backend=self.name, retryable=True) from error


class _Utterance(STTSession):
    def __init__(self, stt: StreamingSTT) -> None:
        self._stt, self._segments, self._failure = stt, {}, None
        self._updates, self._ended = anyio.create_memory_object_stream(math.inf), anyio.Event()

    async def __aenter__(self):
        vendor = import_module(f"websockets.{sniffio.current_async_library()}.client")
        connection = vendor.connect(self._stt.url, close_timeout=1, proxy=None)
        async with AsyncExitStack() as stack:
            for end in self._updates:
                stack.enter_context(end)
            with self._stt.errors():
                self._socket = await stack.enter_async_context(connection)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(self._listen)
            self._left = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):  # takes leave of the vendor even when cancelled
            await self._left.aclose()

    async def feed(self, audio: evakit.Audio) -> None:
        audio.require_sample_rate(self._stt.sample_rate)
        pcm = evakit.AudioFormat(audio.sample_rate).encode(audio)
        with suppress(ConnectionClosed):  # `finish` tells why
            for start in range(0, len(pcm), 3200):
                await self._socket.send(pcm[start : start + 3200])

    async def finish(self) -> evakit.Transcript:
        with self._stt.errors(), anyio.fail_after(self._stt.timeout):
            with suppress(ConnectionClosed):
                await self._socket.send('{"type": "CloseStream"}')
            await self._ended.wait()
        if self._failure is not None:
            raise self._failure
        return self._transcript(is_final=True)
