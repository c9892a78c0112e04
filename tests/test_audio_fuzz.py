"""Hostile files of every kind: an Audio or one of our errors comes of them, and nothing else.

Files are damaged here and decoded in a process of their own, so that a crash or a hang of a
decoder is a failure with the file that caused it. `FUZZ_EXAMPLES=100000 pytest
tests/test_audio_fuzz.py` looks for longer.
"""

from __future__ import annotations

import io
import os
import selectors
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evakit.audio import Audio

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4000"))
PATIENCE = 20.0  # seconds for one example: far more than DECODING_PATIENCE, on a busy machine
MEMORY = 600  # MiB that decoding half a second of sound may make the process grow to

WITH_FFMPEG = [
    ("webm", "libopus", 48_000, {}),
    ("webm", "libopus", 48_000, {"live": "1"}),
    ("ipod", "aac", 44_100, {}),
    ("mp4", "aac", 44_100, {"movflags": "frag_keyframe+empty_moov", "frag_duration": "100000"}),
    ("mp4", "aac", 44_100, {"movflags": "faststart"}),
    ("ipod", "alac", 16_000, {}),
    ("mov", "pcm_s16le", 8_000, {}),
    ("matroska", "flac", 16_000, {}),
    ("3gp", "libopencore_amrnb", 8_000, {}),
    ("amr", "libopencore_amrnb", 8_000, {}),
    ("adts", "aac", 44_100, {}),
    ("matroska", "aac", 44_100, {}),
    ("ogg", "flac", 16_000, {}),
]
WITH_SOUNDFILE = [
    ("WAV", "PCM_16"),
    ("WAV", "GSM610"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "ULAW"),
    ("WAV", "FLOAT"),
    ("AIFF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
# Where headers keep their numbers: overwritten more often than chance would.
NAMES = [
    b"stsz",
    b"stsc",
    b"stco",
    b"stts",
    b"trun",
    b"tfhd",
    b"esds",
    b"mdhd",
    b"elst",
    b"fmt ",
    b"data",
    b"OggS",
    b"STREAMINFO",
    b"OpusHead",
    b"\x1f\x43\xb6\x75",
    b"\x16\x54\xae\x6b",
]
NUMBERS = [0, 1, 2, 255, 0x7FFF, 0xFFFF, 0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]

WORKER = """
import re
import struct
import sys
from pathlib import Path
from evakit.audio import Audio
from evakit.errors import AudioError
source, sink = sys.stdin.buffer, sys.stdout.buffer
while header := source.read(4):
    data = source.read(struct.unpack("<I", header)[0])
    try:
        reply = f"{Audio.load(data, max_duration=60).duration:.3f} s"
    except AudioError as error:
        sentence = str(error)
        reply = "refused" if sentence.endswith(".") and "\\n" not in sentence else repr(error)
    except BaseException as error:
        reply = repr(error)
    # Not ru_maxrss, which a process inherits from the one that started it.
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
    sink.write(f"{peak}|{reply}\\n".encode())
    sink.flush()
"""


class Seeds(list):
    """The files, without their bytes in every report."""

    def __repr__(self):
        return f"<{len(self)} files>"


class Decoder:
    """A process that decodes what it is sent and says what came of it."""

    def __init__(self, folder):
        self._said = (folder / "stderr").open("w+b")
        self._process = None

    def decode(self, data):
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", textwrap.dedent(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        self._process.stdin.write(struct.pack("<I", len(data)) + data)
        self._process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self.close()
                pytest.fail(f"decoding hung for {PATIENCE:g} s")
        line = self._process.stdout.readline().decode()
        if not line:
            status = self._process.wait()
            self.close()
            pytest.fail(f"decoding ended the process with status {status}")
        peak, reply = line.rstrip("\n").split("|", 1)
        if int(peak) > MEMORY:
            self.close()  # the next example starts from nothing
        return int(peak), reply

    def said(self):
        self._said.seek(0)
        said = self._said.read()
        self._said.truncate(0)  # the next example says its own
        return said

    def close(self):
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    decoder = Decoder(tmp_path_factory.mktemp("decoder"))
    yield decoder
    decoder.close()
    decoder._said.close()


@pytest.fixture(scope="module")
def seeds(encode_media):
    """Half a second of sound as a file of every kind."""
    random = np.random.default_rng(7)
    time = np.arange(24_000) / 48_000
    sound = Audio(0.3 * np.sin(2 * np.pi * 300 * time) + random.uniform(-0.2, 0.2, 24_000), 48_000)
    files = Seeds(
        encode_media(sound.resample(rate), container, codec, **options)
        for container, codec, rate, options in WITH_FFMPEG
    )
    for container, subtype in WITH_SOUNDFILE:
        buffer = io.BytesIO()
        samples = sound.resample(16_000).samples
        soundfile.write(buffer, samples, 16_000, format=container, subtype=subtype)
        files.append(buffer.getvalue())
    return files


def places():
    """Where in a file, as a part of its length: mostly near the start, or anywhere."""
    return st.one_of(st.floats(0, 1).map(lambda part: part**4), st.floats(0, 1))


changes = st.one_of(
    st.tuples(st.just("flip"), places(), st.integers(1, 255)),
    st.tuples(st.just("cut"), places()),
    st.tuples(st.just("drop"), places(), st.integers(1, 2_000)),
    st.tuples(st.just("repeat"), places(), st.integers(1, 2_000), st.integers(1, 20)),
    st.tuples(st.just("splice"), places(), st.integers(0, 99), st.integers(1, 4_000)),
    st.tuples(st.just("fill"), places(), st.sampled_from([0, 255]), st.integers(1, 500)),
    st.tuples(st.just("number"), places(), st.sampled_from(NUMBERS), st.booleans()),
    st.tuples(
        st.just("field"),
        st.sampled_from(NAMES),
        st.integers(-4, 40),
        st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1)),
        st.booleans(),
    ),
)


