"""The STT `whisper` on real speech."""

from __future__ import annotations

import itertools

import anyio
import jiwer
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whisper_normalizer.basic import BasicTextNormalizer

from evakit.abc import LoadContext, STTOptions
from evakit.audio import Audio
from evakit.errors import AudioFormatError, TranscriptionError, UnknownLanguageError
from evakit.transcript import Transcript
from evakit_whisper import WhisperSTT

normalize = BasicTextNormalizer()


def written(text):
    return normalize(text).strip()


def word_error_rate(said, heard):
    return jiwer.wer(written(said), written(heard))


def silence(seconds):
    return Audio(np.zeros(int(seconds * 16_000), np.float32), 16_000)


def noise(seconds, level=0.1):
    samples = np.random.default_rng(0).normal(0, level, int(seconds * 16_000))
    return Audio(samples.astype(np.float32), 16_000)


@pytest.mark.parametrize("name", ["en/hello_world", "en/quick_brown_fox"])
def test_tiny_en_hears_english(tiny, clips, name):
    audio, said = clips[name]
    transcript = tiny.transcribe(audio, STTOptions())
    assert word_error_rate(said, transcript.text) <= 0.1
    assert (transcript.language, transcript.language_probability) == ("en", None)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("en/hello_world", 0.0),
        ("en/quick_brown_fox", 0.1),
        ("fr/bonjour_monde", 0.0),
        ("fr/pangrama", 0.25),
    ],
)
def test_base_detects_the_language_and_hears_it(base, clips, name, bound):
    audio, said = clips[name]
    transcript = base.transcribe(audio, STTOptions())
    assert transcript.language == name[:2]
    assert 0.5 < transcript.language_probability <= 1
    assert word_error_rate(said, transcript.text) <= bound


def test_a_forced_language_is_not_detected(base, clips):
    transcript = base.transcribe(clips["fr/bonjour_monde"][0], STTOptions(languages=("fr-CA",)))
    assert written(transcript.text) == "bonjour le monde"
    assert (transcript.language, transcript.language_probability) == ("fr-CA", None)


def test_a_language_is_chosen_among_those_that_are_possible(base, clips):
    french, _ = clips["fr/pangrama"]
    among_both = base.transcribe(french, STTOptions(languages=("en-GB", "fr-FR")))
    assert among_both.language == "fr-FR"
    assert among_both.language_probability > 0.9
    without_french = base.transcribe(french, STTOptions(languages=("de", "en")))
    assert without_french.language in {"de", "en"}


def test_detecting_gives_the_same_text_as_forcing(base, clips):
    for name in ("en/quick_brown_fox", "fr/pangrama"):
        audio, _ = clips[name]
        detected = base.transcribe(audio, STTOptions(wants_words=True))
        forced = base.transcribe(audio, STTOptions(languages=(name[:2],), wants_words=True))
        assert detected.segments == forced.segments


@pytest.mark.parametrize("languages", [("fr",), ("en", "fr"), ("xx",)])
def test_a_language_that_the_model_does_not_know_is_refused_before_any_work(tiny, languages):
    with pytest.raises(UnknownLanguageError, match="knows English only"):
        tiny.open(STTOptions(languages=languages))


def test_a_multilingual_model_refuses_what_is_no_language(base):
    with pytest.raises(UnknownLanguageError, match="does not know the language 'english'"):
        base.open(STTOptions(languages=("english",)))


def assert_in_order(transcript, audio):
    assert transcript.sample_rate == 16_000
    for things in (transcript.segments, transcript.words):
        before = 0
        for thing in things:
            assert before <= thing.start <= thing.end <= len(audio)
            before = thing.end
    for segment in transcript.segments:
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end


def test_words_lie_inside_the_audio_and_in_order(tiny, clips):
    audio, said = clips["en/quick_brown_fox"]
    late = Audio.join([silence(2), audio, silence(1)])
    transcript = tiny.transcribe(late, STTOptions(wants_words=True))
    assert_in_order(transcript, late)
    assert written(" ".join(word.text for word in transcript.words)) == written(said)
    assert transcript.words[0].end > 2 * 16_000
    assert all(0 <= word.probability <= 1 for word in transcript.words)


def test_words_that_were_not_asked_for_are_not_made(tiny, clips):
    assert tiny.transcribe(clips["en/hello_world"][0], STTOptions()).words == ()


@pytest.mark.parametrize(
    "audio",
    [
        silence(1),
        silence(10),
        silence(40),
        noise(3),
        noise(3, level=0.001),
        noise(35, level=0.3),
        Audio(0.3 * np.sin(np.arange(48_000) * 2 * np.pi * 50 / 16_000), 16_000),
        Audio(np.zeros(1, np.float32), 16_000),
    ],
    ids=[
        "silence",
        "ten seconds",
        "long silence",
        "noise",
        "faint noise",
        "long noise",
        "hum",
        "one sample",
    ],
)
def test_nothing_is_heard_where_nobody_speaks(base, audio):
    transcript = base.transcribe(audio, STTOptions())
    assert (transcript.text, transcript.language, transcript.segments) == ("", None, ())


