"""Hypothesis strategies for evakit's values: from audio and histories to requests and events.

Needs the package hypothesis, not pytest. What may not live here: backends (`fakes`).
"""

from __future__ import annotations

import json

import attrs
import numpy as np
from hypothesis import strategies as st

from ..abc import LLMRequest, STTOptions, TTSOptions, TurnQuestion
from ..audio import Audio
from ..chat import History, Message, Role, ToolCall
from ..events import (
    AudioReady,
    ClauseReady,
    Event,
    Reply,
    TokenGenerated,
    TranscriptReady,
    TranscriptUpdated,
    TurnFinished,
    TurnInterrupted,
)
from ..registry import BackendName
from ..timings import TurnTimings
from ..transcript import Segment, Transcript, Word
from ..voices import Voice, VoiceStyle

__all__ = [
    "audio",
    "backend_names",
    "devices",
    "events",
    "histories",
    "languages",
    "messages",
    "replies",
    "requests",
    "sample_rates",
    "stt_options",
    "texts",
    "timings",
    "tool_calls",
    "transcripts",
    "tts_options",
    "turn_questions",
    "voices",
]

_COMMON_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sample_rates() -> st.SearchStrategy[int]:
    """Sample rates in hertz: mostly the usual ones, at times an odd one."""
    return st.one_of(st.sampled_from(_COMMON_RATES), st.integers(1_000, 192_000))


@st.composite
def audio(
    draw: st.DrawFn,
    *,
    min_samples: int = 0,
    max_samples: int = 4_000,
    rates: st.SearchStrategy[int] | None = None,
) -> Audio:
    """Audio of any content: silence, noise, full scale."""
    size = draw(st.integers(min_samples, max_samples))
    gain = draw(st.sampled_from((0.0, 1e-4, 0.3, 1.0)))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = (gain * noise.uniform(-1.0, 1.0, size)).astype(np.float32)
    for position in draw(st.lists(st.integers(0, size - 1), max_size=3)) if size else ():
        samples[position] = draw(st.sampled_from((-1.0, 1.0)))
    return Audio(samples, draw(sample_rates() if rates is None else rates))


def texts(*, min_size: int = 0) -> st.SearchStrategy[str]:
    """Texts of any script; never half a surrogate pair, which no file can hold."""
    return st.text(st.characters(codec="utf-8"), min_size=min_size, max_size=60)


def languages() -> st.SearchStrategy[str]:
    """Language tags in their normal form, such as `fr` and `en-GB`."""
    return st.sampled_from(("en", "en-US", "en-GB", "fr", "fr-CA", "de", "zh-Hant", "yue"))


def tool_calls() -> st.SearchStrategy[ToolCall]:
    """What a model asks to be called, with a JSON object as its arguments."""
    arguments = st.dictionaries(st.text(_LETTERS, min_size=1), st.none() | st.booleans() | texts())
    names = st.text(_LETTERS + "_", min_size=1, max_size=12)
    return st.builds(ToolCall, texts(min_size=1), names, arguments.map(json.dumps))


@st.composite
def messages(draw: st.DrawFn, *, interrupted: st.SearchStrategy[bool] | None = None) -> Message:
    """Entries of a history: an assistant's may ask for tools, a tool's answer one that did."""
    role = draw(st.sampled_from(Role))
    calls = draw(st.lists(tool_calls(), max_size=2)) if role is Role.ASSISTANT else ()
    return Message(
        role,
        draw(texts()),
        name=draw(st.none() | texts(min_size=1)),
        interrupted=draw(st.booleans() if interrupted is None else interrupted),
        tool_calls=tuple(calls),
        tool_call_id=draw(texts(min_size=1)) if role is Role.TOOL else None,
    )


