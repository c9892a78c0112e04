"""A third-party plugin: a streaming STT in Deepgram's shape, which may revise what it said."""

from contextlib import contextmanager

import anyio
from vendor_sdk import Session, VendorError

from evakit import AudioFormat, BackendSpec, Segment, Transcript, Word, hookimpl
from evakit.abc import STT, Capabilities, STTSession, STTUpdate
from evakit.errors import TranscriptionError


class StreamingSTT(STT):
    capabilities = Capabilities(devices={"remote"}, serves_many_at_once=True)

    def __init__(self, url, timeout=10.0):
        self.url, self.timeout = url, timeout

    def open(self, options):
        return _Utterance(self)


class _Utterance(STTSession):
    def __init__(self, stt):
        self._stt, self._socket = stt, Session(stt.url, stt.timeout)
        self._segments, self._complete, self._reading = {}, False, anyio.Lock()

    async def __aenter__(self):
        with self._errors():
            await self._socket.open()
        return self

    async def __aexit__(self, *_):
        await self._socket.close()

    async def feed(self, audio):
        audio.require_sample_rate(self._stt.sample_rate)
        for start in range(0, len(audio), 1600):
            await self._socket.send(AudioFormat(16_000).encode(audio[start : start + 1600]))

    async def finish(self):
        await self._socket.send({"type": "CloseStream"})
        async for _ in self.updates():
            pass
        return self._transcript(is_final=True)

    async def updates(self):
        while message := await self._next():
            yield STTUpdate(self._transcript(is_final=False), message["type"] == "UtteranceEnd")

    async def _next(self):
        async with self._reading:  # `finish` and `updates` run side by side, and both need news
            if self._complete:
                return None
            with self._errors():
                message = await self._socket.receive()
            if message["type"] == "Results":
                words = [Word(text, *span) for text, *span in message["words"]]
                segment = Segment(message["transcript"], *message["span"], words)
                self._segments[segment.start] = segment  # replaces what was said of it before
            self._complete = message["type"] == "Metadata"
        return None if self._complete else message

    def _transcript(self, *, is_final):
        segments = [self._segments[start] for start in sorted(self._segments)]
        text = " ".join(segment.text for segment in segments)
        return Transcript(text, segments, sample_rate=self._stt.sample_rate, is_final=is_final)

    @contextmanager
    def _errors(self):
        try:
            yield
        except VendorError as error:
            text = f"{self._stt.name} gave no transcript ({error}); try again."
            raise TranscriptionError(text, backend=self._stt.name, retryable=True) from error


@hookimpl
def evakit_backends():
    return [BackendSpec(kind="stt", name="streaming", factory=StreamingSTT)]