def test_without_its_threshold_whisper_invents_words_for_silence(store):
    """What the VAD is there for; were it gone, the test above would prove nothing."""
    eager = WhisperSTT("base", speech_threshold=0)
    context = _context(store, eager)
    eager.load_model(context)
    # Which of them it has words for differs with the instructions of the processor.
    quiet = (silence(10), silence(20), silence(30), noise(1, level=0.001))
    assert any(eager.transcribe(audio, STTOptions(languages=("en",))).text for audio in quiet)
    eager.unload_model()


def _context(store, backend):
    return LoadContext(models={model.name: store.ensure(model) for model in backend.models()})


def test_a_recording_longer_than_a_window_is_heard_to_its_end(tiny, long_speech):
    audio, said = long_speech
    transcript = tiny.transcribe(audio, STTOptions(wants_words=True))
    assert audio.duration > 45
    # One sentence over and over confuses Whisper, which may skip or add one.
    assert word_error_rate(" ".join([said] * 12), transcript.text) <= 0.2
    assert_in_order(transcript, audio)
    assert transcript.words[-1].end > len(audio) - 3 * 16_000


def test_who_repeats_a_sentence_is_not_taken_for_a_loop(base, long_speech):
    """What breaks a loop forbids to say the same three words twice: "the lazy dog" suffers."""
    audio, said = long_speech
    transcript = base.transcribe(audio[: 25 * 16_000], STTOptions(languages=("en",)))
    assert word_error_rate(" ".join([said] * 6), transcript.text) <= 0.2
    assert written(transcript.text).count("the lazy dog") >= 5


async def test_audio_at_another_rate_is_refused(tiny):
    async with tiny.open(STTOptions()) as session:
        with pytest.raises(AudioFormatError, match="Audio at 16000 Hz is needed here"):
            await session.feed(silence(1).resample(8_000))


async def test_an_utterance_of_no_length_is_empty(tiny):
    async with tiny.open(STTOptions()) as session:
        assert (await session.finish()).text == ""


async def _heard(backend, pieces, options):
    async with backend.open(options) as session:
        for piece in pieces:
            await session.feed(piece)
        return await session.finish()


async def test_two_sessions_at_once_hear_what_two_in_turn_hear(base, clips):
    options = STTOptions(wants_words=True)
    audios = [clips[name][0] for name in ("en/hello_world", "fr/bonjour_monde")]
    in_turn = [await _heard(base, [audio], options) for audio in audios]
    at_once: list[Transcript | None] = [None, None]

    async def listen(index):
        at_once[index] = await _heard(base, [audios[index]], options)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, 0)
        tasks.start_soon(listen, 1)
    assert at_once == in_turn


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(0, 18_000), max_size=6))
def test_how_the_audio_is_cut_up_changes_nothing(tiny, clips, cuts):
    audio, _ = clips["en/hello_world"]
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    pieces = [audio[a:b] for a, b in itertools.pairwise(edges)]
    options = STTOptions(wants_words=True)
    heard = anyio.run(_heard, tiny, pieces, options)
    assert heard == tiny.transcribe(audio, options)


async def test_a_cancelled_transcription_stops_at_the_next_segment(tiny, long_speech, clips):
    audio, _ = long_speech
    started, parts = anyio.Event(), []
    loop = anyio.lowlevel.current_token()
    engine = tiny._engine
    segments = engine.segments

    def counted(*args, **options):
        parts.append(len(parts))
        anyio.from_thread.run_sync(started.set, token=loop)
        return segments(*args, **options)

    engine.segments = counted
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_heard, tiny, [Audio.join([audio] * 20)], STTOptions())
            await started.wait()
            tasks.cancel_scope.cancel()
    finally:
        del engine.segments
    assert len(parts) == 1  # of some fifty
    hello = await _heard(tiny, [clips["en/hello_world"][0]], STTOptions())
    assert written(hello.text) == "hello world"


async def test_a_cancelled_transcription_of_silence_stops_too(tiny):
    started, runs = anyio.Event(), []
    loop = anyio.lowlevel.current_token()
    silero = tiny._silero
    run = silero.run

    def counted(*arguments):
        runs.append(len(runs))
        anyio.from_thread.run_sync(started.set, token=loop)
        return run(*arguments)

    silero.run = counted
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_heard, tiny, [silence(600)], STTOptions())
            await started.wait()
            tasks.cancel_scope.cancel()
    finally:
        del silero.run
    assert len(runs) <= 4  # of forty: two for each of twenty windows


async def test_it_can_be_unloaded_twice_and_then_says_so(store):
    backend = WhisperSTT("tiny.en")
    await backend.load(_context(store, backend))
    await backend.unload()
    await backend.unload()
    with pytest.raises(TranscriptionError, match="is not loaded"):
        backend.open(STTOptions())


def test_nothing_reaches_the_terminal(store, clips, capfd):
    backend = WhisperSTT("tiny.en")
    backend.load_model(_context(store, backend))
    backend.transcribe(clips["en/hello_world"][0], STTOptions(wants_words=True))
    backend.unload_model()
    assert capfd.readouterr() == ("", "")


def test_an_engine_that_fails_is_a_transcription_error(tiny, clips):
    audio, _ = clips["en/hello_world"]
    tiny._engine.model.unload_model()
    with pytest.raises(TranscriptionError, match="failed on this audio") as caught:
        tiny.transcribe(audio, STTOptions())
    assert isinstance(caught.value.__cause__, RuntimeError)
    tiny._engine.model.load_model()
    assert written(tiny.transcribe(audio, STTOptions()).text) == "hello world"
