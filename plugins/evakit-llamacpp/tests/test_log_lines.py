"""llama.cpp's messages are told from what others wrote to the same place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evakit_llamacpp._log_lines import LogLine, separate

LOAD = b"0.00.225.278 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB\n"
ERROR = b"0.01.004.000 E srv          init: exiting due to model loading error\n"
EXAMPLE = (
    b"0.01.000.001 I srv          init: init: chat template, example_format: '<|im_start|>system\n"
    b"You are a helpful assistant<|im_end|>\n<|im_start|>assistant\n'\n"
)
SAMPLING = (
    b"0.01.265.540 I slot launch_slot_: id  1 | task -1 | sampler params: \n"
    b"\trepeat_last_n = 64, repeat_penalty = 1.000\n\tmirostat = 0, mirostat_lr = 0.100\n"
)
MESSAGES = (LOAD, ERROR, EXAMPLE, SAMPLING)

# What another may write: all of it but what looks like a message itself.
others = st.binary(max_size=40).filter(lambda data: not separate(data)[0] and b"0." not in data)


def test_a_message_is_taken_apart():
    lines, rest = separate(LOAD + ERROR)
    assert lines == [
        LogLine("I", "load_tensors:   CPU_Mapped model buffer size =    92.10 MiB"),
        LogLine("E", "srv          init: exiting due to model loading error"),
    ]
    assert rest == b""


@pytest.mark.parametrize("message", [EXAMPLE, SAMPLING])
def test_a_message_of_several_lines_is_one(message):
    lines, rest = separate(message + b"\tSomebody else's 'line'\n" + LOAD)
    assert [line.text.count("\n") for line in lines] == [message.count(b"\n") - 1, 0]
    assert rest == b"\tSomebody else's 'line'\n"


def test_nothing_is_nothing():
    assert separate(b"") == ([], b"")


def test_what_is_no_message_stays_as_it_is():
    data = b"\x00\xff no line\n\n12.5 I 0.00 E\nTraceback (most recent call last):\n"
    assert separate(data) == ([], data)


def test_a_message_behind_a_line_that_has_no_end_yet_is_found():
    lines, rest = separate(b"Loading: 10 %" + LOAD + b" done\n")
    assert len(lines) == 1
    assert rest == b"Loading: 10 % done\n"


@pytest.mark.parametrize("minutes", [b"0", b"9", b"10", b"125"])
def test_digits_that_others_wrote_before_a_message_stay_theirs(minutes):
    message = minutes + LOAD[1:]
    _, rest = separate(message + b"step 3" + message + message)
    assert rest == b"step 3"


def test_the_minute_may_turn_meanwhile():
    lines, rest = separate(b"9" + LOAD[1:] + b"10" + LOAD[1:])
    assert (len(lines), rest) == (2, b"")


def test_a_message_that_was_cut_off_is_not_passed_on():
    lines, rest = separate(LOAD + LOAD[:30])
    assert (len(lines), rest) == (2, b"")


@given(st.lists(st.tuples(others, st.sampled_from(MESSAGES))), others)
def test_others_get_all_of_theirs_in_order_and_nothing_else(pieces, end):
    load = LOAD * (len(pieces) + 1)  # which minute it is can be told from most of the messages
    lines, rest = separate(load + b"".join(theirs + message for theirs, message in pieces) + end)
    assert rest == b"".join(theirs for theirs, _ in pieces) + end
    assert len(lines) == 2 * len(pieces) + 1
