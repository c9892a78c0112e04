"""LogLine: what llama.cpp wrote, told from what others wrote to the same place. Pure.

llama.cpp begins each message with a time and a letter for its level, `0.00.225.278 I `, and writes
it in one piece. What may not live here: descriptors, and what the lines mean (`_placement.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from attrs import frozen

__all__ = ["LogLine", "separate"]

# common/log.cpp of llama.cpp: minutes, seconds, milliseconds, microseconds. Two messages have lines
# of their own: an example of the chat template, which ends in a quote, and how a reply that
# another model begins meanwhile is sampled, each line with a tab and a number.
_MESSAGE: Final = re.compile(
    rb"(?P<minutes>\d{1,9})\.\d\d\.\d{3}\.\d{3} (?P<level>[DEIW]) "
    rb"(?P<text>[^\n]*?example_format: '(?s:.*?)'(?=\n)"
    rb"|[^\n]*?sampler params: ?(?:\n\t\w+ = [^\n]*)*"
    rb"|[^\n]*)(?:\n|\Z)"
)


@frozen
class LogLine:
    """One message of llama.cpp."""

    level: str
    """`I`, `W`, `E` or `D`."""
    text: str
    """Without its time, its level and its end."""


def separate(data: bytes) -> tuple[list[LogLine], bytes]:
    """Return llama.cpp's messages, and all the rest of `data`, unchanged and in order."""
    found = list(_MESSAGE.finditer(data))
    minutes = _minutes(found)
    lines: list[LogLine] = []
    others: list[bytes] = []
    end = 0
    for message in found:
        others.append(data[end : message.start() + _not_its_own(message["minutes"], minutes)])
        lines.append(LogLine(message["level"].decode(), message["text"].decode(errors="replace")))
        end = message.end()
    others.append(data[end:])
    return lines, b"".join(others)


def _minutes(found: list[re.Match[bytes]]) -> tuple[bytes, ...]:
    """Return how messages of this time may begin, the longest first."""
    if not found:
        return ()
    usual = int(Counter(message["minutes"] for message in found).most_common(1)[0][0])
    return tuple(str(number).encode() for number in (usual + 1, usual, max(0, usual - 1)))


def _not_its_own(digits: bytes, minutes: tuple[bytes, ...]) -> int:
    """Say how many of the digits before a time were written by somebody else just before."""
    for own in minutes:
        if digits.endswith(own):
            return len(digits) - len(own)
    return 0
