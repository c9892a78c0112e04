"""The STT contract holds what a streaming vendor needs: interims, revisions, the end of a turn."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import streaming_stt
from servers import Fault

import evakit
from evakit.abc import STTOptions
from evakit.errors import AudioFormatError, TranscriptionError
from evakit.events import TokenGenerated, TranscriptReady, TranscriptUpdated
from evakit.testing.fakes import ScriptedLLM

FAULTS = [Fault.HANGS_UP, Fault.FAILS, Fault.GARBAGE, Fault.NONSENSE, Fault.STALLS]


@pytest.fixture
def stt(stt_service):
    backend = streaming_stt.StreamingSTT(stt_service.url, timeout=0.2)
    backend.name = "streaming"
    return backend


def choose(service, **options):
    """The backends of a conversation that listens through the plugin."""
    stt = evakit.backend("streaming", url=service.url, **options)
    return {"stt": stt, "llm": ScriptedLLM(), "tts": None, "plugins": [streaming_stt]}


def test_the_plugin_is_at_most_80_lines_long():
    assert len(Path(streaming_stt.__file__).read_text(encoding="utf-8").splitlines()) <= 80


async def test_interims_are_revised_and_the_end_of_the_turn_is_announced(stt, saying):
    async with stt.open(STTOptions()) as session:
        await session.feed(saying(2, 3, 0))
        news = []
        async for update in session.updates():
            news.append((update.transcript.text, update.ends_turn))
            if update.ends_turn:
                break
        assert news == [
            ("to", False),
            ("two", False),
            ("two tree", False),
            ("two three", False),
            ("two three", True),
        ]
        assert not update.transcript.is_final
        await session.feed(saying(4))  # the speaker had not finished after all
        transcript = await session.finish()
    assert transcript.is_final
    assert transcript.text == "two three four"
    assert transcript.words[2] == evakit.Word("four", 4800, 6400)
    assert transcript.sample_rate == 16_000


async def test_a_speaker_who_goes_on_takes_the_end_of_the_turn_back(stt, saying):
    async with stt.open(STTOptions()) as session:
        await session.feed(saying(1, 0, 2))
        ends = []
        async for update in session.updates():
            ends.append((update.transcript.text, update.ends_turn))
            if update.transcript.text == "one to":
                break
    assert ends[-2:] == [("one", True), ("one to", False)]


async def test_updates_need_not_be_read_and_end_when_finish_returns(stt, saying):
    async with stt.open(STTOptions()) as session:
        await session.feed(saying(1, 2))
        assert (await session.finish()).text == "one two"
        with anyio.fail_after(1):
            assert [update async for update in session.updates()] == []


async def test_audio_of_another_sample_rate_is_refused(stt, saying):
    async with stt.open(STTOptions()) as session:
        with pytest.raises(AudioFormatError, match="16000"):
            await session.feed(saying(1).resample(8000))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_vendor_is_one_transcription_error(stt, stt_service, saying, fault):
    stt_service.faults.append(fault)
    async with stt.open(STTOptions()) as session:
        await session.feed(saying(1, 2, 3))
        with pytest.raises(TranscriptionError, match="streaming") as raised:
            await session.finish()
    assert raised.value.__cause__ is not None
    async with stt.open(STTOptions()) as session:
        await session.feed(saying(1, 2, 3))
        assert (await session.finish()).text == "one two three"


async def test_a_service_that_is_not_there_is_a_transcription_error(stt, stt_service):
    stt_service.__exit__()
    with pytest.raises(TranscriptionError, match="no connection"):
        async with stt.open(STTOptions()):
            pass


async def test_a_conversation_hears_interims_before_the_transcript(stt_service, saying):
    async with (
        evakit.AsyncConversation(**choose(stt_service)) as conversation,
        conversation.turn(saying(2, 3)) as turn,
    ):
        events = [event async for event in turn]
    kinds = [type(event) for event in events]
    interims = [e.transcript.text for e in events if isinstance(e, TranscriptUpdated)]
    assert interims
    assert set(interims) <= {"to", "two", "two tree", "two three"}
    ready = kinds.index(TranscriptReady)
    assert set(kinds[:ready]) == {TranscriptUpdated}
    assert kinds[ready + 1] is TokenGenerated
    assert turn.reply.heard == "two three"
    assert turn.reply.text == "You said: two three"


def test_a_conversation_without_async_hears_the_same(stt_service, saying):
    with evakit.Conversation(**choose(stt_service)) as conversation:
        with conversation.turn(saying(2, 3)) as turn:
            kinds = [type(event) for event in turn]
        assert kinds.index(TranscriptUpdated) < kinds.index(TranscriptReady)
        assert conversation.respond(saying(5)).heard == "five"
        assert conversation.backends["stt"].device == "remote"


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_turn_that_fails_leaves_a_conversation_that_works(stt_service, saying, fault):
    async with evakit.AsyncConversation(**choose(stt_service, timeout=0.2)) as conversation:
        stt_service.faults.append(fault)
        with pytest.raises(TranscriptionError) as raised:
            await conversation.respond(saying(1, 2))
        assert raised.value.__cause__ is not None
        assert raised.value.stage == "stt"
        assert not conversation.history
        assert (await conversation.respond(saying(1, 2))).heard == "one two"
        assert len(conversation.history) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_turn_without_async_is_the_same_error(stt_service, saying, fault):
    with evakit.Conversation(**choose(stt_service, timeout=0.2)) as conversation:
        stt_service.faults.append(fault)
        with pytest.raises(TranscriptionError):
            conversation.respond(saying(1, 2))
        assert conversation.respond(saying(1, 2)).heard == "one two"


async def test_leaving_a_turn_early_hangs_up_at_once(stt_service, saying):
    stt_service.faults.append(Fault.STALLS)
    async with evakit.AsyncConversation(**choose(stt_service)) as conversation:
        async with conversation.turn(saying(1, 2, 3)) as turn:
            event = await anext(turn)
        assert event.transcript.text == "one"
        client = stt_service.connections[0]
        assert await anyio.to_thread.run_sync(client.closed.wait, 5)
        assert client.sent == 1
        assert (await conversation.respond(saying(1, 2))).heard == "one two"


async def test_many_listen_at_once(stt, saying):
    heard = {}

    async def listen(level):
        async with stt.open(STTOptions()) as session:
            await session.feed(saying(level, level))
            heard[level] = (await session.finish()).text

    async with anyio.create_task_group() as tasks:
        for level in range(1, 6):
            tasks.start_soon(listen, level)
    assert heard == {1: "one one", 2: "two two", 3: "three three", 4: "four four", 5: "five five"}
