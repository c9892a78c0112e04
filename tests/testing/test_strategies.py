"""The strategies give values that can be: what they promise holds for whatever is drawn."""

from __future__ import annotations

import inspect
import itertools
import json
import pickle

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evakit.abc import LLMRequest
from evakit.chat import History, Role
from evakit.events import Event, Reply, TurnFailed
from evakit.testing import strategies
from evakit.timings import TurnTimings

NOT_VALUES = {"texts", "languages", "devices", "sample_rates"}


@pytest.mark.parametrize("name", sorted(set(strategies.__all__) - NOT_VALUES))
def test_a_value_can_be_pickled_and_shown(name):
    strategy = getattr(strategies, name)()
    kinds = set()

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def check(value):
        kinds.add(type(value))
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 (of our own making)
        assert repr(value)

    check()
    assert all(attrs.has(kind) for kind in kinds)


def test_every_strategy_is_listed():
    made = {
        name
        for name, value in vars(strategies).items()
        if inspect.isfunction(value) and value.__module__ == strategies.__name__
    }
    made = {name for name in made if not name.startswith("_")}
    assert made <= set(strategies.__all__)


@given(strategies.histories())
def test_a_history_with_tool_calls_comes_back_from_json(history):
    assert History.from_json(history.to_json()) == history


def test_histories_have_tool_calls_and_results():
    seen = set()

    @settings(database=None, derandomize=True, max_examples=200)
    @given(strategies.messages())
    def look(message):
        seen.update(["calls"] * bool(message.tool_calls), ["id"] * bool(message.tool_call_id))
        for call in message.tool_calls:
            assert isinstance(json.loads(call.arguments), dict)

    look()
    assert seen == {"calls", "id"}


@given(strategies.requests())
def test_a_request_ends_with_the_user(request):
    assert isinstance(request, LLMRequest)
    assert request.messages[-1].role is Role.USER
    assert request.text == request.messages[-1].content
    assert Role.SYSTEM not in [message.role for message in request.messages[1:]]


@given(strategies.timings())
def test_instants_come_one_after_the_other(timings):
    assert isinstance(timings, TurnTimings)
    known = [at for at in attrs.astuple(timings) if at is not None]
    assert all(one <= other for one, other in itertools.pairwise(known))


@given(strategies.replies())
def test_what_was_played_is_a_beginning_of_the_text(reply):
    assert isinstance(reply, Reply)
    assert reply.text.startswith(reply.played)
    assert reply.interrupted or reply.played == reply.text


def test_there_is_every_event_but_a_failure():
    kinds = set()

    @settings(database=None, derandomize=True, max_examples=300, deadline=None)
    @given(strategies.events() | st.nothing())
    def look(event):
        kinds.add(type(event))

    look()
    assert kinds == set(Event.__args__) - {TurnFailed}


@given(strategies.turn_questions(8_000))
def test_a_question_is_at_the_rate_that_was_asked_for(question):
    assert question.audio.sample_rate == 8_000
