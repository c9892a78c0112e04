"""Observers see what happened and cannot disturb it."""

from __future__ import annotations

import logging

import pytest

import evakit
from evakit import errors
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS


class Log:
    def __init__(self):
        self.seen = []

    @evakit.hookimpl
    def evakit_observe(self, event, conversation_id):
        self.seen.append((type(event).__name__, conversation_id))


class OnlyTheEvent:
    def __init__(self):
        self.seen = []

    @evakit.hookimpl
    def evakit_observe(self, event):
        self.seen.append(event)


class Broken:
    @evakit.hookimpl
    def evakit_observe(self, event):
        raise RuntimeError("I break everything")


def converse(*observers):
    return evakit.AsyncConversation(
        stt=ScriptedSTT(), llm=ScriptedLLM("One. Two."), tts=ToneTTS(), observers=observers
    )


async def test_observers_see_the_events_that_the_user_sees(anyio_backend):
    log, only, plain = Log(), OnlyTheEvent(), []
    conversation = converse(log, only, lambda event, conversation_id: plain.append(event))
    async with conversation, conversation.turn("?") as turn:
        events = [event async for event in turn]

    assert only.seen == events
    assert plain == events
    assert log.seen == [(type(e).__name__, conversation.id) for e in events]


async def test_only_observers_see_an_interruption(anyio_backend):
    only = OnlyTheEvent()
    async with converse(only) as conversation:
        async with conversation.turn("?") as turn:
            async for event in turn:
                if isinstance(event, evakit.AudioReady):
                    break

    assert only.seen[-1] == evakit.TurnInterrupted(turn.reply)


async def test_a_broken_observer_is_logged_and_counted_and_the_turn_goes_on(anyio_backend, caplog):
    only = OnlyTheEvent()
    with caplog.at_level(logging.ERROR, "evakit"):
        async with converse(Broken(), only) as conversation:
            reply = await conversation.respond("?")

    assert reply.text == "One. Two."
    assert conversation._observers.failures == len(only.seen) > 0
    assert "Broken" in caplog.text


async def _coroutine(event, conversation_id):
    """Would never be awaited."""


class _Misspelt:
    @evakit.hookimpl
    def evakit_observes(self, event):
        """Nobody calls this."""

    def __call__(self, event, conversation_id):
        """So that it is at least callable."""


class _Unmarked:
    def evakit_observe(self, event):
        """Without the decorator."""


@pytest.mark.parametrize(
    ("observer", "says"),
    [
        (_coroutine, "coroutine"),
        (object(), "not an observer"),
        (_Unmarked(), "hookimpl"),
    ],
)
def test_an_observer_that_could_not_work_is_refused_at_once(observer, says):
    with pytest.raises(errors.ConfigurationError, match=says):
        converse(observer)
