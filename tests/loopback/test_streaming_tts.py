"""The TTS contract holds what a streaming vendor needs: text as it comes, words where they lie."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import streaming_tts
from servers import MS_A_LETTER, RATE, Fault

import evakit
from evakit.abc import TTSOptions
from evakit.errors import SynthesisError, UnknownVoiceError
from evakit.events import AudioReady
from evakit.testing.fakes import ScriptedLLM

FAULTS = [Fault.HANGS_UP, Fault.FAILS, Fault.GARBAGE, Fault.NONSENSE, Fault.STALLS]
LETTER = MS_A_LETTER * RATE // 1000  # samples
REPLY = "The tallest mountain is Everest. It stands in Nepal."


@pytest.fixture
def tts(tts_service):
    backend = streaming_tts.StreamingTTS(tts_service.url, timeout=0.2)
    backend.name = "streaming"
    return backend


def choose(service, *replies, **options):
    """The backends of a conversation that speaks through the plugin."""
    tts = evakit.backend("streaming", url=service.url, **options)
    return {"stt": None, "llm": ScriptedLLM(*replies), "tts": tts, "plugins": [streaming_tts]}


async def speak(tts, *texts):
    async with tts.open(TTSOptions()) as session:
        for text in texts:
            await session.write(text)
        await session.end()
        return [speech async for speech in session]


def words_of(chunks):
    """The words of all chunks, from where to where in the whole."""
    start, words = 0, []
    for audio, inside in chunks:
        words += [(w.text, start + w.start, start + w.end) for w in inside]
        start += len(audio)
    return words


def expected(text):
    """Where the service speaks the words of `text`."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        words.append((word, at * LETTER, (at + len(word)) * LETTER))
        at += len(word)
    return words


def test_the_plugin_is_at_most_80_lines_long():
    assert len(Path(streaming_tts.__file__).read_text(encoding="utf-8").splitlines()) <= 80


async def test_speech_comes_before_the_text_is_complete(tts, tts_service):
    async with tts.open(TTSOptions()) as session:
        await session.write("The tallest mountain")
        first = await anext(session)
        assert len(first.audio) == 12 * LETTER
        await session.write("is Everest.")
        await session.end()
        rest = [speech async for speech in session]
    assert sum(speech.clauses for speech in (first, *rest)) == 2
    assert tts_service.connections[0].received == ["The tallest mountain ", "is Everest. "]


async def test_words_lie_where_they_were_spoken_also_across_chunks(tts):
    chunks = await speak(tts, "Hello there.", "It is Everest.")
    assert words_of((c.audio, c.words) for c in chunks) == expected("Hello there. It is Everest.")
    assert any(word.start < 0 for chunk in chunks for word in chunk.words)


async def test_clauses_say_with_which_chunk_a_text_ends(tts):
    chunks = await speak(tts, "Hi.", "Yes.", "That is a longer one.")
    assert [chunk.clauses for chunk in chunks] == [2, 0, 1]


async def test_one_connection_serves_a_whole_reply(tts, tts_service):
    await speak(tts, "Hello there.", "It is Everest.")
    assert len(tts_service.connections) == 1


async def test_no_text_is_no_speech(tts):
    assert await speak(tts) == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_vendor_is_one_synthesis_error(tts, tts_service, fault):
    tts_service.faults.append(fault)
    async with tts.open(TTSOptions()) as session:
        await session.write("The tallest mountain")
        await session.end()
        assert len((await anext(session)).audio)
        with pytest.raises(SynthesisError, match="streaming") as raised:
            await anext(session)
        await session.write("is Everest.")  # raises nothing: whoever iterates was told
        await session.end()
    assert raised.value.__cause__ is not None
    assert len(await speak(tts, "Hello.")) == 1


async def test_a_service_that_is_not_there_is_a_synthesis_error(tts, tts_service):
    tts_service.__exit__()
    with pytest.raises(SynthesisError, match="no connection"):
        await speak(tts, "Hello.")


