"""Audio as a value: samples, slices, joins, frames, resampling, raw PCM."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evakit.audio import Audio, AudioFormat
from evakit.errors import AudioFormatError, ConfigurationError
from evakit.testing import strategies as make


def tone(seconds=1.0, rate=16_000, hertz=440.0):
    time = np.arange(int(seconds * rate)) / rate
    return Audio(0.5 * np.sin(2 * np.pi * hertz * time), rate)


# --- the value


def test_audio_of_equal_samples_and_rate_is_equal():
    assert tone() == tone()
    assert tone() != tone(hertz=441)
    assert Audio(tone().samples, 8_000) != tone()
    assert tone() != "not audio"


def test_audio_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(tone())


def test_the_repr_is_short_whatever_the_length():
    assert repr(tone(2.5)) == "<Audio 2.50 s at 16000 Hz>"


def test_samples_cannot_be_written_to():
    audio = tone()
    for samples in (
        audio.samples,
        audio[100:200].samples,
        audio.resample(8_000).samples,
        Audio.join([audio, audio]).samples,
        pickle.loads(pickle.dumps(audio)).samples,  # noqa: S301 (our own bytes)
        copy.deepcopy(audio).samples,
        Audio.load(audio.encode()).samples,
        next(audio.frames(100)),
        list(audio.frames(999))[-1],
    ):
        with pytest.raises(ValueError, match="read-only"):
            samples[0] = 0.0
        with pytest.raises(ValueError, match="WRITEABLE"):
            samples.flags.writeable = True


def test_what_happens_to_the_array_later_does_not_reach_the_audio():
    samples = np.zeros(10, np.float32)
    audio = Audio(samples, 16_000)
    samples[:] = 1.0
    assert audio.peak == 0.0


def test_fields_cannot_be_assigned():
    with pytest.raises(AttributeError):
        tone().sample_rate = 8_000


@given(make.audio())
def test_pickling_keeps_audio_as_it_is(audio):
    assert pickle.loads(pickle.dumps(audio)) == audio  # noqa: S301 (our own bytes)


def test_samples_just_beyond_full_scale_are_clipped():
    assert Audio([1.5, -2.0, 0.5], 16_000).samples.tolist() == [1.0, -1.0, 0.5]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([0.0, float("nan")], "sample 1 is nan"),
        ([float("inf")], "sample 0 is inf"),
        ([0.0, float("-inf"), float("nan")], "sample 1 is -inf"),
        ([1e300], "sample 0 is inf"),
        ([0.0, 12_000.0], "reach 12000 where 1 is full scale"),
        (np.zeros(4, np.int16), "not int16; use Audio.from_pcm"),
        (np.zeros((4, 2)), r"not \(4, 2\); mix the channels"),
        (0.5, r"not \(\)"),
        ([[0.0], [0.0, 1.0]], "uneven parts"),
        (["a", "b"], "floating point"),
        (np.zeros(3, complex), "not complex128"),
    ],
)
def test_samples_that_are_no_audio_are_refused_with_a_sentence(samples, words):
    with pytest.raises(AudioFormatError, match=words) as caught:
        Audio(samples, 16_000)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "rate", [0, -1, 999, 768_001, 16_000.5, True, "16000", None, float("nan"), float("inf"), 1e30]
)
def test_a_sample_rate_that_cannot_be_is_refused(rate):
    for call in (
        lambda: Audio([0.0], rate),
        lambda: AudioFormat(rate),
        lambda: tone().resample(rate),
    ):
        with pytest.raises(AudioFormatError, match="sample rate"):
            call()


@pytest.mark.parametrize("rate", [np.int32(16_000), 16_000.0])
def test_a_whole_sample_rate_of_any_type_becomes_an_int(rate):
    assert type(Audio([0.0], rate).sample_rate) is int


def test_peak_is_the_largest_magnitude():
    assert Audio([0.25, -0.75], 8_000).peak == 0.75
    assert Audio([], 8_000).peak == 0.0


# --- slices, joins, frames


@given(make.audio(), st.integers(0, 5_000), st.integers(0, 5_000))
def test_a_slice_holds_the_samples_of_that_slice(audio, start, stop):
    part = audio[start:stop]
    assert part.sample_rate == audio.sample_rate
    assert np.array_equal(part.samples, audio.samples[start:stop])


@given(make.audio(), st.integers(0, 5_000))
def test_two_halves_joined_are_the_whole(audio, cut):
    assert Audio.join([audio[:cut], audio[cut:]]) == audio


@given(make.audio(), st.lists(st.integers(0, 5_000), max_size=4), st.data())
def test_joining_is_associative(audio, cuts, data):
    edges = [0, *sorted(cuts), len(audio)]
    pieces = [audio[a:b] for a, b in itertools.pairwise(edges)]
    middle = data.draw(st.integers(1, len(pieces)))
    left = Audio.join(pieces[:middle])
    assert Audio.join([left, *pieces[middle:]]) == Audio.join(pieces) == audio


def test_a_single_sample_is_not_audio():
    with pytest.raises(TypeError, match="slice"):
        tone()[3]


def test_audio_of_two_rates_cannot_be_joined():
    with pytest.raises(AudioFormatError, match="8000, 16000 Hz"):
        Audio.join([tone(), tone(rate=8_000)])
    with pytest.raises(AudioFormatError, match="8000, 16000 Hz"):
        Audio.join([tone()], sample_rate=8_000)


def test_joining_nothing_needs_a_sample_rate():
    assert Audio.join([], sample_rate=8_000) == Audio([], 8_000)
    with pytest.raises(AudioFormatError, match="pass sample_rate="):
        Audio.join([])
    with pytest.raises(AudioFormatError, match="sample rate"):
        Audio.join([], sample_rate=0)


@given(make.audio(), st.integers(1, 700))
def test_frames_are_the_samples_and_then_silence(audio, size):
    frames = list(audio.frames(size))
    assert len(frames) == -(-len(audio) // size)
    assert all(f.shape == (size,) and f.dtype == np.float32 for f in frames)
    whole = np.concatenate([np.zeros(0, np.float32), *frames])
    assert np.array_equal(whole[: len(audio)], audio.samples)
    assert not whole[len(audio) :].any()


@pytest.mark.parametrize("size", [0, -1])
def test_a_frame_of_no_samples_is_refused_at_once(size):
    with pytest.raises(ConfigurationError, match="at least one sample"):
        tone().frames(size)


# --- resampling


@given(make.audio(), make.sample_rates())
@settings(deadline=None)  # the first filter of each pair of rates has to be designed
def test_resampling_keeps_the_duration(audio, rate):
    there = audio.resample(rate)
    assert there.sample_rate == rate
    assert abs(len(there) - len(audio) * rate / audio.sample_rate) <= 1
    assert there.peak <= 1.0


def test_resampling_to_its_own_rate_is_the_same_audio():
    audio = tone()
    assert audio.resample(16_000) is audio


def test_resampling_keeps_the_sound():
    there_and_back = tone(hertz=1_000).resample(48_000).resample(16_000)
    middle = slice(1_000, -1_000)
    assert np.abs(there_and_back[middle].samples - tone(hertz=1_000)[middle].samples).max() < 1e-3


def test_a_needed_sample_rate_is_asked_for_with_the_fix():
    tone().require_sample_rate(16_000)
    with pytest.raises(AudioFormatError, match=r"use audio\.resample\(8000\)"):
        tone().require_sample_rate(8_000)


# --- raw PCM

# The largest error of one sample, full scale being 1; mu-law and A-law have 8 bits, finer
# near silence and 1/32 apart at full scale (ITU-T G.711).
ERRORS = {"int16": 2**-15, "int32": 2**-23, "float32": 0.0, "mulaw": 1 / 32, "alaw": 1 / 32}


@pytest.mark.parametrize("encoding", ERRORS)
@given(audio=make.audio(), channels=st.integers(1, 6))
@settings(max_examples=40)
def test_pcm_decodes_to_what_was_encoded(encoding, audio, channels):
    pcm = AudioFormat(audio.sample_rate, channels, encoding)
    data = pcm.encode(audio)
    back = pcm.decode(data)
    assert len(back) == len(audio)
    assert back.sample_rate == audio.sample_rate
    rounding = 1e-6 if channels > 1 else 0.0
    assert np.abs(back.samples - audio.samples).max(initial=0) <= ERRORS[encoding] + rounding
    if channels == 1:  # what is quantised already stays as it is
        assert pcm.decode(pcm.encode(back)) == back


def test_pcm_of_known_bytes_has_known_samples():
    data = np.array([0, 16_384, -32_768], "<i2").tobytes()
    assert Audio.from_pcm(data, 8_000).samples.tolist() == [0.0, 0.5, -1.0]
    assert AudioFormat(8_000).encode(Audio([0.0, 0.5, -1.0], 8_000)) == data


def test_channels_are_mixed_to_their_mean():
    data = np.array([0.5, -0.5, 1.0, 0.0], "<f4").tobytes()
    assert Audio.from_pcm(data, 8_000, 2, "float32").samples.tolist() == [0.0, 0.5]


def test_encoding_resamples_to_the_format():
    assert len(AudioFormat(8_000).encode(tone())) == 2 * 8_000


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_pcm_comes_in_any_kind_of_bytes(wrap):
    assert Audio.from_pcm(wrap(bytes(8)), 8_000) == Audio(np.zeros(4), 8_000)


DISCORD = AudioFormat(48_000, channels=2)


@given(audio=make.audio(min_samples=1), cuts=st.lists(st.integers(0, 4_000), max_size=5))
@settings(max_examples=50, deadline=None)
def test_pieces_are_encoded_as_the_whole_is(audio, cuts):
    edges = [0, *sorted(cuts), len(audio)]
    encoder = DISCORD.encoder()
    pieces = [encoder.encode(audio[a:b]) for a, b in itertools.pairwise(edges)]
    assert b"".join(pieces) + encoder.finish() == DISCORD.encode(audio)
    assert encoder.finish() == b""


def test_pieces_of_two_sample_rates_are_encoded_one_after_the_other():
    encoder = DISCORD.encoder()
    one, other = tone(0.5), tone(0.5, 22_050)
    data = encoder.encode(one) + encoder.encode(other) + encoder.finish()
    assert data == DISCORD.encode(one) + DISCORD.encode(other)


def test_stereo_for_a_bot_holds_each_sample_twice_and_comes_back_as_it_was():
    data = DISCORD.encode(tone())
    left, right = np.frombuffer(data, "<i2").reshape(-1, 2).T
    assert len(data) == 4 * 48_000
    assert np.array_equal(left, right)
    assert DISCORD.encode(DISCORD.decode(data)) == data


def test_no_bytes_are_audio_of_no_length():
    assert len(Audio.from_pcm(b"", 8_000)) == 0
    assert AudioFormat(8_000).encode(Audio([], 16_000)) == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((bytes(3), 8_000), "3 bytes are not whole int16 frames of 1"),
        ((bytes(6), 8_000, 2), "6 bytes are not whole int16 frames of 2"),
        ((bytes(4), 8_000, 1, "int24"), "'int24' is not an encoding"),
        ((bytes(4), 8_000, 1, ["int16"]), "is not an encoding"),
        ((bytes(4), 8_000, 0), "cannot have 0 channels"),
        ((bytes(4), 8_000, 1.5), "cannot have 1.5 channels"),
        ((bytes(4), 8_000, True), "cannot have True channels"),
        ((np.array([np.nan], "<f4").tobytes(), 8_000, 1, "float32"), "sample 0 is nan"),
        ((np.array([np.inf, -np.inf], "<f4").tobytes(), 8_000, 2, "float32"), "sample 0 is nan"),
    ],
)
def test_pcm_that_does_not_fit_its_format_is_refused(arguments, words):
    with pytest.raises(AudioFormatError, match=words):
        Audio.from_pcm(*arguments)
