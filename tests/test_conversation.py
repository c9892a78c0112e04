"""A conversation on scripted fakes: order, history, interruption, failure, sharing."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

import evakit
from evakit import errors
from evakit.abc import BlockingTTS, Usage
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

QUESTION = evakit.Audio(0.5 * np.sin(np.arange(8000) / 9), 16_000)
SILENCE = evakit.Audio(np.zeros(8000), 16_000)
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen."


def converse(*, stt=None, llm=None, tts=None, **arguments):
    return evakit.AsyncConversation(
        stt=stt or ScriptedSTT("what is it"),
        llm=llm or ScriptedLLM("It is a test of everything."),
        tts=tts or ToneTTS(),
        **arguments,
    )


async def take(turn):
    return [event async for event in turn]


async def test_a_turn_hears_thinks_and_speaks_in_that_order(anyio_backend):
    async with converse() as conversation, conversation.turn(QUESTION) as turn:
        events = await take(turn)

    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "TranscriptReady"
    assert kinds[1] == "TokenGenerated"
    assert kinds[-1] == "TurnFinished"
    assert kinds.index("ClauseReady") < kinds.index("AudioReady")
    spoken = "".join(e.text for e in events if isinstance(e, evakit.TokenGenerated))
    assert spoken == "It is a test of everything."
    assert turn.reply == events[-1].reply
    assert turn.reply.heard == "what is it"
    assert not turn.reply.interrupted
    assert len(turn.reply.audio) == sum(
        len(e.audio) for e in events if isinstance(e, evakit.AudioReady)
    )


async def test_instants_of_a_turn_come_one_after_the_other(anyio_backend):
    stt, llm, tts = ScriptedSTT("x y", delay=0.01), ScriptedLLM("A b c.", delay=0.01), ToneTTS()
    async with converse(stt=stt, llm=llm, tts=tts) as conversation:
        timings = (await conversation.respond(QUESTION)).timings

    instants = [
        timings.input_complete_at,
        timings.transcribed_at,
        timings.llm_requested_at,
        timings.first_token_at,
        timings.first_clause_at,
        timings.first_audio_at,
        timings.finished_at,
    ]
    assert instants == sorted(instants)
    assert timings.transcription_delay >= 0.01
    assert timings.first_token_delay >= 0.02


async def test_a_string_is_read_as_text_and_never_opens_a_file(anyio_backend):
    llm = ScriptedLLM("I cannot open files.")
    async with converse(llm=llm) as conversation:
        reply = await conversation.respond("/etc/passwd")

    assert reply.heard is None
    assert llm.requests[0].text == "/etc/passwd"
    assert reply.timings.transcribed_at is None


async def test_history_holds_what_was_said_and_what_was_played(anyio_backend):
    llm = ScriptedLLM("First answer.", "Second answer.")
    async with converse(llm=llm, system="Be kind.") as conversation:
        await conversation.respond("One?")
        await conversation.respond("Two?")

    assert [(m.role.value, m.content) for m in conversation.history] == [
        ("user", "One?"),
        ("assistant", "First answer."),
        ("user", "Two?"),
        ("assistant", "Second answer."),
    ]
    assert [m.content for m in llm.requests[1].messages] == [
        "Be kind.",
        "One?",
        "First answer.",
        "Two?",
    ]


async def test_a_history_can_be_given_and_an_empty_system_prompt_is_none(anyio_backend):
    llm = ScriptedLLM()
    past = [{"role": "user", "content": "My name is Ada."}]
    async with converse(llm=llm, history=past, system="") as conversation:
        await conversation.respond("Who am I?")

    assert [m.content for m in llm.requests[0].messages] == ["My name is Ada.", "Who am I?"]


async def test_leaving_a_turn_early_stops_all_work_within_a_chunk(anyio_backend):
    llm, tts = ScriptedLLM(" ".join([LONG] * 50), delay=0.001), ToneTTS(delay=0.001)
    async with converse(llm=llm, tts=tts) as conversation:
        async with conversation.turn("Count.") as turn:
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    break
        given = (llm.tokens_given, tts.chunks_given)
        await anyio.sleep(0.02)

        assert (llm.tokens_given, tts.chunks_given) == given
        assert llm.stopped == 1
        assert turn.reply.interrupted
        assert (await conversation.respond("And now?")).text == "You said: And now?"


async def test_an_interrupted_reply_is_remembered_as_far_as_it_was_played(anyio_backend):
    llm, tts = ScriptedLLM(LONG, "Yes."), ToneTTS()
    async with converse(llm=llm, tts=tts) as conversation:
        async with conversation.turn("Count.") as turn:
            heard = 0
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    heard += 1
                    if heard == 8:  # the eighth is not played: nothing was asked for after it
                        break
        await conversation.respond("Go on.")

    assert turn.reply.played == "One two three four five. Six seven"
    assert conversation.history[1].content == turn.reply.played
    assert conversation.history[1].interrupted
    assert llm.requests[1].interrupted == turn.reply.played


async def test_what_was_played_can_be_corrected_in_samples(anyio_backend):
    tts = ToneTTS(gives_words=True)
    async with converse(llm=ScriptedLLM("Alpha bravo charlie delta."), tts=tts) as conversation:
        async with conversation.turn("Spell.") as turn:
            await take(turn)
            turn.played(len(turn.reply.audio) // 2)

    assert turn.reply.played == "Alpha bravo"
    assert turn.reply.interrupted
    assert conversation.history[1].content == "Alpha bravo"


async def test_without_a_tts_the_text_that_was_taken_counts(anyio_backend):
    async with (
        evakit.AsyncConversation(stt=None, llm=ScriptedLLM("a b c d"), tts=None) as conversation,
        conversation.turn("?") as turn,
    ):
        async for event in turn:
            if event == evakit.TokenGenerated(" b"):
                break

    assert turn.reply.played == "a b"
    assert turn.reply.audio is None


async def test_a_turn_that_is_left_before_it_began_leaves_no_trace(anyio_backend):
    async with converse() as conversation:
        async with conversation.turn(QUESTION):
            pass

    assert len(conversation.history) == 0


async def test_silence_is_an_empty_reply_and_nobody_thinks_about_it(anyio_backend):
    llm = ScriptedLLM()
    async with converse(llm=llm) as conversation:
        reply = await conversation.respond(SILENCE)

    assert (reply.heard, reply.text, reply.audio) == ("", "", None)
    assert not llm.requests
    assert len(conversation.history) == 0


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_empty_text_is_answered_like_silence(anyio_backend, text):
    llm = ScriptedLLM("never said")
    async with converse(llm=llm) as conversation:
        reply = await conversation.respond(text)

    assert (reply.text, reply.audio, llm.requests) == ("", None, [])
    assert len(conversation.history) == 0


async def test_without_an_llm_a_conversation_only_listens(anyio_backend):
    conversation = evakit.AsyncConversation(stt=ScriptedSTT("hello"), llm=None, tts=None)
    async with conversation:
        reply = await conversation.respond(QUESTION)

    assert (reply.heard, reply.text) == ("hello", "")


@pytest.mark.parametrize(
    ("stage", "raised", "expected"),
    [
        ("stt", ValueError("boom"), errors.TranscriptionError),
        ("llm", ValueError("boom"), errors.GenerationError),
        ("llm", errors.ContextTooLongError("long", backend="x"), errors.ContextTooLongError),
    ],
)
async def test_a_failing_stage_is_one_error_and_the_conversation_goes_on(
    anyio_backend, stage, raised, expected
):
    stt = ScriptedSTT(*([raised] if stage == "stt" else []), "second", "third")
    llm = ScriptedLLM(*([raised] if stage == "llm" else []))
    async with converse(stt=stt, llm=llm) as conversation:
        with pytest.raises(expected) as caught:
            await conversation.respond(QUESTION)
        assert len(conversation.history) == 0
        reply = await conversation.respond(QUESTION)

    assert caught.value.stage == stage
    if isinstance(raised, ValueError):
        assert caught.value.__cause__ is raised
        assert "boom" in str(caught.value)
    assert reply.text.startswith("You said: ")


async def test_a_reply_that_breaks_off_is_remembered_as_far_as_it_was_played(anyio_backend):
    class Breaking(ScriptedLLM):
        def reply(self, request):
            stream = super().reply(request)
            stream._error = RuntimeError("gone")
            return stream

    llm = Breaking(["All is well so far.", " And now it", " breaks"])
    async with converse(llm=llm) as conversation:
        with pytest.raises(errors.GenerationError, match="gone"):
            async with conversation.turn("?") as turn:
                await take(turn)

    assert llm.stopped == 0
    assert [m.content for m in conversation.history][:1] in ([], ["?"])


async def test_an_empty_reply_is_an_error_worth_trying_again(anyio_backend):
    async with converse(llm=ScriptedLLM([" ", Usage(prompt_tokens=3)])) as conversation:
        with pytest.raises(errors.GenerationError, match="empty reply") as caught:
            await conversation.respond("?")

    assert caught.value.retryable


class _Mute(BlockingTTS):
    """Gives what it was made with, whatever the text."""

    def __init__(self, *chunks):
        self.chunks = chunks

    def synthesize(self, text, options):
        return self.chunks


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (evakit.Audio(np.zeros(16_000), 16_000),),
        (evakit.Audio(0.5 * np.ones(100), 16_000),),
    ],
    ids=["nothing", "a second of zeros", "six milliseconds"],
)
async def test_silence_for_text_with_letters_is_an_error_and_never_a_reply(anyio_backend, chunks):
    async with converse(tts=_Mute(*chunks)) as conversation:
        with pytest.raises(errors.SynthesisError, match=r"ms of (silence|sound) for 'It is"):
            await conversation.respond("?")


async def test_text_without_letters_may_be_silent(anyio_backend):
    async with converse(llm=ScriptedLLM("..."), tts=_Mute()) as conversation:
        reply = await conversation.respond("?")

    assert reply.audio is None


async def test_an_exception_in_the_users_block_stays_itself(anyio_backend):
    llm = ScriptedLLM(" ".join([LONG] * 50), delay=0.001)
    async with converse(llm=llm) as conversation:
        with pytest.raises(ZeroDivisionError):
            async with conversation.turn("?") as turn:
                async for _ in turn:
                    1 / 0  # noqa: B018

        assert llm.stopped == 1


async def test_a_conversation_has_one_turn_at_a_time(anyio_backend):
    async with converse() as conversation, conversation.turn("?"):
        with pytest.raises(errors.ConversationBusyError, match="one turn at a time"):
            await conversation.respond("me too")


async def test_a_turn_is_used_once_and_inside_its_block(anyio_backend):
    async with converse() as conversation:
        turn = conversation.turn("?")
        with pytest.raises(errors.ConversationBusyError, match="with"):
            await anext(turn)
        async with turn:
            await take(turn)
        with pytest.raises(errors.ConversationBusyError, match="used once"):
            await turn.__aenter__()


async def test_a_closed_conversation_says_so(anyio_backend):
    conversation = converse()
    async with conversation:
        pass
    with pytest.raises(errors.ConversationClosedError):
        await conversation.respond("?")


async def test_first_use_loads_and_closing_unloads(anyio_backend):
    stt = ScriptedSTT("hello")
    conversation = converse(stt=stt)
    assert stt.loaded is None
    await conversation.respond(QUESTION)
    assert stt.loaded is not None
    assert str(stt.loaded.device) == "cpu"
    await conversation.aclose()
    assert stt.loaded is None


async def test_audio_of_any_rate_reaches_the_stt_at_its_own(anyio_backend):
    stt = ScriptedSTT("hello")
    async with converse(stt=stt) as conversation:
        await conversation.respond(evakit.Audio(np.sin(np.arange(96_000) / 9) / 2, 96_000))

    assert stt.heard[0].sample_rate == 16_000
    assert stt.heard[0].duration == pytest.approx(1.0, abs=0.01)


async def test_a_recording_of_two_hours_is_not_a_question(anyio_backend):
    hours = evakit.Audio(np.zeros(2 * 3600 * 1000), 1000)
    async with converse() as conversation:
        with pytest.raises(errors.AudioError, match=r"7200 s .* transcribe"):
            await conversation.respond(hours)


async def test_something_that_is_neither_audio_nor_text_is_refused(anyio_backend):
    async with converse() as conversation:
        with pytest.raises(errors.ConfigurationError, match="not int"):
            await conversation.respond(42)


async def test_what_is_asked_of_all_binds_only_what_can_follow(anyio_backend):
    async with converse(device="cuda") as conversation:
        reply = await conversation.respond("?")
        labels = {loaded.label for loaded in conversation.backends.values()}
    assert labels == {"cpu (by design)"}
    assert reply.degraded == ()


async def test_a_voice_is_chosen_by_name_or_by_language(anyio_backend):
    tts = ToneTTS()
    async with converse(tts=tts) as conversation:
        await conversation.respond("?", voice="ton")
        await conversation.respond("?", language="fr")
        await conversation.respond("?")

    assert [o.voice.name for o in tts.options] == ["ton", "ton", "tone"]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"voice": "bob"}, errors.UnknownVoiceError, "tone, ton"),
        ({"voice": "tone", "language": "fr"}, errors.UnknownVoiceError, "choose ton"),
        ({"language": "de"}, errors.UnknownVoiceError, "en, fr"),
        ({"language": "klingon!"}, errors.UnknownLanguageError, "language tag"),
        ({"device": "gpu"}, errors.ConfigurationError, "'cuda'"),
    ],
)
async def test_a_choice_that_makes_no_sense_is_named(anyio_backend, arguments, error, says):
    with pytest.raises(error, match=says):
        async with converse(**arguments):
            pass


@pytest.mark.parametrize("language", [[1], 3, b"fr"])
async def test_a_language_of_one_turn_that_is_none_is_one_sentence(anyio_backend, language):
    async with evakit.Stack(stt=ScriptedSTT("hello"), llm=ScriptedLLM(), tts=None) as stack:
        async with evakit.AsyncConversation(stack) as conversation:
            with pytest.raises(errors.UnknownLanguageError, match="write one such as 'en'"):
                await conversation.respond("Hello", language=language)
            assert (await conversation.respond("Hello")).text == "You said: Hello"
        with pytest.raises(errors.UnknownLanguageError, match="write one such as 'en'"):
            await stack.transcribe(QUESTION, language=language)


async def test_a_language_that_was_heard_picks_a_voice_that_is_ready(anyio_backend):
    stt = ScriptedSTT(evakit.Transcript("bonjour", language="fr"), "hello")
    tts = ToneTTS()
    async with converse(stt=stt, tts=tts) as conversation:
        await conversation.respond("?", voice="ton")
        await conversation.respond(QUESTION)

    assert tts.options[-1].voice.name == "ton"
    assert tts.options[-1].language == "fr"


async def test_one_stack_serves_many_conversations_at_once(anyio_backend):
    llm, tts = ScriptedLLM(delay=0.001), ToneTTS()
    replies = {}

    async def talk(stack, name):
        async with evakit.AsyncConversation(stack) as conversation:
            for turn in range(3):
                reply = await conversation.respond(f"{name} {turn}")
                replies[name, turn] = reply.text
            assert len(conversation.history) == 6

    async with evakit.Stack(stt=None, llm=llm, tts=tts) as stack:
        async with anyio.create_task_group() as tasks:
            for name in range(8):
                tasks.start_soon(talk, stack, name)
        assert stack.backends["llm"].device == "cpu"

    assert replies == {(n, t): f"You said: {n} {t}" for n in range(8) for t in range(3)}


async def test_a_stack_without_a_block_is_unloaded_with_its_last_conversation(anyio_backend):
    stt = ScriptedSTT("a", "b")
    stack = evakit.Stack(stt=stt, llm=None, tts=None)
    async with evakit.AsyncConversation(stack):
        async with evakit.AsyncConversation(stack):
            pass
        assert stt.loaded is not None
    assert stt.loaded is None
    async with evakit.AsyncConversation(stack) as again:
        assert (await again.respond(QUESTION)).heard == "a"


async def test_a_load_that_fails_unloads_what_was_loaded(anyio_backend):
    class Failing(ScriptedLLM):
        async def load(self, context):
            await anyio.sleep(0.01)
            raise errors.BackendUnavailableError("No.", backend="failing")

    stt = ScriptedSTT("hello")
    with pytest.raises(errors.BackendUnavailableError):
        async with converse(stt=stt, llm=Failing()):
            pass
    assert stt.loaded is None


async def test_a_backend_that_breaks_while_loading_is_an_error_of_ours(anyio_backend):
    class Broken(ScriptedLLM):
        async def load(self, context):
            raise KeyError("weights")

    with pytest.raises(errors.BackendError, match="weights") as caught:
        async with converse(llm=Broken()):
            pass
    assert isinstance(caught.value.__cause__, KeyError)


async def test_an_instance_of_another_kind_is_refused(anyio_backend):
    with pytest.raises(errors.ConfigurationError, match="not a STT"):
        async with evakit.AsyncConversation(stt=ScriptedLLM(), llm=None, tts=None):
            pass
