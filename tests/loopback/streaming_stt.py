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
        self._results, self._complete, self._reading = {}, False, anyio.Lock()

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
        async for _ in self:
            pass
        return self._transcript(final=True)

    def updates(self):
        return self

    def __aiter__(self):
        return self

    async def __anext__(self):
        async with self._reading:  # `finish` and whoever reads the updates run side by side
            if self._complete:
                raise StopAsyncIteration
            with self._errors():
                message = await self._socket.receive()
            self._complete = message["type"] == "Metadata"
        if message["type"] == "Results":
            words = [Word(text, *span) for text, *span in message["words"]]
            self._results[message["span"][0]] = Segment(message["text"], *message["span"], words)
        return STTUpdate(self._transcript(final=False), message["type"] == "UtteranceEnd")

    def _transcript(self, *, final):
        said = [self._results[start] for start in sorted(self._results)]
        return Transcript(" ".join(p.text for p in said), said, sample_rate=16_000, is_final=final)

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
