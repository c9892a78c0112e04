"""A third-party plugin: a streaming TTS in ElevenLabs' shape, which times each character."""

import base64
from collections import deque
from contextlib import contextmanager

from vendor_sdk import Session, VendorError

from evakit import Audio, BackendSpec, Voice, Word, hookimpl
from evakit.abc import TTS, Capabilities, Speech, TTSSession
from evakit.errors import SynthesisError

RATE = 16_000  # hertz


class StreamingTTS(TTS):
    capabilities = Capabilities(devices={"remote"}, serves_many_at_once=True)
    voices = (Voice(name="adam", language="en"), Voice(name="eve", language="fr"))

    def __init__(self, url, timeout=10.0):
        self.url, self.timeout = url, timeout

    def open(self, options):
        return _Reply(self, options.voice or self.voices[0])


class _Reply(TTSSession):
    def __init__(self, tts, voice):
        self._tts, self._socket = tts, Session(f"{tts.url}/{voice.name}", tts.timeout)
        self._unspoken = deque()  # the words that were written, and whether one ends its text
        self._letters = self._start = 0  # of the first of them: how many were spoken, from when
        self._end = None  # the message that was the last

    async def __aenter__(self):
        with self._errors():
            await self._socket.open()
        return self

    async def __aexit__(self, *_):
        await self._socket.close()

    async def write(self, text):
        words = text.split()
        self._unspoken += [(word, i == len(words)) for i, word in enumerate(words, 1)]
        await self._socket.send({"text": text + " "})

    async def end(self):
        await self._socket.send({"text": ""})

    async def __anext__(self):
        with self._errors():
            message = self._end or await self._socket.receive()
        if message["type"] == "Final":
            self._end = message
            raise StopAsyncIteration
        audio = Audio.from_pcm(base64.b64decode(message["audio"]), RATE)
        words, clauses = [], 0
        for _, start, end in filter(lambda at: at[0] != " ", message["alignment"]):  # in ms
            self._start = self._start if self._letters else start * RATE // 1000
            self._letters += 1
            word, ends_text = self._unspoken[0]
            if self._letters == len(word):
                words.append(Word(word, self._start, end * RATE // 1000))
                clauses, self._letters = clauses + ends_text, 0
                self._unspoken.popleft()
        self._start -= len(audio)  # of a word that goes on in the next chunk
        return Speech(audio, words, clauses)

    @contextmanager
    def _errors(self):
        try:
            yield
        except VendorError as error:
            text = f"{self._tts.name} could not speak ({error}); try again."
            raise SynthesisError(text, backend=self._tts.name, retryable=True) from error


@hookimpl
def evakit_backends():
    return [BackendSpec(kind="tts", name="streaming", factory=StreamingTTS)]