def histories(*, interrupted: st.SearchStrategy[bool] | None = None) -> st.SearchStrategy[History]:
    """Histories of a few messages, in any order of roles."""
    return st.builds(History, st.lists(messages(interrupted=interrupted), max_size=6))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Transcripts whose segments and words follow one another."""
    position = 0
    segments = []
    for _ in range(draw(st.integers(0, 4))):
        words = []
        first = position
        for text in draw(st.lists(st.text(_LETTERS, min_size=1, max_size=8), max_size=4)):
            start = position + draw(st.integers(0, 4_000))
            position = start + draw(st.integers(1, 8_000))
            words.append(Word(text, start, position, draw(st.none() | st.floats(0, 1))))
        said = " ".join(word.text for word in words)
        segments.append(Segment(said, first, position, words))
    return Transcript(
        " ".join(segment.text for segment in segments if segment.text),
        segments,
        language=draw(st.none() | languages()),
        sample_rate=16_000,
        is_final=draw(st.booleans()),
    )


def voices() -> st.SearchStrategy[Voice]:
    """Voices with every style."""
    styles = st.builds(
        VoiceStyle,
        rate=st.floats(0.5, 2.0),
        variation=st.none() | st.floats(0.0, 1.0),
        volume=st.floats(0.0, 2.0),
    )
    return st.builds(
        Voice,
        name=st.text(_LETTERS, min_size=1, max_size=10),
        language=languages(),
        model=st.none() | st.just("piper:joe"),
        style=styles,
        licence=st.none() | st.just("CC0-1.0"),
    )


@st.composite
def requests(draw: st.DrawFn) -> LLMRequest:
    """What an LLM is asked with: perhaps a system prompt, some turns, the user's message last."""
    system = draw(st.lists(texts(min_size=1).map(lambda t: Message(Role.SYSTEM, t)), max_size=1))
    before = [m for m in draw(histories()) if m.role is not Role.SYSTEM]
    return LLMRequest(
        messages=(*system, *before, Message(Role.USER, draw(texts(min_size=1)))),
        language=draw(st.none() | languages()),
        conversation_id=draw(st.text(_LETTERS, max_size=12)),
        interrupted=draw(st.none() | texts()),
        max_tokens=draw(st.none() | st.integers(1, 4_096)),
    )


def stt_options() -> st.SearchStrategy[STTOptions]:
    """What may differ from one utterance to the next."""
    known = st.lists(languages(), max_size=3, unique=True)
    return st.builds(STTOptions, languages=known, wants_words=st.booleans())


def tts_options() -> st.SearchStrategy[TTSOptions]:
    """What may differ from one reply to the next."""
    return st.builds(TTSOptions, voice=st.none() | voices(), language=st.none() | languages())


def turn_questions(sample_rate: int = 16_000) -> st.SearchStrategy[TurnQuestion]:
    """What is known at a pause in speech."""
    return st.builds(
        TurnQuestion,
        audio=audio(rates=st.just(sample_rate)),
        transcript=st.none() | texts(),
        language=st.none() | languages(),
        silence_s=st.floats(0.0, 10.0),
        last_reply=st.none() | texts(),
    )


@st.composite
def timings(draw: st.DrawFn) -> TurnTimings:
    """The instants of a turn that got as far as it got: each after the one before."""
    instants = [name for name in attrs.fields_dict(TurnTimings) if name != "input_complete_at"]
    reached = draw(st.integers(0, len(instants)))
    at = draw(st.floats(0.0, 1e6))
    values = {"input_complete_at": at}
    for name in instants[:reached]:
        at += draw(st.floats(0.0, 60.0))
        values[name] = at
    return TurnTimings(**values)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Turns that are over: of text or of speech, spoken or not, interrupted or not."""
    transcript = draw(st.none() | transcripts())
    text = draw(texts())
    interrupted = draw(st.booleans())
    return Reply(
        heard=None if transcript is None else transcript.text,
        text=text,
        played=text[: draw(st.integers(0, len(text)))] if interrupted else text,
        audio=draw(st.none() | audio()),
        timings=draw(timings()),
        transcript=transcript,
        interrupted=interrupted,
    )


def events() -> st.SearchStrategy[Event]:
    """What a turn tells its reader and observers, failures aside."""
    return st.one_of(
        st.builds(TranscriptUpdated, transcripts()),
        st.builds(TranscriptReady, transcripts()),
        st.builds(TokenGenerated, texts(min_size=1)),
        st.builds(ClauseReady, texts(min_size=1)),
        st.builds(AudioReady, audio(min_samples=1)),
        st.builds(TurnFinished, replies()),
        st.builds(TurnInterrupted, replies()),
    )


def devices() -> st.SearchStrategy[str]:
    """What can be asked for as a device."""
    return st.one_of(
        st.sampled_from(("auto", "cpu", "cuda")),
        st.integers(0, 15).map("cuda:{}".format),
        st.uuids().map("GPU-{}".format),
        st.uuids().map("MIG-{}".format),
    )


@st.composite
def backend_names(draw: st.DrawFn) -> BackendName:
    """Names of backends, with models that look like names, paths, tags and revisions."""
    name = draw(st.text(_LETTERS + "-_0123456789", min_size=1, max_size=12))
    model = draw(
        st.none()
        | st.sampled_from(("base", "qwen3:4b", "org/model@rev", "C:\\models\\m.gguf", "a@cpu@b"))
        | texts(min_size=1)
    )
    return BackendName(name, model, draw(st.none() | devices()))
