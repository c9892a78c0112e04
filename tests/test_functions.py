"""Plain functions as stt=, llm= and tts=: every shape that one can have, and every way to fail."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from anyio import from_thread

import evakit
from evakit import errors
from evakit.abc import Speech, Usage
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)
TONE = evakit.Audio(0.5 * np.sin(np.arange(1600) / 9), 16_000)
ANSWER = "It is a test. Of everything there is."


def converse(**backends):
    chosen = {"stt": ScriptedSTT("what is it"), "llm": ScriptedLLM(ANSWER), "tts": ToneTTS()}
    return evakit.AsyncConversation(**(chosen | backends))


def pieces():
    return [word + " " for word in ANSWER.split()]


# --- the shapes of a function


def returns(request):
    return ANSWER


def returns_a_list(request):
    return pieces()


def generates(request):
    yield from pieces()


async def awaits(request):
    await anyio.lowlevel.checkpoint()
    return ANSWER


async def awaits_a_list(request):
    return pieces()


async def generates_asynchronously(request):
    for piece in pieces():
        await anyio.lowlevel.checkpoint()
        yield piece


def returns_an_awaitable(request):
    return awaits(request)


def returns_an_async_iterator(request):
    return generates_asynchronously(request)


async def awaits_an_async_iterator(request):
    return generates_asynchronously(request)


class Agent:
    def ask(self, request):
        return ANSWER

    async def stream(self, request):
        yield ANSWER

    def __call__(self, request):
        return ANSWER


class AsyncAgent:
    async def __call__(self, request):
        yield ANSWER


SHAPES = [
    returns,
    returns_a_list,
    generates,
    awaits,
    awaits_a_list,
    generates_asynchronously,
    returns_an_awaitable,
    returns_an_async_iterator,
    awaits_an_async_iterator,
    Agent().ask,
    Agent().stream,
    Agent(),
    AsyncAgent(),
    functools.partial(lambda agent, request: agent.ask(request), Agent()),
    functools.partial(awaits),
    functools.partial(generates_asynchronously),
    lambda request: ANSWER,
]


@pytest.mark.parametrize("brain", SHAPES)
async def test_a_brain_of_any_shape_answers(anyio_backend, brain):
    async with converse(llm=brain) as conversation:
        reply = await conversation.respond(QUESTION)
    assert reply.text.strip() == ANSWER
    assert reply.played.strip() == ANSWER
    assert reply.audio.peak > 0


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_voice_of_any_shape_speaks(anyio_backend, shape):
    # What gives the answer's text becomes a TTS that gives a tone for each piece.
    tones = functools.partial(_speak, shape)
    async with converse(tts=tones) as conversation:
        reply = await conversation.respond(QUESTION)
    assert len(reply.audio) % len(TONE) == 0
    assert len(reply.audio) >= 2 * len(TONE)


async def _speak(shape, text):
    async with converse(llm=shape) as inner, inner.turn(text) as turn:
        async for event in turn:
            if isinstance(event, evakit.TokenGenerated):
                yield TONE


@pytest.mark.parametrize("ear", SHAPES)
async def test_an_ear_of_any_shape_hears(anyio_backend, ear):
    async with converse(stt=ear) as conversation, conversation.turn(QUESTION) as turn:
        events = [event async for event in turn]
    assert turn.reply.heard == ANSWER
    (final,) = [e.transcript for e in events if isinstance(e, evakit.TranscriptReady)]
    assert final.is_final
    interim = [e.transcript for e in events if isinstance(e, evakit.TranscriptUpdated)]
    assert not any(t.is_final for t in interim)


async def test_transcripts_that_an_ear_yields_replace_one_another(anyio_backend):
    def ear(audio):
        yield evakit.Transcript("watt")
        yield evakit.Transcript("what is it", language="en")

    async with converse(stt=ear) as conversation:
        reply = await conversation.respond(QUESTION)
    assert reply.transcript == evakit.Transcript("what is it", language="en")


async def test_silence_is_a_value(anyio_backend):
    async with converse(stt=lambda audio: "") as conversation:
        assert (await conversation.respond(QUESTION)).text == ""
    assert not conversation.history


# --- what a function is given


async def test_a_brain_is_given_the_request_and_what_was_heard_of_the_last_reply(anyio_backend):
    requests = []

    async def brain(request):
        requests.append(request)
        yield "One two three. "
        yield "Four five six. Seven eight nine."

    tts = ToneTTS(gives_words=True)
    conversation = converse(llm=brain, tts=tts, system="Be brief.", language="en")
    async with conversation:
        async with conversation.turn("Count.") as turn:
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    turn.played(len(event.audio))
                    break
        await conversation.respond("Go on.")

    first, second = requests
    assert first.text == "Count."
    assert first.to_openai() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Count."},
    ]
    assert (first.language, first.conversation_id) == ("en", conversation.id)
    assert first.interrupted is None
    assert second.interrupted == "One"
    assert [m.content for m in second.messages] == ["Be brief.", "Count.", "One", "Go on."]


async def test_ears_and_voices_are_given_the_options_if_they_want_them(anyio_backend):
    given = []

    def ear(audio, options):
        given.append((audio.sample_rate, options.languages))
        return "Bonjour."

    def voice(text, options=None):
        given.append((text, options.language))
        return TONE

    def plain_voice(text, speed=1.0):
        given.append(speed)
        return TONE

    choice = evakit.backend(ear, sample_rate=8_000, name="my ear")
    async with converse(stt=choice, tts=voice, language="fr") as conversation:
        await conversation.respond(QUESTION)
        assert conversation.backends["stt"].name == "my ear"
    async with converse(tts=plain_voice) as conversation:
        await conversation.respond("Hello")
    assert given[0] == (8_000, ("fr",))
    assert given[1][1] == "fr"
    assert given[-1] == 1.0


async def test_a_voice_may_count_words(anyio_backend):
    def voice(text):
        words = [evakit.Word(text, 0, len(TONE))]
        return Speech(TONE, tuple(words))

    async with converse(tts=voice) as conversation, conversation.turn("Hi") as turn:
        spoken = [e async for e in turn if isinstance(e, evakit.AudioReady)]
    assert all(event.words for event in spoken)


async def test_usage_and_other_pieces_of_a_contract_pass_through(anyio_backend):
    def brain(request):
        yield "Hello."
        yield Usage(completion_tokens=3)

    async with converse(llm=brain) as conversation:
        assert (await conversation.respond("Hi")).text == "Hello."


async def test_a_plain_function_runs_where_no_event_loop_does(anyio_backend):
    def brain(request):
        return anyio.run(awaits, request)  # refused where one runs

    async with converse(llm=brain) as conversation:
        assert (await conversation.respond("Hi")).text == ANSWER


async def test_a_function_sees_the_context_of_whoever_asks(anyio_backend):
    import contextvars

    user = contextvars.ContextVar("user")
    user.set("Ada")
    async with converse(llm=lambda request: f"Hello {user.get()}.") as conversation:
        assert (await conversation.respond("Hi")).text == "Hello Ada."


def test_functions_work_without_async():
    with evakit.Conversation(stt=lambda audio: "Hi", llm=generates, tts=lambda t: TONE) as talk:
        assert talk.respond(QUESTION).text.strip() == ANSWER


# --- what fails


async def fails(expected, stage="llm", **backends):
    conversation = converse(**backends)
    async with conversation:
        with pytest.raises(expected) as caught:
            await conversation.respond(QUESTION)
        assert caught.value.stage == stage
        assert not conversation.history
    return caught.value


def raises(request):
    raise LookupError("no such agent")


def raises_half_way(request):
    yield "Well, "
    raise LookupError("no such agent")


async def raises_asynchronously(request):
    raise LookupError("no such agent")


async def raises_half_way_asynchronously(request):
    yield "Well, "
    raise LookupError("no such agent")


@pytest.mark.parametrize(
    "brain", [raises, raises_half_way, raises_asynchronously, raises_half_way_asynchronously]
)
async def test_what_a_brain_raises_is_one_error_with_its_cause(anyio_backend, brain):
    error = await fails(errors.GenerationError, llm=brain)
    assert str(error).startswith(
        f"{brain.__name__} failed while generating a reply (LookupError: no such agent);"
    )
    assert isinstance(error.__cause__, LookupError)
    assert error.__cause__.__traceback__.tb_frame  # it says where


async def test_what_ears_and_voices_raise_is_of_their_stage(anyio_backend):
    await fails(errors.TranscriptionError, "stt", stt=raises)
    await fails(errors.SynthesisError, "tts", tts=raises)


@pytest.mark.parametrize(
    "raised", [StopIteration, StopAsyncIteration, SystemExit, asyncio.CancelledError, GeneratorExit]
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_means_something_to_python_is_still_a_failure(anyio_backend, raised, is_async):
    def brain(request):
        raise raised

    async def async_brain(request):
        raise raised

    await fails(errors.BackendError, llm=async_brain if is_async else brain)


@pytest.mark.parametrize("value", [3, None, 2.5, b"Hello", {"content": "Hello"}, object()])
@pytest.mark.parametrize("how", ["returned", "yielded", "awaited"])
async def test_a_brain_that_gives_no_text_is_told_what_to_give(anyio_backend, value, how):
    def returned(request):
        return value

    def yielded(request):
        yield "Well, "
        yield value

    async def awaited(request):
        return value

    brain = {"returned": returned, "yielded": yielded, "awaited": awaited}[how]
    error = await fails(errors.GenerationError, llm=brain)
    kinds = {int: "an int", float: "a float", bytes: "a bytes", dict: "a dict", object: "an object"}
    kind = kinds.get(type(value), "None")
    assert str(error) == (
        f"{how} gave {kind}, where the reply's text (a str) is expected; "
        "return that, or yield it piece by piece."
    )


async def test_a_voice_that_gives_no_audio_is_told_what_to_give(anyio_backend):
    error = await fails(errors.SynthesisError, "tts", tts=lambda text: np.zeros(100))
    assert "a ndarray, where an evakit.Audio (Audio(samples, sample_rate), or" in str(error)
    await fails(errors.SynthesisError, "tts", tts=lambda text: b"RIFF")
    await fails(errors.SynthesisError, "tts", tts=lambda text: [])


async def test_an_ear_that_returns_nothing_at_all_is_told_so(anyio_backend):
    error = await fails(errors.TranscriptionError, "stt", stt=lambda audio: None)
    assert "gave None, where what was said (a str or an evakit.Transcript)" in str(error)


@pytest.mark.parametrize("brain", [lambda r: "", lambda r: [], lambda r: iter(()), lambda r: " \n"])
async def test_a_brain_that_gives_nothing_is_an_error(anyio_backend, brain):
    error = await fails(errors.GenerationError, llm=brain)
    assert error.retryable


async def test_a_plain_function_that_hangs_is_given_up(anyio_backend, caplog):
    let_go = threading.Event()

    def hangs(request):
        yield "Well, "
        let_go.wait(20)

    try:
        error = await fails(errors.BackendTimeoutError, llm=evakit.backend(hangs, timeout=0.05))
    finally:
        let_go.set()
    assert str(error) == (
        "hangs gave nothing for 0.05 s; make it answer sooner, or allow it more with "
        "evakit.backend(hangs, timeout=...)."
    )
    assert error.seconds == 0.05


async def test_an_async_function_that_hangs_is_cancelled(anyio_backend):
    cancelled = []

    async def hangs(request):
        try:
            yield "Well, "
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    await fails(errors.BackendTimeoutError, llm=evakit.backend(hangs, timeout=0.05))
    assert cancelled == [True]


async def test_a_slow_reader_does_not_count_as_a_slow_function(anyio_backend):
    async with converse(llm=evakit.backend(returns, timeout=0.2)) as conversation:
        async with conversation.turn("Hi") as turn:
            async for _ in turn:
                await anyio.sleep(0.02)
    assert turn.reply.text == ANSWER


async def test_a_function_that_never_ends_waits_for_its_reader(anyio_backend):
    count = 0

    def endless(request):
        nonlocal count
        while True:
            count += 1
            yield "one more word "

    async with converse(llm=endless) as conversation, conversation.turn("Hi") as turn:
        async for event in turn:
            if isinstance(event, evakit.AudioReady):
                break
    assert count < 5_000
    assert turn.reply.interrupted


@pytest.mark.timeout(60)
async def test_a_reply_without_an_end_is_an_error_and_not_all_of_the_memory(anyio_backend):
    async def endless(request):
        while True:
            yield "one more word " * 100

    async with converse(llm=endless, tts=None) as conversation:
        with pytest.raises(errors.GenerationError, match="more than 100,000 characters"):
            await conversation.respond("Hi")


@pytest.mark.parametrize("is_async", [False, True])
async def test_leaving_a_turn_closes_the_function_at_its_next_piece(anyio_backend, is_async):
    closed = threading.Event()

    def brain(request):
        try:
            while True:
                yield "One two three four five. "
        finally:
            closed.set()

    async def async_brain(request):
        try:
            while True:
                yield "One two three four five. "
                await anyio.lowlevel.checkpoint()
        finally:
            closed.set()

    async with converse(llm=async_brain if is_async else brain) as conversation:
        async with conversation.turn("Hi") as turn:
            await anext(turn)
        assert closed.is_set()


async def test_a_function_that_goes_on_after_its_cancellation_is_left_all_the_same(anyio_backend):
    async def stubborn(request):
        yield "Well, "
        for _ in range(3):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                yield "I was not finished. "

    with anyio.fail_after(5):
        async with converse(llm=stubborn) as conversation:
            async with conversation.turn("Hi") as turn:
                await anext(turn)
            assert turn.reply.text == "Well, "
            assert conversation.history[-1].content == "Hi" or turn.reply.played


def test_a_generator_that_yields_after_it_was_closed_is_left_all_the_same():
    def stubborn(request):
        while True:
            try:
                yield "One two three four five. "
            except GeneratorExit:
                yield "I was not finished."

    with (
        evakit.Conversation(stt=None, llm=stubborn, tts=ToneTTS()) as conversation,
        conversation.turn("Hi") as turn,
    ):
        next(turn)
    assert turn.reply.interrupted


async def test_an_async_function_that_blocks_the_loop_is_named_with_its_place(
    anyio_backend, caplog
):
    async def blocks(request):
        threading.Event().wait(0.8)
        return ANSWER

    with caplog.at_level(logging.WARNING, "evakit"):
        async with converse(llm=blocks) as conversation:
            await conversation.respond("Hi")
    (record,) = [r for r in caplog.records if "event loop" in r.message]
    assert record.message.startswith("blocks has kept the event loop from running for 0.")
    assert "in blocks\n    threading.Event().wait(0.8)" in record.message
    assert "_turn.py" not in record.message
    for thread in threading.enumerate():
        if thread.name == "evakit-watchdog":
            thread.join(5)
            assert not thread.is_alive()


async def test_an_async_function_that_awaits_for_long_is_not_blamed(anyio_backend, caplog):
    async def waits(request):
        await anyio.sleep(0.7)
        return ANSWER

    with caplog.at_level(logging.WARNING, "evakit"):
        async with converse(llm=waits) as conversation:
            await conversation.respond("Hi")
    assert not caplog.records


# --- what cannot be a backend


@pytest.mark.parametrize(
    ("backends", "sentence"),
    [
        ({"llm": lambda: ""}, "cannot be called with an LLMRequest alone"),
        ({"llm": lambda request, tools: ""}, "cannot be called with an LLMRequest alone"),
        ({"stt": lambda a, b, c: ""}, "cannot be called with an Audio alone"),
        ({"tts": lambda *, text: ""}, "cannot be called with a text alone"),
        ({"llm": Agent}, "llm= was given the class Agent; pass an instance of it"),
        ({"tts": ToneTTS}, "tts= was given the class ToneTTS; pass an instance of it"),
        ({"llm": evakit.backend(returns, speed=1)}, "A function has no option 'speed'; it has"),
        ({"llm": evakit.backend(returns, timeout=0)}, "timeout= of returns is a positive number"),
        ({"llm": evakit.backend(returns, timeout="1")}, "timeout= of returns is a positive number"),
        ({"llm": evakit.backend(returns, sample_rate=1)}, "has no option 'sample_rate'"),
        ({"llm": 3}, "llm= takes a name, evakit.backend(...), an instance, a function or None, "),
        ({"llm": generates(None)}, "llm= takes a name, evakit.backend(...), an instance, a functi"),
    ],
)
async def test_what_cannot_be_called_is_refused_before_anything_loads(backends, sentence):
    with pytest.raises(errors.ConfigurationError) as caught:
        async with converse(**backends):
            pass
    assert sentence in str(caught.value)


async def test_the_thread_of_a_function_may_be_used_as_any_other(anyio_backend):
    def brain(request):
        with pytest.raises(anyio.NoEventLoopError):
            from_thread.run_sync(print)
        return ANSWER

    async with converse(llm=brain) as conversation:
        assert (await conversation.respond("Hi")).text == ANSWER
