"""What the headers of audio files say: the kind of file, and whether all of it is there.

Decoders read what is there and say nothing about what is missing.
What may not live here: decoding.
"""

from __future__ import annotations

from typing import IO, Final, Literal

from ._audio_boxes import check_boxes, missing_of_matroska
from .errors import AudioFormatError

__all__ = ["check_complete", "container_of"]

# What programs that write to a pipe put for a length that they do not know: ffmpeg and
# most others, sox and espeak, arecord, GStreamer.
_STREAMED: Final = frozenset({0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0x7FFFFFFF})
_SOUND_CHUNK: Final = {b"WAVE": b"data", b"AIFF": b"SSND", b"AIFC": b"SSND"}
_MAX_CHUNKS: Final = 1_000  # chunks looked at; a hostile file could hold millions
_ID3_HEADER: Final = 10  # bytes of the header, and of the footer, of a tag
_MAX_PAGE: Final = 65_307  # bytes of an Ogg page (RFC 3533, section 6)
_STARTS: Final = {
    b"\x1aE\xdf\xa3": "matroska",  # WebM is Matroska with fewer codecs
    b"#!AMR": "amr",
    b"OggS": "ogg",
    b"caff": "caf",
    b"ID3": "mp3",
}
# MP4 begins with any of these boxes; a recording that was cut in pieces lacks the first.
_BOXES: Final = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip"})


def container_of(file: IO[bytes]) -> str | None:
    """Return the kind of file that FFmpeg may read, by the name of its demuxer; None for others.

    Only what is to be opened by name stands here: FFmpeg, left to guess, also takes a text that
    names other files and addresses for audio.
    """
    file.seek(0)
    magic = file.read(12)
    if magic[4:8] in _BOXES:
        return "mov"
    if magic[:3] == b"ID3" and len(magic) >= _ID3_HEADER:
        file.seek(_id3_length(magic))
        magic = file.read(2) or magic
    if len(magic) > 1 and magic[0] == 0xFF and magic[1] & 0xE0 == 0xE0:  # noqa: PLR2004 (MPEG sync)
        return "mp3" if magic[1] & 0x06 else "aac"  # ADTS is "layer 0" (ISO 13818-7, 6.2.1)
    return next((kind for start, kind in _STARTS.items() if magic.startswith(start)), None)


def check_complete(file: IO[bytes], size: int, name: str) -> tuple[int, bytes] | None:
    """Check that `file` is as long as its header says.

    Returns a position and the bytes to read there instead, where libsndfile would take an
    unknown length for none.

    Raises:
        AudioFormatError: the file is cut off.

    """
    file.seek(0)
    magic = file.read(12)
    patch = None
    missing = 0
    if magic[:4] in {b"RIFF", b"RF64", b"RIFX", b"FORM"}:
        missing, patch = _iff(file, size, magic)
    elif magic[:4] == b".snd":
        start, length = (int.from_bytes(magic[i : i + 4], "big") for i in (4, 8))
        missing = 0 if length in _STREAMED else start + length - size
    elif magic[:4] == b"OggS":
        missing = _ogg(file, size)
    elif magic[:4] == b"\x1aE\xdf\xa3":
        missing = missing_of_matroska(file, size)
    elif magic[4:8] in _BOXES:
        missing = check_boxes(file, size, name)
    elif magic[:3] == b"ID3" or magic[:1] == b"\xff":
        missing = _mp3(file, size, magic)
    if missing > 0:
        raise AudioFormatError(
            f"{name} is cut off: {missing} byte(s) are missing at its end; "
            "get a complete copy of it."
        )
    return patch


def _iff(file: IO[bytes], size: int, magic: bytes) -> tuple[int, tuple[int, bytes] | None]:
    """Look at the chunk of a WAV or AIFF file that holds the sound."""
    order: Literal["little", "big"] = "little" if magic[:4] in {b"RIFF", b"RF64"} else "big"
    start, length = _sound_chunk(file, magic[8:12], order)
    if length in _STREAMED:
        return 0, None
    if length == 0 and 0 < start < size and int.from_bytes(magic[4:8], order) != size - 8:
        # A header that was never completed, not a file without sound.
        return 0, (start - 4, b"\xff" * 4)
    return start + length - size, None


def _sound_chunk(file: IO[bytes], form: bytes, order: Literal["little", "big"]) -> tuple[int, int]:
    """Return where the sound starts and how many bytes it should have; zeros without any."""
    wanted = _SOUND_CHUNK.get(form)
    position, long_length = 12, 0
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8 or wanted is None:  # noqa: PLR2004 (a chunk's name and length)
            break  # libsndfile says what is wrong with it
        length = int.from_bytes(header[4:], order)
        position += 8
        if header[:4] == b"ds64":
            long_length = int.from_bytes(file.read(16)[8:], order)
        if header[:4] == wanted:  # in RF64, a length that needs 64 bits stands in ds64
            return position, long_length if length == 0xFFFFFFFF and long_length else length  # noqa: PLR2004
        position += length + length % 2
    return 0, 0


def _ogg(file: IO[bytes], size: int) -> int:
    """Look at the last page of an Ogg file."""
    start = max(0, size - 2 * _MAX_PAGE)
    file.seek(start)
    tail = file.read(2 * _MAX_PAGE)
    page = tail.rfind(b"OggS")
    if page < 0:
        return 0
    table = page + 27
    segments = tail[table : table + tail[table - 1]] if table <= len(tail) else b""
    if table > len(tail) or len(segments) < tail[table - 1]:
        return max(1, table - len(tail))
    return table + len(segments) + sum(segments) - len(tail)


def _id3_length(header: bytes) -> int:
    """Return how many bytes an ID3v2 tag takes, by its header."""
    length = 0
    for byte in header[6:10]:  # seven bits a byte
        length = length << 7 | byte & 0x7F
    return _ID3_HEADER + length + (_ID3_HEADER if header[5] & 0x10 else 0)


def _mp3(file: IO[bytes], size: int, magic: bytes) -> int:
    """Look at the Xing or Info header of an MP3 file, where it has one."""
    start = 0
    if magic[:3] == b"ID3" and len(magic) >= _ID3_HEADER:
        start = _id3_length(magic)
        if start > size:
            return start - size
    file.seek(start)
    head = file.read(256)
    where = max(head.find(b"Xing"), head.find(b"Info"))
    if head[:1] != b"\xff" or where < 0:
        return 0
    flags = int.from_bytes(head[where + 4 : where + 8], "big")
    if not flags & 2:
        return 0
    where += 8 + 4 * (flags & 1)
    return int.from_bytes(head[where : where + 4], "big") - (size - start)
