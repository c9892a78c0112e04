"""Audio.load: every kind of file, and everything that is not one."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from evakit.audio import Audio
from evakit.errors import AudioError, AudioFormatError, EmptyAudioError
from evakit.testing import strategies as make

RATE = 16_000


def noise(seconds=1.0, rate=RATE):
    random = np.random.default_rng(5)
    return Audio(random.uniform(-0.5, 0.5, int(seconds * rate)), rate)


def file_of(samples, rate=RATE, container="WAV", subtype="PCM_16"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def wav_header(size, *, rate=RATE, channels=1, bits=16, riff=None):
    width = channels * bits // 8 & 0xFFFF
    parts = ("<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36 if riff is None else riff, b"WAVE", b"fmt ")
    numbers = (16, 1, channels, rate, rate * width & 0xFFFFFFFF, width, bits, b"data", size)
    return struct.pack(*parts, *numbers)


def refusal(source, kind=AudioFormatError, **options):
    with pytest.raises(AudioError) as caught:
        Audio.load(source, **options)
    sentence = str(caught.value)
    assert type(caught.value) is kind
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# --- what can be read


@pytest.mark.parametrize(
    ("subtype", "error"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 1e-7), ("FLOAT", 0)],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 96_000])
def test_wav_of_any_width_rate_and_channels_is_read_as_mono(subtype, error, channels, rate):
    samples = noise(0.1, rate).samples[:, None] * np.linspace(0.5, 1.0, channels)
    audio = Audio.load(file_of(samples, rate, subtype=subtype))
    assert audio.sample_rate == rate
    assert np.abs(audio.samples - samples.mean(axis=1)).max() <= error + 1e-6


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("WAV", "IMA_ADPCM"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_16"),
    ],
)
def test_common_containers_are_read(container, subtype, tmp_path):
    data = file_of(noise().samples, RATE, container, subtype)
    path = tmp_path / "sound"
    path.write_bytes(data)
    assert Audio.load(path) == Audio.load(data)
    assert Audio.load(data).duration == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, type("Bytes", (bytes,), {})])
def test_a_file_comes_in_any_kind_of_bytes(wrap):
    data = noise().encode()
    assert Audio.load(wrap(data)) == Audio.load(data)


def test_a_memoryview_with_gaps_is_read():
    data = noise().encode()
    gaps = memoryview(bytes(byte for pair in zip(data, data, strict=True) for byte in pair))[::2]
    assert Audio.load(gaps) == Audio.load(data)


def test_a_name_that_is_not_utf8_is_opened(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(noise().encode())
    assert Audio.load(path).duration == 1.0


def test_an_open_file_is_read_from_its_start(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(noise().encode())
    with path.open("rb") as file:
        file.seek(1_000)
        assert Audio.load(file) == Audio.load(path)
        assert not file.closed
    at_end = io.BytesIO(path.read_bytes())
    at_end.seek(0, os.SEEK_END)
    assert Audio.load(at_end) == Audio.load(path)


def test_an_unbuffered_file_that_gives_little_at_a_time_is_read():
    class Trickle(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 100))

    data = noise().encode("flac")
    assert Audio.load(Trickle(data)) == Audio.load(data)


def test_a_pipe_is_read_to_its_end():
    data = noise(0.5).encode()
    read, write = os.pipe()

    def feed():
        with os.fdopen(write, "wb") as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read, "rb") as pipe:
        assert Audio.load(pipe) == Audio.load(data)
    feeder.join()


# --- lengths that are not known, and files that are cut off


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, 0x7FFFF024, 36])
def test_a_streamed_wav_that_does_not_know_its_length_is_read_to_its_end(size, riff):
    whole = noise().encode()
    assert Audio.load(wav_header(size, riff=riff) + whole[44:]) == Audio.load(whole)


def test_a_streamed_flac_that_does_not_know_its_length_is_read_to_its_end():
    whole = noise(20).encode("flac")
    streamed = bytearray(whole)
    streamed[21] &= 0xF0  # the number of samples in STREAMINFO: 36 bits
    streamed[22:26] = bytes(4)
    assert Audio.load(bytes(streamed)) == Audio.load(whole)
    assert Audio.load(bytes(streamed), sample_rate=8_000) == Audio.load(whole).resample(8_000)


def test_a_wav_whose_header_counts_chunks_after_the_sound_is_whole():
    whole = noise().encode()
    size = len(whole) - 44
    notes = b"LIST\x04\x00\x00\x00INFO"
    data = wav_header(size, riff=36 + size + len(notes)) + whole[44:] + notes
    assert Audio.load(data) == Audio.load(whole)


def test_an_empty_wav_with_chunks_after_the_sound_is_empty():
    notes = b"LIST\x04\x00\x00\x00INFO"
    data = wav_header(0, riff=36 + len(notes)) + notes
    assert "no sound at all" in refusal(data, EmptyAudioError)


CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@given(part=st.floats(0.3, 1.0, exclude_max=True))
@settings(max_examples=15, deadline=None)
def test_a_truncated_file_is_refused_with_a_sentence(kind, part):
    data = file_of(noise().samples, RATE, *CONTAINERS[kind])
    assert "cut off" in refusal(data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_file_that_lacks_one_byte_is_refused(kind):
    data = file_of(noise().samples, RATE, *CONTAINERS[kind])
    assert "cut off" in refusal(data[:-1])


def test_a_truncated_mp3_with_a_tag_is_refused():
    data = noise().encode("mp3")
    assert "cut off" in refusal(data[: len(data) // 2])
    assert "cut off" in refusal(b"ID3\x04\x00\x00\x00\x00\x7f\x7f" + bytes(100))


def test_a_damaged_flac_is_refused():
    data = bytearray(noise(5).encode("flac"))
    middle = len(data) // 2
    data[middle : middle + 2_000] = bytes(2_000)
    assert "cut off or damaged" in refusal(bytes(data))


# --- what is not audio


def test_a_str_given_to_load_is_a_path(tmp_path):
    Audio(np.linspace(-0.5, 0.5, 800), 8_000).save(tmp_path / "tone.wav")

    assert Audio.load(str(tmp_path / "tone.wav")) == Audio.load(tmp_path / "tone.wav")


def test_a_missing_file_is_named(tmp_path):
    sentence = refusal(tmp_path / "gone.wav", AudioError)
    assert str(tmp_path / "gone.wav") in sentence
    assert "No such file" in sentence


def test_an_empty_file_is_named(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    assert str(path) in refusal(path, EmptyAudioError)
    refusal(b"", EmptyAudioError)
    refusal(io.BytesIO(), EmptyAudioError)
    refusal(wav_header(0), EmptyAudioError)


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(200))


@pytest.mark.parametrize("data", [b"Hello, world.\n" * 50, PNG, b"\x00", bytes(5_000), b"RIFF"])
def test_what_is_not_audio_is_refused_with_a_sentence(data, tmp_path):
    path = tmp_path / "question.wav"
    path.write_bytes(data)
    sentence = refusal(path)
    assert sentence.startswith(f"{path} is not audio that can be read")
    assert sentence.endswith("convert it to WAV, FLAC, OGG or MP3.")


def test_a_folder_is_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path, AudioError)


def test_a_device_is_refused():
    assert "not a regular file" in refusal(Path(os.devnull), AudioError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    assert "not a regular file" in refusal(path, AudioError)


def test_a_path_that_cannot_be_is_refused():
    refusal(Path("null\0byte.wav"), AudioError)
    refusal(Path("x" * 5_000), AudioError)


@pytest.mark.parametrize("source", [None, 3, [b"RIFF"], np.zeros(3)])
def test_what_is_neither_path_nor_bytes_nor_file_is_refused(source):
    assert "an open binary file" in refusal(source, AudioError)


def test_a_file_open_as_text_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("Hello")
    with path.open() as file:
        assert "mode 'rb'" in refusal(file, AudioError)
    assert "mode 'rb'" in refusal(io.StringIO("Hello"), AudioError)


def test_a_closed_file_is_refused():
    file = io.BytesIO(noise().encode())
    file.close()
    assert "closed file" in refusal(file, AudioError)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("gone")])
@pytest.mark.parametrize("can_seek", [True, False])
def test_a_file_that_fails_half_way_is_refused_with_its_own_error_as_cause(error, can_seek):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 20_000:
                raise error
            return super().read(min(size, 10_000))

        def seekable(self):
            return can_seek

    with pytest.raises(AudioError, match="cannot be read") as caught:
        Audio.load(Failing(noise(2).encode()))
    assert caught.value.__cause__ is error


def test_an_interruption_while_reading_comes_through():
    class Interrupted(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 20_000:
                raise KeyboardInterrupt
            return super().read(min(size, 10_000))

    with pytest.raises(KeyboardInterrupt):
        Audio.load(Interrupted(noise(2).encode()))


# --- samples and headers that lie


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_file_with_a_sample_that_is_no_number_is_refused_by_position(value, tmp_path):
    samples = np.zeros(300_000, np.float32)
    samples[290_000] = value
    path = tmp_path / "a.wav"
    path.write_bytes(file_of(samples, subtype="FLOAT"))
    for rate in (None, 8_000):
        sentence = refusal(path, sample_rate=rate)
        assert str(path) in sentence
        assert f"sample 290000 is {value}" in sentence


def test_infinities_that_cancel_out_between_channels_are_refused():
    samples = np.array([[np.inf, -np.inf]] * 10)
    assert "sample 0 is nan" in refusal(file_of(samples, subtype="FLOAT"))


def test_clipped_samples_are_read():
    samples = np.array([1.0, -1.0, 1.5, -1.2])
    audio = Audio.load(file_of(samples, subtype="FLOAT"))
    assert audio.samples.tolist() == [1.0, -1.0, 1.0, -1.0]


def test_samples_that_were_not_scaled_are_refused():
    sentence = refusal(file_of(np.array([0.0, 12_000.0]), subtype="FLOAT"))
    assert "reach 12000" in sentence


@pytest.mark.parametrize(
    "header",
    [
        {"rate": 0},
        {"rate": 12},
        {"rate": 0xFFFFFFFF},
        {"channels": 0},
        {"channels": 0xFFFF},
        {"bits": 0},
    ],
)
def test_a_header_that_cannot_be_right_is_refused(header):
    refusal(wav_header(2_000, **header) + bytes(2_000))


# --- how long, and how much memory


def test_what_lasts_too_long_is_refused_before_it_is_read():
    assert "longer than 0.5 s" in refusal(noise().encode(), max_duration=0.5)
    flac = bytearray(noise().encode("flac"))
    flac[22:26] = b"\xff" * 4  # promises three days
    assert "longer than 14400 s" in refusal(bytes(flac))
    assert Audio.load(noise().encode(), max_duration=float("inf")).duration == 1.0
    assert Audio.load(noise().encode(), max_duration=1).duration == 1.0


def test_a_stream_that_lasts_too_long_is_left_in_the_middle():
    flac = bytearray(noise(20).encode("flac"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    assert "longer than 17 s" in refusal(bytes(flac), max_duration=17)


@given(audio=make.audio(min_samples=1), rate=make.sample_rates())
@settings(deadline=None)
def test_resampling_while_reading_gives_what_resampling_afterwards_gives(audio, rate):
    data = audio.encode()
    if len(Audio.load(data).resample(rate)):
        assert Audio.load(data, sample_rate=rate) == Audio.load(data).resample(rate)
    else:
        refusal(data, EmptyAudioError, sample_rate=rate)


def test_resampling_while_reading_has_no_seams():
    data = noise(40).encode()
    assert Audio.load(data, sample_rate=22_050) == Audio.load(data).resample(22_050)


def sparse_wav(path, seconds, **layout):
    """A file that is long and costs nothing: a header and a hole."""
    width = layout["channels"] * layout["bits"] // 8
    size = seconds * layout["rate"] * width
    with path.open("wb") as file:
        file.write(wav_header(size, **layout))
        file.truncate(44 + size)
    return path


@pytest.mark.parametrize("target", [None, 16_000])
@pytest.mark.parametrize(
    ("seconds", "layout"),
    [
        (2 * 3600, {"rate": 8_000, "channels": 1, "bits": 8}),
        (10 * 60, {"rate": 96_000, "channels": 2, "bits": 16}),
    ],
)
def test_a_long_file_takes_no_more_memory_than_its_result_and_a_block(
    tmp_path, seconds, layout, target
):
    path = sparse_wav(tmp_path / "long.wav", seconds, **layout)
    tracemalloc.start()
    try:
        audio = Audio.load(path, sample_rate=target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert audio.duration == seconds
    assert peak < audio.samples.nbytes + 8 * 2**20


# --- hostile bytes

SEEDS = [file_of(noise(0.1).samples, RATE, *kind) for kind in CONTAINERS.values()]


@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    length=st.floats(0, 1),
)
@settings(max_examples=200, deadline=2_000)
def test_damaged_files_raise_nothing_but_audio_errors(seed, changes, length):
    data = bytearray(seed)
    for where, byte in changes:
        data[int(where**4 * len(data))] = byte  # mostly in the header
    try:
        Audio.load(bytes(data[: int(len(data) * length)]), max_duration=60)
    except AudioError as error:
        assert str(error).endswith(".")  # noqa: PT017 (it need not be raised)


@given(st.binary(max_size=2_000))
@settings(deadline=2_000)
def test_random_bytes_raise_nothing_but_audio_errors(data):
    with pytest.raises(AudioError):
        Audio.load(data)


@given(
    head=st.sampled_from([b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b".snd"]),
    tail=st.binary(max_size=300),
)
@settings(deadline=2_000)
def test_random_bytes_behind_a_known_start_raise_nothing_but_audio_errors(head, tail):
    with pytest.raises(AudioError):
        Audio.load(head + tail)
