"""Hypothesis strategies for evakit's values: audio, transcripts, histories, voices, names.

Needs the package hypothesis, not pytest. What may not live here: backends (`fakes`).
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ..audio import Audio
from ..chat import History, Message, Role
from ..registry import BackendName
from ..transcript import Segment, Transcript, Word
from ..voices import Voice, VoiceStyle

__all__ = [
    "audio",
    "backend_names",
    "devices",
    "histories",
    "languages",
    "messages",
    "sample_rates",
    "texts",
    "transcripts",
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


def messages(*, interrupted: st.SearchStrategy[bool] | None = None) -> st.SearchStrategy[Message]:
    """Entries of a history."""
    return st.builds(
        Message,
        st.sampled_from(Role),
        texts(),
        name=st.none() | texts(min_size=1),
        interrupted=st.booleans() if interrupted is None else interrupted,
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
