"""What an application says itself, what it changes between turns, and what it interrupts."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import numpy as np
import pytest

import evakit
from evakit import errors
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen."


def converse(*, stt=None, llm=None, tts=None, **arguments):
    return evakit.AsyncConversation(
        stt=stt or ScriptedSTT("what is it", "what else"),
        llm=llm or ScriptedLLM("It is a test of everything.", "That was all."),
        tts=tts or ToneTTS(gives_words=True),
        **arguments,
    )


def texts(history):
    return [(m.role.value, m.content) for m in history]


# --- say


def pieces():
    yield "Good "
    yield "morning. How are you?"


async def pieces_asynchronously():
    yield "Good "
    await anyio.lowlevel.checkpoint()
    yield "morning. How are you?"


@pytest.mark.parametrize(
    "text",
    [
        "Good morning. How are you?",
        pieces,
        pieces_asynchronously,
        lambda: ["Good morning. ", "How are you?"],
    ],
)
async def test_a_greeting_is_spoken_without_the_llm_and_remembered(anyio_backend, text):
    llm, tts = ScriptedLLM("Fine."), ToneTTS()
    async with converse(llm=llm, tts=tts) as conversation:
        reply = await conversation.say(text if isinstance(text, str) else text())
        assert not llm.requests
        assert reply.heard is None
        assert reply.text == reply.played == "Good morning. How are you?"
        assert " ".join(tts.spoken) == reply.text
        assert reply.audio.duration > 1
        assert texts(conversation.history) == [("assistant", "Good morning. How are you?")]
        await conversation.respond("Fine, and you?")
    assert [m.content for m in llm.requests[0].messages[1:]] == [
        "Good morning. How are you?",
        "Fine, and you?",
    ]


async def test_what_is_said_comes_as_events_like_any_reply(anyio_backend):
    seen = []
    async with converse(observers=[lambda event, _: seen.append(event)]) as conversation:
        async with conversation.saying(pieces()) as turn:
            kinds = [type(event) async for event in turn]
    assert kinds[0] is evakit.TokenGenerated
    assert kinds[-1] is evakit.TurnFinished
    assert evakit.AudioReady in kinds
    assert isinstance(seen[-1], evakit.TurnFinished)


async def test_what_was_not_played_of_an_announcement_is_not_remembered(anyio_backend):
    llm = ScriptedLLM("Fine.")
    async with converse(llm=llm) as conversation:
        async with conversation.saying(LONG) as turn:
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    turn.played(len(event.audio))
                    break
        assert texts(conversation.history) == [("assistant", "One")]
        await conversation.respond("What?")
    assert llm.requests[0].interrupted == "One"


async def test_it_is_said_by_the_voice_and_in_the_language_that_are_named(anyio_backend):
    tts = ToneTTS()
    async with converse(tts=tts) as conversation:
        await conversation.say("Hello.")
        await conversation.say("Bonjour.", voice="ton")
        await conversation.say("Bonjour.", language="fr")
    assert [(o.voice.name, o.language) for o in tts.options] == [
        ("tone", None),
        ("ton", None),
        ("ton", "fr"),
    ]


async def test_without_an_llm_or_a_tts_there_is_still_something_to_say(anyio_backend):
    async with evakit.AsyncConversation(stt=None, llm=None, tts=ToneTTS()) as conversation:
        assert (await conversation.say("Hello.")).audio is not None
    async with evakit.AsyncConversation(stt=None, llm=None, tts=None) as conversation:
        assert (await conversation.say("Hello.")).played == "Hello."
        assert texts(conversation.history) == [("assistant", "Hello.")]


@pytest.mark.parametrize("text", ["", "  \n", 3, None, b"Hello", {"text": "Hello"}])
async def test_what_is_no_text_is_refused_at_once(anyio_backend, text):
    async with converse() as conversation:
        with pytest.raises(errors.ConfigurationError, match=r"say\(\)"):
            await conversation.say(text)


async def test_an_iterator_that_gives_nothing_or_no_text_or_fails_is_one_error(anyio_backend):
    def fails():
        yield "Well, "
        raise LookupError("gone")

    async with converse() as conversation:
        with pytest.raises(errors.GenerationError, match=r"say\(\) gave an empty reply"):
            await conversation.say(iter([]))
        with pytest.raises(errors.GenerationError, match=r"say\(\) gave an int, where"):
            await conversation.say([1, 2])
        with pytest.raises(
            errors.GenerationError, match=r"say\(\) failed while giving its text \(LookupError"
        ):
            await conversation.say(fails())
        assert not conversation.history
        assert (await conversation.say("Hello.")).played == "Hello."


async def test_nothing_is_said_during_a_turn(anyio_backend):
    async with converse() as conversation, conversation.turn("Hi") as turn:
        await anext(turn)
        with pytest.raises(errors.ConversationBusyError):
            await conversation.say("Hello.")


def test_greetings_work_without_async():
    with evakit.Conversation(stt=None, llm=None, tts=ToneTTS()) as conversation:
        assert conversation.say(pieces()).played == "Good morning. How are you?"
        with conversation.saying(["Hello."], interruptible=False) as turn:
            assert not turn.interrupt()
            assert isinstance(list(turn)[-1], evakit.TurnFinished)
        assert not turn.interrupt()


# --- interrupt


async def test_a_reply_can_be_interrupted_from_another_task(anyio_backend):
    llm = ScriptedLLM(LONG, "Fine.")
    async with converse(llm=llm) as conversation:
        async with conversation.turn("Count.") as turn, anyio.create_task_group() as tasks:
            count = 0
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    count += 1
                if count == 3:
                    tasks.start_soon(_interrupt, turn)
                    await anyio.lowlevel.checkpoint()
                    await anyio.lowlevel.checkpoint()
            assert count == 3
        assert turn.reply.interrupted
        assert turn.reply.played == "One two"  # the third was never asked to be over
        await conversation.respond("Go on.")
    assert llm.requests[1].interrupted == "One two"


async def _interrupt(turn):
    assert turn.interrupt()


async def test_what_is_not_interruptible_is_heard_to_its_end(anyio_backend):
    async with converse() as conversation:
        async with conversation.saying(LONG, interruptible=False) as turn:
            await anext(turn)
            assert not turn.interruptible
            assert not turn.interrupt()
            async for _ in turn:
                pass
        assert turn.reply.played == LONG
        assert not turn.reply.interrupted


async def test_a_turn_that_is_over_or_has_not_begun_is_not_interrupted(anyio_backend):
    async with converse() as conversation:
        turn = conversation.turn("Hi")
        assert not turn.interrupt()
        async with turn:
            async for _ in turn:
                pass
            assert not turn.interrupt()
        assert not turn.reply.interrupted


def test_a_reply_can_be_interrupted_from_another_thread():
    with evakit.Conversation(
        stt=None, llm=ScriptedLLM(LONG, delay=0.001), tts=ToneTTS()
    ) as conversation:
        with conversation.turn("Count.") as turn:
            for event in turn:
                if isinstance(event, evakit.AudioReady):
                    thread = threading.Thread(target=turn.interrupt)
                    thread.start()
                    thread.join()
        assert turn.reply.interrupted


# --- configure


async def test_what_is_configured_holds_from_the_next_turn_on(anyio_backend):
    stt, llm, tts = ScriptedSTT("bonjour", "oui"), ScriptedLLM(), ToneTTS()
    async with converse(stt=stt, llm=llm, tts=tts, system="Be brief.") as conversation:
        await conversation.respond(QUESTION)
        conversation.configure(language="FR", system="Sois bref.")
        await conversation.respond(QUESTION)
        conversation.configure(language=None, voice="tone", system=None)
        await conversation.respond("Hello")
    assert [o.languages for o in stt.options] == [(), ("fr",)]
    assert [o.voice.name for o in tts.options] == ["tone", "ton", "tone"]
    assert [o.language for o in tts.options] == [None, "fr", None]
    assert llm.requests[0].messages[0].content == "Be brief."
    assert llm.requests[1].messages[0].content == "Sois bref."
    assert llm.requests[1].language == "fr"
    assert llm.requests[2].messages[0].role is evakit.Role.USER


async def test_several_languages_leave_the_choice_to_what_is_heard(anyio_backend):
    heard = [evakit.Transcript("bonjour", language="fr"), evakit.Transcript("hi", language="en")]
    stt, tts = ScriptedSTT(*heard), ToneTTS()
    async with converse(stt=stt, tts=tts) as conversation:
        conversation.configure(language=["en", "fr"])
        await conversation.respond(QUESTION)
        await conversation.respond(QUESTION)
    assert [o.languages for o in stt.options] == [("en", "fr")] * 2
    assert [o.voice.name for o in tts.options] == ["ton", "tone"]


async def test_one_turn_may_differ_from_what_is_configured(anyio_backend):
    tts = ToneTTS()
    async with converse(tts=tts, language="en") as conversation:
        await conversation.respond("Hello", language="fr")
        await conversation.respond("Hello")
    assert [o.voice.name for o in tts.options] == ["ton", "tone"]


async def test_configuring_in_mid_turn_does_not_touch_the_turn(anyio_backend):
    llm = ScriptedLLM()
    conversation = converse(llm=llm, system="First.")
    async with conversation:
        turn = conversation.turn("Hi")  # made before, begun after: it is the next turn
        conversation.configure(system="Second.")
        async with turn:
            await anext(turn)
            conversation.configure(system="Third.", history=[{"role": "user", "content": "Old."}])
            assert not conversation.history
            async for _ in turn:
                pass
        assert texts(conversation.history) == [("user", "Old.")]
        await conversation.respond("And?")
    assert [r.messages[0].content for r in llm.requests] == ["Second.", "Third."]
    assert [m.content for m in llm.requests[1].messages[1:]] == ["Old.", "And?"]


async def test_observers_can_be_changed(anyio_backend):
    first, second = [], []
    async with converse(observers=[lambda event, _: first.append(event)]) as conversation:
        await conversation.respond("Hi")
        conversation.configure(observers=[lambda event, _: second.append(event)])
        count = len(first)
        await conversation.respond("Hi")
    assert len(first) == count > 0
    assert second


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"language": "not a tag"}, errors.UnknownLanguageError),
        ({"voice": "nobody"}, errors.UnknownVoiceError),
        ({"voice": "tone", "language": "fr"}, errors.UnknownVoiceError),
        ({"voice": 3}, errors.ConfigurationError),
        ({"system": 3}, errors.ConfigurationError),
        ({"language": 3}, errors.ConfigurationError),
        ({"history": [3]}, errors.ConfigurationError),
        ({"history": 3}, errors.ConfigurationError),
        ({"observers": 3}, errors.ConfigurationError),
        ({"observers": [3]}, errors.ConfigurationError),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(anyio_backend, changes, kind):
    llm = ScriptedLLM()
    async with converse(llm=llm, system="Be brief.") as conversation:
        with pytest.raises(kind):
            conversation.configure(**{"system": "Be long."} | changes)
        await conversation.respond("Hi")
    assert llm.requests[0].messages[0].content == "Be brief."


async def test_a_closed_conversation_is_not_configured(anyio_backend):
    async with converse() as conversation:
        pass
    with pytest.raises(errors.ConversationClosedError):
        conversation.configure(system="")


async def test_before_loading_a_voice_is_taken_on_trust_and_checked_by_the_turn(anyio_backend):
    conversation = converse()
    conversation.configure(voice="nobody")
    with pytest.raises(errors.UnknownVoiceError):
        await conversation.respond("Hi")
    await conversation.aclose()
