"""What of a conversation is kept, on made-up token counts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit.chat import Message
from evakit_llamacpp._context import KEPT, first_turn, fit, split_turns

AROUND = 3  # made-up tokens around a message, as templates add them
words = st.integers(0, 30).map(lambda n: "w" * n)
turns = st.lists(st.tuples(words, words), max_size=30)
spaces = st.integers(80, 400)


def cost(message):
    return len(message.content) + AROUND


def count(messages):
    return sum(map(cost, messages)) + 2  # and what opens the reply


def conversation(turns, last="w", system="s" * 10):
    messages = [Message("system", system)]
    for i, (asked, answered) in enumerate(turns):
        messages += [Message("user", f"{i}{asked}"), Message("assistant", answered)]
    return [*messages, Message("user", last)]


def fitted(messages, space):
    return fit(messages, space, count=count, cost=cost)


@given(turns, words, spaces)
def test_what_is_kept_fits_and_is_the_system_prompt_and_the_latest_turns(turns, last, space):
    messages = conversation(turns, last)
    kept, tokens = fitted(messages, space)
    assert tokens == count(kept) <= space
    assert kept[0] == messages[0]
    assert list(kept[1:]) == messages[len(messages) - len(kept) + 1 :]
    assert kept[1].role == "user"


@given(turns, words)
def test_a_conversation_that_fits_is_left_as_it_is(turns, last):
    messages = conversation(turns, last)
    assert fitted(messages, count(messages)) == (tuple(messages), count(messages))


@given(st.lists(st.tuples(words, words), min_size=1, max_size=40), st.integers(200, 400))
def test_as_a_conversation_grows_the_cut_only_moves_on_and_in_coarse_steps(turns, space):
    cuts = []
    for n in range(len(turns) + 1):
        messages = conversation(turns[:n])
        kept, tokens = fitted(messages, space)
        cuts.append((len(messages) - len(kept), tokens))
    for (cut, _), (next_cut, next_tokens) in pairwise(cuts):
        assert cut <= next_cut
        if cut < next_cut:
            # It went down to three quarters, and at most one turn has come since.
            assert next_tokens <= space * KEPT + 2 * (30 + AROUND) + 10


@given(st.lists(st.integers(1, 100), max_size=50), st.integers(100, 500), st.integers(0, 50))
def test_the_cut_is_a_function_of_what_was_said_until_then(costs, space, more):
    cut = first_turn(costs, space)
    assert cut <= first_turn([*costs, more], space) <= len(costs)
    assert sum(costs[cut:]) <= space


def test_the_prompt_stays_a_prefix_of_the_next_one_between_two_cuts():
    turns = [("w" * 10, "w" * 10)] * 60
    prompts = [fitted(conversation(turns[:n]), 300)[0] for n in range(60)]
    kept_prefix = [new[: len(old) - 1] == old[:-1] for old, new in pairwise(prompts)]
    assert kept_prefix.count(False) < 60 / 2
    assert False in kept_prefix


@pytest.mark.parametrize(
    "messages",
    [
        [Message("system", "s"), Message("user", "w" * 500)],
        conversation([("w", "w")] * 3, "w" * 500),
        [Message("system", "s" * 500)],
    ],
)
def test_a_message_too_long_by_itself_comes_back_with_its_length(messages):
    kept, tokens = fitted(messages, 100)
    assert tokens == count(kept) > 100
    assert kept[-1] == messages[-1]


def test_costs_that_are_too_low_still_end_in_something_that_fits():
    messages = conversation([("w" * 20, "w" * 20)] * 20)
    kept, tokens = fit(messages, 200, count=count, cost=lambda _message: 1)
    assert tokens == count(kept) <= 200


def test_turns_begin_with_the_user_and_hold_what_follows():
    system, (greeting, first, second) = split_turns(
        [
            Message("system", "s"),
            Message("assistant", "Hello!"),
            Message("user", "a"),
            Message("assistant", "b"),
            Message("tool", "c"),
            Message("user", "d"),
        ]
    )
    assert [m.content for m in system] == ["s"]
    assert [m.content for m in greeting] == ["Hello!"]
    assert [m.content for m in first] == ["a", "b", "c"]
    assert [m.content for m in second] == ["d"]
    assert split_turns([]) == ((), ())
