"""Audio.encode, Audio.save and AudioWriter: files that appear whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evakit.audio import Audio, AudioWriter
from evakit.errors import AudioFormatError, ConfigurationError, EmptyAudioError, StorageError
from evakit.testing import strategies as make

RATE = 16_000


def tone(seconds=1.0, rate=RATE, hertz=440.0):
    time = np.arange(int(seconds * rate)) / rate
    return Audio(0.5 * np.sin(2 * np.pi * hertz * time), rate)


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


# --- round trips


@pytest.mark.parametrize("kind", ["wav", "flac"])
@given(audio=make.audio(min_samples=1, rates=st.integers(1_000, 48_000)))
@settings(deadline=None)
def test_a_lossless_file_holds_the_audio_to_sixteen_bits(kind, audio):
    back = Audio.load(audio.encode(kind))
    assert back.sample_rate == audio.sample_rate
    assert len(back) == len(audio)
    assert np.abs(back.samples - audio.samples).max() <= 2**-15
    assert Audio.load(back.encode(kind)) == back


@pytest.mark.parametrize("kind", ["ogg", "mp3"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_lossy_file_sounds_alike(kind, rate):
    audio = tone(2.0, rate)
    back = Audio.load(audio.encode(kind))
    assert back.sample_rate == rate
    assert len(back) == len(audio)
    middle = slice(rate // 2, -rate // 2)
    assert np.corrcoef(back[middle].samples, audio[middle].samples)[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [1_000, 7_999, 11_025, 65_535, 96_000, 192_000, 352_800])
def test_every_kind_of_file_takes_odd_sample_rates(kind, rate):
    audio = tone(0.5, rate, hertz=100)
    back = Audio.load(audio.encode(kind))
    assert back.duration == pytest.approx(0.5, abs=0.01)
    if kind in {"wav", "flac"}:
        assert back.sample_rate == rate


@pytest.mark.parametrize("rate", [65_537, 100_003, 768_000])
def test_a_rate_that_flac_cannot_count_is_refused(rate, tmp_path):
    with pytest.raises(AudioFormatError, match=rf"at {rate} Hz; resample it first"):
        tone(0.1, rate).save(tmp_path / "a.flac")
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_the_same_audio_gives_the_same_file_from_save_and_encode(kind, tmp_path):
    audio = tone()
    audio.save(tmp_path / f"a.{kind}")
    saved = (tmp_path / f"a.{kind}").read_bytes()
    if kind == "ogg":  # each Ogg stream has a random serial number
        assert len(saved) == len(audio.encode(kind))
    else:
        assert saved == audio.encode(kind)


def test_ten_minutes_of_ogg_do_not_overflow_the_encoders_stack():
    assert Audio.load(Audio(np.zeros(600 * 8_000), 8_000).encode("ogg")).duration == 600


def test_a_file_of_one_sample_is_a_file():
    for kind in ("wav", "flac", "ogg"):
        assert len(Audio.load(Audio([0.5], RATE).encode(kind))) == 1
    # FFmpeg leaves 529 samples of silence, its own delay, behind what is shorter than a frame.
    assert len(Audio.load(Audio([0.5], RATE).encode("mp3"))) <= 530


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("length", [1_000, 1_152, 1_153, 16_000, 99_999])
def test_an_mp3_is_as_long_as_what_was_written(rate, length):
    assert len(Audio.load(tone(2.5 * length / rate, rate)[:length].encode("mp3"))) == length


@pytest.mark.parametrize("name", ["a.WAV", "a.b.wav", " .wav"])
def test_the_ending_decides_whatever_its_case(name, tmp_path):
    tone().save(tmp_path / name)
    assert Audio.load(tmp_path / name).duration == 1.0


@pytest.mark.parametrize("name", ["a", "a.", "a.txt", ".wav", "a.m4a"])
def test_an_ending_that_names_no_format_is_refused(name, tmp_path):
    with pytest.raises(AudioFormatError, match="use one of wav, flac, ogg, mp3"):
        tone().save(tmp_path / name)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["", "aac", None, ["wav"]])
def test_an_unknown_format_is_refused(kind):
    with pytest.raises(AudioFormatError, match="not a kind of file that evakit writes"):
        tone().encode(kind)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_no_file_is_made_of_no_sound(kind, tmp_path):
    nothing = Audio([], RATE)
    with pytest.raises(EmptyAudioError, match="pass some audio"):
        nothing.encode(kind)
    with pytest.raises(EmptyAudioError, match="pass some audio"):
        nothing.save(tmp_path / f"a.{kind}")
    assert everything_in(tmp_path) == []


# --- the tag of an MP3


def read_id3(data):
    """A strict reader of ID3v2.4 (id3.org, id3v2.4.0-structure): frames, and where sound starts."""
    assert data[:5] == b"ID3\x04\x00"
    assert data[5] == 0  # no flags
    assert all(byte < 0x80 for byte in data[6:10])
    size = sum((byte << 7 * i) for i, byte in enumerate(reversed(data[6:10])))
    frames, position = {}, 10
    while position < 10 + size:
        name = data[position : position + 4].decode("ascii")
        assert name.isalnum()
        length = sum(
            (b << 7 * i) for i, b in enumerate(reversed(data[position + 4 : position + 8]))
        )
        assert length > 0
        assert data[position + 8 : position + 10] == b"\x00\x00"
        frames[name] = data[position + 10 : position + 10 + length]
        position += 10 + length
    assert position == 10 + size
    return frames, position


def test_an_mp3_starts_with_a_well_formed_id3_tag(tmp_path):
    tone().save(tmp_path / "a.mp3")
    data = (tmp_path / "a.mp3").read_bytes()
    frames, start = read_id3(data)
    assert frames == {"TSSE": b"\x03evakit"}  # 3: UTF-8
    assert data[start] == 0xFF  # a frame of MPEG audio follows at once
    assert data[start + 1] & 0xE0 == 0xE0


def test_an_mp3_says_how_long_it_is():
    data = tone().encode("mp3")
    where = max(data.find(b"Xing"), data.find(b"Info"))
    assert int.from_bytes(data[where + 4 : where + 8], "big") & 3 == 3
    assert int.from_bytes(data[where + 12 : where + 16], "big") == len(data) - read_id3(data)[1]


# --- all or nothing


def test_saving_replaces_a_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("something older")
    tone().save(path)
    tone(0.5).save(str(path))
    assert Audio.load(path).duration == 0.5
    assert everything_in(tmp_path) == ["a.wav"]


def test_saving_to_a_link_writes_what_it_points_to(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "a.wav"
    link.symlink_to(tmp_path / "folder" / "b.wav")
    tone().save(link)
    assert link.is_symlink()
    assert Audio.load(tmp_path / "folder" / "b.wav").duration == 1.0


def test_a_saved_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    tone().save(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_longest_name_that_a_folder_takes_can_be_saved_to(tmp_path):
    path = tmp_path / ("x" * 251 + ".wav")
    tone().save(path)
    assert Audio.load(path).duration == 1.0


def places_that_cannot_be_written(folder):
    (folder / "file").touch()
    (folder / "folder.wav").mkdir()
    return {
        "a missing folder": folder / "missing" / "a.wav",
        "below a file": folder / "file" / "a.wav",
        "a folder of that name": folder / "folder.wav",
        "a folder that takes no files": Path("/proc/a.wav"),
        "a name that is too long": folder / ("x" * 300 + ".wav"),
        "a name that cannot be": folder / "null\0byte.wav",
    }


@pytest.mark.parametrize(
    "place",
    [
        "a missing folder",
        "below a file",
        "a folder of that name",
        "a folder that takes no files",
        "a name that is too long",
        "a name that cannot be",
    ],
)
def test_a_place_that_cannot_be_written_is_named(place, tmp_path):
    path = places_that_cannot_be_written(tmp_path)[place]
    before = everything_in(tmp_path)
    with pytest.raises(StorageError) as caught:
        tone().save(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(("create the folder first.", "choose another folder."))
    assert isinstance(caught.value, OSError)
    assert everything_in(tmp_path) == before


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from evakit.audio import Audio, AudioWriter
from evakit.errors import StorageError

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # what a full disk does to a file
noise = Audio(np.random.default_rng(1).uniform(-1, 1, 2_000_000), 16_000)
folder = Path(sys.argv[1])
for kind in ("wav", "flac", "ogg", "mp3"):
    path = folder / f"a.{kind}"
    path.write_bytes(b"older")
    try:
        noise.save(path)
    except StorageError as error:
        print(error)
    try:
        with AudioWriter(path) as writer:
            try:
                for _ in range(3):
                    writer.write(noise)
            except StorageError:
                pass  # a program that goes on must not get half a file
    except StorageError as error:
        print(error)
    assert path.read_bytes() == b"older"
    path.unlink()
assert list(folder.iterdir()) == [], list(folder.iterdir())
noise[:1000].save(folder / "small.wav")  # there is room for this
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits for a process's files")
def test_a_full_disk_leaves_nothing_but_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert "cannot be written (File too large); free some space" in line
        assert str(tmp_path) in line
    assert everything_in(tmp_path) == ["small.wav"]


# --- AudioWriter


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_pieces_make_one_file(kind, tmp_path):
    audio = tone(2.0)
    with AudioWriter(tmp_path / f"a.{kind}") as writer:
        for start in range(0, len(audio), 1_234):
            writer.write(audio[start : start + 1_234])
        assert writer.duration == 2.0
        assert not (tmp_path / f"a.{kind}").exists()
    assert everything_in(tmp_path) == [f"a.{kind}"]
    back, at_once = Audio.load(tmp_path / f"a.{kind}"), Audio.load(audio.encode(kind))
    assert len(back) == len(at_once)
    # Vorbis plans its blocks by the pieces it is given, which is not heard.
    assert np.abs(back.samples - at_once.samples).max() <= (0.02 if kind == "ogg" else 0.0)
    assert writer.duration == 2.0


@given(pieces=st.lists(make.audio(max_samples=500, rates=st.just(RATE)), min_size=1, max_size=5))
def test_a_wav_of_pieces_is_the_pieces_joined(pieces, tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "a.wav"
    whole = Audio.join(pieces)
    try:
        with AudioWriter(path) as writer:
            for piece in pieces:
                writer.write(piece)
    except EmptyAudioError:
        assert not len(whole)
    else:
        assert path.read_bytes() == whole.encode()


def test_pieces_of_another_rate_are_resampled_as_one_stream(tmp_path):
    first, rest = tone(0.5), tone(2.0, 48_000)
    with AudioWriter(tmp_path / "a.wav") as writer:
        writer.write(first)
        for start in range(0, len(rest), 777):
            writer.write(rest[start : start + 777])
        writer.write(first)
    expected = Audio.join([first, rest.resample(RATE), first])
    assert Audio.load(tmp_path / "a.wav") == Audio.load(expected.encode())


def test_a_failing_block_leaves_nothing(tmp_path):
    path = tmp_path / "a.mp3"
    with pytest.raises(KeyboardInterrupt), AudioWriter(path) as writer:
        writer.write(tone())
        assert len(everything_in(tmp_path)) == 1
        raise KeyboardInterrupt
    assert everything_in(tmp_path) == []


def test_a_failing_block_keeps_what_was_there_before(tmp_path):
    tone().save(tmp_path / "a.wav")
    with pytest.raises(RuntimeError), AudioWriter(tmp_path / "a.wav") as writer:
        writer.write(tone(0.5))
        raise RuntimeError
    assert Audio.load(tmp_path / "a.wav").duration == 1.0


def test_a_writer_that_was_given_nothing_says_so(tmp_path):
    with pytest.raises(EmptyAudioError, match=r"no sound to write to .*a\.wav"):
        with AudioWriter(tmp_path / "a.wav"):
            pass
    assert everything_in(tmp_path) == []


def test_empty_pieces_do_not_count(tmp_path):
    with AudioWriter(tmp_path / "a.wav") as writer:
        writer.write(Audio([], 48_000))
        writer.write(tone())
    assert Audio.load(tmp_path / "a.wav").sample_rate == RATE


def test_a_writer_refuses_an_unknown_ending_before_it_opens_anything(tmp_path):
    with pytest.raises(AudioFormatError, match="'txt' is not a kind of file"):
        AudioWriter(tmp_path / "a.txt")


def test_a_missing_folder_is_found_before_anything_is_synthesised(tmp_path):
    with pytest.raises(StorageError, match="create the folder first"):
        AudioWriter(tmp_path / "missing" / "a.wav").__enter__()


def test_writing_outside_of_the_block_is_refused(tmp_path):
    writer = AudioWriter(tmp_path / "a.wav")
    with pytest.raises(ConfigurationError, match="inside the block"):
        writer.write(tone())
    with writer:
        writer.write(tone())
    with pytest.raises(ConfigurationError, match="inside the block"):
        writer.write(tone())


def test_two_writers_of_one_path_do_not_mix(tmp_path):
    path = tmp_path / "a.wav"
    with AudioWriter(path) as one, AudioWriter(path) as two:
        one.write(tone(0.5))
        two.write(tone(1.0))
    assert Audio.load(path).duration == 0.5  # the last to be left
    assert everything_in(tmp_path) == ["a.wav"]
