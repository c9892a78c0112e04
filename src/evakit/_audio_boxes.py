"""The boxes of MP4 files and the elements of Matroska files: whether the last one is all there.

Also where an MP4 file promises so many samples that the tables FFmpeg makes of the promise would
fill the memory. What may not live here: what is in the boxes otherwise, and decoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Final

from .errors import AudioFormatError

__all__ = ["check_boxes", "missing_of_matroska"]

_MAX_BOXES: Final = 200_000  # four hours in fragments of a second have 30,000
_MAX_ELEMENTS: Final = 2_000_000  # eleven hours of Opus have as many blocks
_MAX_ENTRIES: Final = 1 << 21  # of FFmpeg's tables, 36 bytes each; 12 hours of AAC have as many
_MAX_RUNS: Final = 1 << 20  # of chunks alike
_CHUNK: Final = 1 << 20  # bytes looked through at a time

# Boxes with a number that costs nothing to write and that FFmpeg makes a table of: samples of
# one size, chunks and the samples in each, samples of a fragment. `cmov` is compressed.
_TABLES: Final = re.compile(rb"stsz|stsc|stco|co64|trun|cmov")
_HEAD: Final = 16  # bytes of such a box that are looked at, from its name on
_SAMPLES_AN_ENTRY: Final = 1_024  # FFmpeg cuts the chunks of raw PCM into as many

_UNBOUNDED: Final = 1 << 64

_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675  # both as in RFC 9559, section 5.1


def check_boxes(file: IO[bytes], size: int, name: str) -> int:
    """Return how many bytes an MP4 file lacks at its end.

    Raises:
        AudioFormatError: it promises more samples than such a file holds, or hides what it
            promises, or has no index.

    """
    has_index = False
    for kind, start, length in _boxes(file, size):
        if start + length > size:
            return start + length - size
        has_index |= kind == b"moov"
        if kind != b"mdat":
            _check_tables(file, start, length, size, name)
    if not has_index:
        raise AudioFormatError(
            f"{name} is cut off: its index, which is written at the end of a recording, is "
            "missing; get a complete copy of it."
        )
    return 0


def _boxes(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over the name, start and length of the outermost boxes (ISO 14496-12, 4.2)."""
    start = 0
    for _ in range(_MAX_BOXES):
        file.seek(start)
        header = file.read(16)
        if not header:
            return
        length, least = int.from_bytes(header[:4], "big"), 8
        if len(header) < least:
            length = least  # not even that is there
        if length == 1:
            length, least = int.from_bytes(header[8:], "big"), 16
        elif length == 0:  # to the end of the file
            length = size - start
        if length < least:
            return  # FFmpeg says what is wrong with it
        yield header[4:8], start, length
        start += length


def _check_tables(file: IO[bytes], start: int, length: int, size: int, name: str) -> None:
    """Look for tables anywhere in a box: FFmpeg takes them in places that are no place for them."""
    entries = chunks = widest = 0
    for kind, where, head in _tables(file, start, start + length):
        first, second = (int.from_bytes(head[i : i + 4], "big") for i in (8, 12))
        match kind:
            case b"stsz":  # the size of each sample, or 0 where a table follows, and their number
                entries += second if first else 0
            case b"trun":
                entries += first
            case b"stco" | b"co64":
                chunks += first
            case b"stsc":
                widest = max(widest, _widest_chunk(file, where + 12, first))
            case _:
                entries = _UNBOUNDED
    entries = max(entries, chunks * widest // _SAMPLES_AN_ENTRY)
    if entries > max(_MAX_ENTRIES, size):  # a sample takes a byte at least
        raise AudioFormatError(
            f"{name} promises more sound than it can hold; convert it to WAV, FLAC, OGG or MP3."
        )


def _tables(file: IO[bytes], start: int, end: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Iterate over the name, the position and the first bytes of what look like tables."""
    while start < end:
        count = min(_CHUNK, end - start)
        file.seek(start)
        data = file.read(count + _HEAD)
        for found in _TABLES.finditer(data):
            if found.start() < count:
                head = data[found.start() : found.start() + _HEAD]
                yield found.group(), start + found.start(), head
        start += count


def _widest_chunk(file: IO[bytes], start: int, runs: int) -> int:
    """Return the largest number of samples to a chunk in an `stsc` table."""
    if runs > _MAX_RUNS:
        return _UNBOUNDED
    file.seek(start)
    table = file.read(12 * runs)  # first chunk, samples to a chunk, description
    return max(
        (int.from_bytes(table[i + 4 : i + 8], "big") for i in range(0, len(table), 12)), default=0
    )


def missing_of_matroska(file: IO[bytes], size: int) -> int:
    """Return how many bytes a Matroska or WebM file lacks at its end.

    What a browser records as it goes does not know its length: then the last block tells.
    """
    start = 0
    for _ in range(_MAX_ELEMENTS):
        if start >= size:
            return start - size
        file.seek(start)
        element, length, head = _element(file.read(12))
        if not head:
            return 0 if size - start >= 12 else 1  # noqa: PLR2004 (the longest head of an element)
        start += head
        if element == _SEGMENT and length is not None:
            return start + length - size
        if length is not None:
            start += length
        elif element not in {_SEGMENT, _CLUSTER}:
            return 0  # FFmpeg says what is wrong with it
    return 0


def _element(data: bytes) -> tuple[int, int | None, int]:
    """Return an element's identifier, length and the bytes that those take (RFC 8794, 4 to 6).

    The length is None where it is not known; no bytes are taken by what is no element.
    """
    head = 9 - data[0].bit_length()
    if head > 4 or len(data) <= head:  # noqa: PLR2004 (the longest identifier)
        return 0, None, 0
    width = 9 - data[head].bit_length()
    value = data[head : head + width]
    if width > 8 or len(value) < width:  # noqa: PLR2004 (the longest length)
        return 0, None, 0
    all_ones = (1 << 7 * width) - 1
    length = int.from_bytes(value, "big") & all_ones
    return int.from_bytes(data[:head], "big"), None if length == all_ones else length, head + width
