"""Ordinary use of evakit that has to type-check under mypy --strict; never run.

One function a part of the library. `assert_type` says what an expression's type must be.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import evakit
from evakit import settings
from evakit.abc import LLM, Capabilities, LLMRequest, STTOptions, TTSOptions


def audio(path: Path) -> None:
    sound = evakit.Audio.load(path)
    assert_type(sound, evakit.Audio)
    evakit.Audio.load(b"RIFF", sample_rate=16_000, max_duration=60)
    evakit.Audio.load(bytearray(b"RIFF"))
    evakit.Audio.load(io.BytesIO(b"RIFF"))
    with path.open("rb") as file:
        evakit.Audio.load(file)
    evakit.Audio(np.zeros(10, np.float32), 16_000)
    evakit.Audio([0.0, 0.5], 16_000)
    evakit.Audio.from_pcm(b"\0\0", 16_000, channels=1, encoding="int16")
    assert_type(sound.samples, npt.NDArray[np.float32])
    assert_type(sound.sample_rate, int)
    assert_type(sound.duration, float)
    assert_type(sound[:16_000], evakit.Audio)
    assert_type(sound.resample(8_000), evakit.Audio)
    assert_type(sound.encode("mp3"), bytes)
    assert_type(evakit.Audio.join([sound, sound[:10]]), evakit.Audio)
    frames: Iterator[npt.NDArray[np.float32]] = sound.frames(512)
    next(frames)
    sound.save("answer.mp3")
    sound.save(path)
    with evakit.AudioWriter(path) as writer:
        writer.write(sound)
        assert_type(writer.duration, float)
    layout = evakit.AudioFormat(8_000, encoding="mulaw")
    assert_type(layout.decode(layout.encode(sound)), evakit.Audio)


def texts() -> None:
    history = evakit.History([evakit.Message("user", "Hello"), {"role": "user", "content": "?"}])
    assert_type(history.append(evakit.Message(evakit.Role.ASSISTANT, "Hi")), evakit.History)
    assert_type(history[0], evakit.Message)
    assert_type(history[:2], evakit.History)
    assert_type(evakit.History.from_json(history.to_json()), evakit.History)
    assert_type(history.to_openai(), list[dict[str, Any]])
    word = evakit.Word("hello", 0, 8_000, 0.9)
    transcript = evakit.Transcript(
        "hello", [evakit.Segment("hello", 0, 8_000, [word])], language="en", sample_rate=16_000
    )
    assert_type(transcript.words, tuple[evakit.Word, ...])


def voices() -> None:
    joe = evakit.Voice(name="joe", language="en-US", style=evakit.VoiceStyle(rate=1.2))
    assert_type(joe.speaks("en"), bool)


def timings(reply: evakit.Reply) -> None:
    assert_type(reply.heard, str | None)
    assert_type(reply.audio, evakit.Audio | None)
    assert_type(reply.timings.first_audio_delay, float | None)


def failures(error: evakit.EvakitError) -> None:
    assert_type(error.retryable, bool)
    if isinstance(error, evakit.errors.BackendError):
        assert_type(error.backend, str)


def requests(message: evakit.Message) -> None:
    STTOptions(languages=["fr", "en"])
    TTSOptions(voice=evakit.Voice(name="joe", language="en"))
    assert_type(LLMRequest(messages=[message]).text, str)
    Capabilities(devices={"cpu", "cuda"})


@evakit.hookimpl
def evakit_backends() -> Iterable[evakit.BackendSpec]:
    def factory(model: str = "small") -> LLM:
        raise LookupError(model)

    yield evakit.BackendSpec(
        kind="llm",
        name="parrot",
        factory=factory,
        voices=[evakit.Voice(name="polly", language="en")],
        requires=["parrot_engine"],
    )


def conversations(path: Path, speaker: list[evakit.Audio]) -> None:
    with evakit.Conversation(
        stt="whisper:base@cpu",
        llm=evakit.backend("llamacpp", temperature=0.1),
        tts=None,
        voice="joe",
        language=["en", "fr"],
        device="cpu",
        system="Be brief.",
        history=[{"role": "user", "content": "Hello"}],
        observers=[lambda event, conversation_id: None],
    ) as conversation:
        assert_type(conversation.respond(path), evakit.Reply)
        conversation.respond(b"RIFF", voice="joe", language="en")
        reply = conversation.respond("A str is text.")
        assert_type(reply.heard, str | None)
        assert_type(reply.audio, evakit.Audio | None)
        assert_type(reply.timings.first_audio_delay, float | None)
        assert_type(conversation.history, evakit.History)
        assert_type(conversation.backends["stt"].device, str)
        with conversation.turn(path) as turn:
            for event in turn:
                match event:
                    case evakit.TranscriptReady(transcript):
                        assert_type(transcript, evakit.Transcript)
                    case evakit.AudioReady(audio):
                        speaker.append(audio)
                    case evakit.TokenGenerated(text) | evakit.ClauseReady(text):
                        assert_type(text, str)
                    case _:
                        pass
            turn.played(16_000)
        assert_type(turn.reply, evakit.Reply)


def chosen(voice: str | None) -> None:
    stack = evakit.Stack(llm=None, voice=voice or settings.UNSET, device=settings.UNSET)
    assert_type(stack.settings.language, tuple[str, ...])
    assert_type(stack.settings.given("voice"), tuple[settings.Given, ...])
    evakit.AsyncConversation(stack, system=None)
    assert_type(settings.resolve({"llm": "llamacpp"}), settings.Settings)


async def async_conversations(path: Path) -> None:
    async with (
        evakit.Stack(stt="whisper", llm="llamacpp", tts="piper", language="en") as stack,
        evakit.AsyncConversation(stack) as conversation,
        conversation.turn(path) as turn,
    ):
        async for event in turn:
            assert_type(event, evakit.Event)
        assert_type(await conversation.respond("Hello"), evakit.Reply)
        assert_type(await stack.transcribe(evakit.Audio.load(path), words=True), evakit.Transcript)
