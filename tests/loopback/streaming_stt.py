"""A plugin as a third party would write it: a streaming STT over a websocket, in Deepgram's shape.

The vendor sends a result for each stretch of speech, and may send a better one later.
"""

from contextlib import contextmanager

import anyio
from vendor_sdk import VendorError, connect

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
        self._stt, self._segments, self._complete, self._reading = stt, {}, False, anyio.Lock()
        self._connection = connect(stt.url, timeout=stt.timeout)

    async def __aenter__(self):
        with self._errors():
            self._socket = await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc_info):
        await self._connection.__aexit__(*exc_info)

    async def feed(self, audio):
        audio.require_sample_rate(self._stt.sample_rate)
        for start in range(0, len(audio), 1600):
            piece = audio[start : start + 1600]
            await self._socket.send(AudioFormat(audio.sample_rate).encode(piece))

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
                self._segments[message["start"]] = message
            self._complete = message["type"] == "Metadata"
        return message

    def _transcript(self, *, is_final):
        segments = [_segment(m, self._stt.sample_rate) for _, m in sorted(self._segments.items())]
        text = " ".join(segment.text for segment in segments)
        return Transcript(text, segments, sample_rate=self._stt.sample_rate, is_final=is_final)

    @contextmanager
    def _errors(self):
        try:
            yield
        except VendorError as error:
            text = f"{self._stt.name} gave no transcript ({error}); try again."
            raise TranscriptionError(text, backend=self._stt.name, retryable=True) from error


def _segment(message, rate):
    best, start = message["channel"]["alternatives"][0], round(message["start"] * rate)
    words = [
        Word(w["word"], round(w["start"] * rate), round(w["end"] * rate)) for w in best["words"]
    ]
    return Segment(best["transcript"], start, start + round(message["duration"] * rate), words)


@hookimpl
def evakit_backends():
    return [
        BackendSpec(kind="stt", name="streaming", factory=StreamingSTT, requires=["websockets"])
    ]
