"""Programs of many threads: one conversation in two of them, many conversations on one stack."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import evakit
from evakit.abc import BlockingLLM
from evakit.errors import ConversationBusyError, ConversationClosedError
from evakit.testing.fakes import ScriptedLLM, ToneTTS


class Gated(BlockingLLM):
    """Replies when it is let."""

    def __init__(self):
        self.asked, self.let = threading.Event(), threading.Event()

    def tokens(self, request):
        self.asked.set()
        self.let.wait(10)
        yield f"You said: {request.text}"


class Counting(BlockingLLM):
    """An engine with one state: two replies at a time would show in its words."""

    def __init__(self):
        self.word = ""

    def tokens(self, request):
        for word in request.text.split():
            self.word = word
            yield self.word + " "


def test_one_conversation_in_two_threads_is_one_clear_error():
    llm = Gated()
    with evakit.Conversation(stt=None, llm=llm, tts=None) as conversation:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(conversation.respond, "first")
            assert llm.asked.wait(10)
            with pytest.raises(ConversationBusyError, match="one turn at a time") as caught:
                conversation.respond("second")
            llm.let.set()
            assert first.result(10).text == "You said: first"
        assert "\n" not in str(caught.value)
        assert [m.content for m in conversation.history] == ["first", "You said: first"]
        assert conversation.respond("third").text == "You said: third"


def test_a_turn_begun_in_one_thread_may_be_read_and_left_in_another():
    with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
        turn = conversation.turn("hello").__enter__()
        with ThreadPoolExecutor(1) as pool:
            kinds = pool.submit(lambda: [type(event).__name__ for event in turn]).result(10)
            pool.submit(turn.__exit__, None, None, None).result(10)
        assert kinds[-1] == "TurnFinished"
        assert turn.reply.text == "You said: hello"


def test_many_conversations_on_one_stack_from_many_threads_keep_their_words_apart():
    stack = evakit.Stack(stt=None, llm=Counting(), tts=ToneTTS())
    begin = threading.Barrier(8)

    def talk(number):
        said = " ".join(f"{number}.{turn}" for turn in range(20))
        begin.wait(10)
        with evakit.Conversation(stack) as conversation:
            return said, [conversation.respond(said).text.strip() for _ in range(3)]

    # The stack's own user: it stays loaded while the threads come and go.
    with evakit.Conversation(stack), ThreadPoolExecutor(8) as pool:
        for said, replies in pool.map(talk, range(8)):
            assert replies == [said] * 3


def test_closing_in_one_thread_while_others_ask_leaves_each_with_an_answer_or_one_error():
    stack = evakit.Stack(stt=None, llm=Counting(), tts=None)
    conversation = evakit.Conversation(stack)
    conversation.load()
    ends, begin = [], threading.Barrier(5)

    def ask():
        begin.wait(10)
        try:
            ends.append(conversation.respond("one two three").text.strip())
        except (ConversationBusyError, ConversationClosedError) as error:
            ends.append(type(error).__name__)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait(10)
    conversation.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(ends) == 4
    assert set(ends) <= {"one two three", "ConversationBusyError", "ConversationClosedError"}


def test_threads_without_an_event_loop_are_not_warned():
    def talk():
        with evakit.Conversation(stt=None, llm=ScriptedLLM(), tts=None) as conversation:
            return conversation.respond("hi").text

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("error")
        assert pool.submit(talk).result(10) == "You said: hi"