async def test_word_positions_reach_the_listener(tts_service):
    async with (
        evakit.AsyncConversation(**choose(tts_service, REPLY)) as conversation,
        conversation.turn("What is the tallest mountain?") as turn,
    ):
        chunks = [(e.audio, e.words) async for e in turn if isinstance(e, AudioReady)]
    assert words_of(chunks) == expected(REPLY)
    assert len(turn.reply.audio) == sum(len(audio) for audio, _ in chunks)


def test_word_positions_reach_the_listener_without_async(tts_service):
    with evakit.Conversation(**choose(tts_service, REPLY)) as conversation:
        with conversation.turn("What is the tallest mountain?") as turn:
            chunks = [(e.audio, e.words) for e in turn if isinstance(e, AudioReady)]
        assert words_of(chunks) == expected(REPLY)
        assert conversation.backends["tts"].device == "remote"


async def test_a_voice_is_chosen_by_name_or_by_language(tts_service):
    async with evakit.AsyncConversation(**choose(tts_service)) as conversation:
        await conversation.respond("Bonjour", language="fr")
        with pytest.raises(UnknownVoiceError, match="adam"):
            await conversation.respond("Bonjour", language="fr", voice="adam")
    assert len(tts_service.connections) == 1


async def test_what_was_heard_of_a_reply_is_known_by_the_word(tts_service):
    async with evakit.AsyncConversation(**choose(tts_service, REPLY)) as conversation:
        async with conversation.turn("What is the tallest mountain?") as turn:
            async for event in turn:
                if isinstance(event, AudioReady):
                    break
            turn.played(12 * LETTER)  # "The tallest " and no more
        assert turn.reply.played == "The tallest"
        assert conversation.history[-1].content == "The tallest"


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_turn_that_fails_leaves_a_conversation_that_works(tts_service, fault):
    choice = choose(tts_service, REPLY, REPLY, timeout=0.2)
    async with evakit.AsyncConversation(**choice) as conversation:
        tts_service.faults.append(fault)
        with pytest.raises(SynthesisError) as raised:
            await conversation.respond("What is the tallest mountain?")
        assert raised.value.__cause__ is not None
        assert raised.value.stage == "tts"
        reply = await conversation.respond("Again, please.")
    assert words_of([(reply.audio, ())]) == []
    assert len(reply.audio) == (len(REPLY) + 1) * LETTER


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_turn_without_async_is_the_same_error(tts_service, fault):
    with evakit.Conversation(**choose(tts_service, REPLY, REPLY, timeout=0.2)) as conversation:
        tts_service.faults.append(fault)
        with pytest.raises(SynthesisError):
            conversation.respond("What is the tallest mountain?")
        assert len(conversation.respond("Again, please.").audio) == (len(REPLY) + 1) * LETTER


async def test_leaving_a_turn_early_hangs_up_within_one_chunk(tts_service):
    tts_service.faults.append(Fault.STALLS)
    async with evakit.AsyncConversation(**choose(tts_service, REPLY, REPLY)) as conversation:
        async with conversation.turn("What is the tallest mountain?") as turn:
            async for event in turn:
                if isinstance(event, AudioReady):
                    break
        client = tts_service.connections[0]
        assert await anyio.to_thread.run_sync(client.closed.wait, 5)
        assert client.sent == 1
        assert (await conversation.respond("Again, please.")).played == REPLY


def test_leaving_a_turn_early_without_async_hangs_up_within_one_chunk(tts_service):
    tts_service.faults.append(Fault.STALLS)
    with evakit.Conversation(**choose(tts_service, REPLY)) as conversation:
        with conversation.turn("What is the tallest mountain?") as turn:
            next(event for event in turn if isinstance(event, AudioReady))
        client = tts_service.connections[0]
        assert client.closed.wait(5)
        assert client.sent == 1
