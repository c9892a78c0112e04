"""What of a conversation the model gets to read when not all of it fits: pure.

Old turns are left out whole, the system prompt stays. They are left out in coarse steps: when
the messages no longer fit, turns go until only three quarters of the space are used, and the
cut then stays where it is until the space is full again. In between, each prompt begins with
all of the one before, so that the engine has to read only what is new.
What may not live here: the engine, and counting tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from evakit.chat import Message, Role

__all__ = ["first_turn", "fit", "split_turns"]

KEPT: Final = 0.75
"""How much of the space is used after a cut: room for several turns until the next one."""


def split_turns(
    messages: Sequence[Message],
) -> tuple[tuple[Message, ...], tuple[tuple[Message, ...], ...]]:
    """Return the system prompt, and the turns: a user's message and all that follows it."""
    start = next((i for i, m in enumerate(messages) if m.role is not Role.SYSTEM), len(messages))
    turns: list[list[Message]] = []
    for message in messages[start:]:
        if message.role is Role.USER or not turns:
            turns.append([])
        turns[-1].append(message)
    return tuple(messages[:start]), tuple(tuple(turn) for turn in turns)


def first_turn(costs: Sequence[int], space: int) -> int:
    """Say which turn is the first to keep, when turn i takes `costs[i]` of `space`.

    Goes through the conversation as it grew, so that the answer depends on nothing that was
    remembered and is the same each time until the space is full again.
    """
    start = used = 0
    for index, cost in enumerate(costs):
        used += cost
        if used > space:
            while start < index and used > space * KEPT:
                used -= costs[start]
                start += 1
    return start


def fit(
    messages: Sequence[Message],
    space: int,
    *,
    count: Callable[[Sequence[Message]], int],
    cost: Callable[[Message], int],
) -> tuple[tuple[Message, ...], int]:
    """Leave out old turns until `messages` take at most `space` tokens.

    `count` gives the tokens of a whole prompt, `cost` about those that one message adds to it.
    Returns what is left and its tokens. The system prompt and the last turn are always among
    it: where they alone are too long, they alone come back, with more tokens than `space`.
    """
    tokens = count(messages)
    if tokens <= space:
        return tuple(messages), tokens
    system, turns = split_turns(messages)
    kept = (*system, *(turns[-1] if turns else ()))
    tokens = count(kept)
    if tokens > space or len(turns) < 2:  # noqa: PLR2004 (nothing is left to leave out)
        return kept, tokens
    costs = [sum(map(cost, turn)) for turn in turns]
    # The system prompt and what the template adds are told from the last turn alone, so that
    # they come out the same however long the conversation has become.
    start = first_turn(costs, space - max(0, tokens - costs[-1]))
    while True:
        kept = (*system, *(message for turn in turns[start:] for message in turn))
        tokens = count(kept)
        if tokens <= space:
            return kept, tokens
        start += 1  # `cost` was too low; the last turn alone fits, so this ends