def changed(data, change, seeds):
    kind, where, *rest = change
    if kind == "field":
        found = data.find(where)
        at = max(0, found + rest.pop(0)) if found >= 0 else len(data)
    else:
        at = int(where * len(data))
    new, removed = b"", 0
    match kind, rest:
        case "flip", (mask,):
            new, removed = bytes(byte ^ mask for byte in data[at : at + 1]), 1
        case "cut", ():
            removed = len(data)
        case "drop", (length,):
            removed = length
        case "repeat", (length, times):
            new = data[at : at + length] * times
        case "splice", (number, length):
            other = seeds[number % len(seeds)]
            start = at % len(other)
            new, removed = other[start : start + length], length
        case "fill", (byte, length):
            new, removed = bytes([byte]) * length, length
        case "number" | "field", (number, is_big):
            new, removed = struct.pack(">I" if is_big else "<I", number), 4
    return data[:at] + new + data[at + removed :]


def check(decoder, data):
    peak, reply = decoder.decode(data)
    assert reply == "refused" or reply.endswith(" s"), reply
    assert decoder.said() == b""
    assert peak < MEMORY


def test_the_files_themselves_are_read(decoder, seeds):
    for data in seeds:
        assert 0.4 < float(decoder.decode(data)[1].removesuffix(" s")) < 0.7


@pytest.mark.skipif(sys.platform == "win32", reason="selects on a pipe")
@pytest.mark.timeout(60 + EXAMPLES // 50)
@given(which=st.integers(0, 24), several=st.lists(changes, min_size=1, max_size=4))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_file_is_audio_or_an_audio_error(decoder, seeds, which, several):
    data = seeds[which]
    for change in several:
        data = changed(data, change, seeds)
    check(decoder, data)


@given(start=st.sampled_from(range(25)), length=st.integers(0, 64), tail=st.binary(max_size=2_000))
@settings(max_examples=EXAMPLES // 10, deadline=None)
def test_noise_behind_a_known_start_is_audio_or_an_audio_error(decoder, seeds, start, length, tail):
    check(decoder, seeds[start][:length] + tail)


def test_a_crash_and_a_hang_and_a_log_line_would_be_seen(tmp_path, monkeypatch):
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    for program, words in (
        ("import os; os.abort()", "ended the process with status -6"),
        ("import time; time.sleep(60)", "hung"),
    ):
        monkeypatch.setattr(module, "WORKER", program)
        decoder = Decoder(tmp_path)
        with pytest.raises(pytest.fail.Exception, match=words):
            decoder.decode(b"")
        decoder.close()
        decoder._said.close()
    monkeypatch.setattr(module, "WORKER", "import sys; sys.stderr.write('x'); print('1|refused')")
    monkeypatch.setattr(module, "PATIENCE", 20)
    decoder = Decoder(tmp_path)
    with pytest.raises(AssertionError):
        check(decoder, b"")
    decoder.close()
    decoder._said.close()
