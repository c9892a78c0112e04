"""Audio.load through PyAV: what phones and browsers record, and what is made to do harm."""

from __future__ import annotations

import http.server
import io
import os
import struct
import subprocess
import sys
import textwrap
import threading

import anyio
import av
import jiwer
import numpy as np
import pytest
import soundfile
from whisper_normalizer.english import EnglishTextNormalizer

import evakit
from evakit import _audio_input, _threads
from evakit.audio import Audio
from evakit.errors import AudioError, AudioFormatError, EmptyAudioError
from evakit.testing.fakes import ScriptedSTT

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}
UNKNOWN = b"\x01" + b"\xff" * 7  # a length that is not known, in Matroska


def tone(seconds=1.0, rate=48_000, hertz=440.0):
    time = np.arange(int(seconds * rate)) / rate
    return Audio(0.4 * np.sin(2 * np.pi * hertz * time), rate)


def refusal(source, kind=AudioFormatError, **options):
    with pytest.raises(AudioError) as caught:
        Audio.load(source, **options)
    sentence = str(caught.value)
    assert type(caught.value) is kind, sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def likeness(one, other):
    """The correlation of two recordings at the best of all delays: 1 for the same sound."""
    one, other = (audio.resample(16_000).samples for audio in (one, other))
    size = len(one) + len(other)
    product = np.fft.irfft(np.fft.rfft(one, size) * np.fft.rfft(other, size).conj(), size)
    return float(product.max() / np.linalg.norm(one) / np.linalg.norm(other))


def as_a_browser_records(webm):
    """Take the lengths of the segment and the clusters away, which a browser does not know."""
    for name in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
        at = webm.find(name)
        while at >= 0:
            width = 9 - webm[at + 4].bit_length()
            webm = webm[: at + 4] + UNKNOWN + webm[at + 4 + width :]
            at = webm.find(name, at + 1)
    return webm


# --- what phones, browsers and telephones record

# The container and the codec by FFmpeg's names (or libsndfile's, in capitals), the sample rate,
# and how like the original it is at least: codecs for telephones keep less.
RECORDINGS = {
    "webm-opus": ("webm", "libopus", 48_000, 0.98),
    "mp4-opus": ("mp4", "libopus", 48_000, 0.98),
    "m4a-aac": ("ipod", "aac", 44_100, 0.98),
    "m4a-alac": ("ipod", "alac", 44_100, 0.999),
    "mp4-flac": ("mp4", "flac", 48_000, 0.999),
    "mkv-aac": ("matroska", "aac", 48_000, 0.98),
    "mkv-mp3": ("matroska", "libmp3lame", 48_000, 0.98),
    "mov-pcm": ("mov", "pcm_s16le", 48_000, 0.999),
    "3gp-amr": ("3gp", "libopencore_amrnb", 8_000, 0.65),
    "amr": ("amr", "libopencore_amrnb", 8_000, 0.65),
    "adts-aac": ("adts", "aac", 48_000, 0.98),
    "wav-mp3": ("wav", "libmp3lame", 48_000, 0.98),
    "ogg-flac": ("ogg", "flac", 48_000, 0.999),
    "mp3": ("MP3", "MPEG_LAYER_III", 48_000, 0.98),
    "ogg-vorbis": ("OGG", "VORBIS", 48_000, 0.98),
    "ogg-opus": ("OGG", "OPUS", 48_000, 0.98),
    "wav-gsm": ("WAV", "GSM610", 8_000, 0.9),
    "wav-mulaw": ("WAV", "ULAW", 8_000, 0.99),
    "wav-alaw": ("WAV", "ALAW", 8_000, 0.99),
    "wav-adpcm": ("WAV", "IMA_ADPCM", 8_000, 0.98),
    "wav-ms-adpcm": ("WAV", "MS_ADPCM", 8_000, 0.98),
    "caf-alac": ("CAF", "ALAC_16", 48_000, 0.999),
    "aiff": ("AIFF", "PCM_16", 48_000, 0.999),
    "flac": ("FLAC", "PCM_16", 48_000, 0.999),
}


@pytest.fixture(scope="module")
def speech(clips):
    return clips["en/quick_brown_fox"][0]


@pytest.fixture(scope="module")
def record(encode_media, speech):
    """A function that makes the recording of a name, of real speech or of what is given."""

    def make(name, audio=speech):
        container, codec, rate, _ = RECORDINGS[name]
        audio = audio.resample(rate)
        if container.islower():
            return encode_media(audio, container, codec)
        buffer = io.BytesIO()
        soundfile.write(buffer, audio.samples, rate, format=container, subtype=codec)
        return buffer.getvalue()

    return make


@pytest.mark.parametrize("name", RECORDINGS)
def test_speech_sounds_as_it_did_before_it_was_recorded(name, record, speech):
    heard = Audio.load(record(name))

    assert likeness(heard, speech.resample(RECORDINGS[name][2])) >= RECORDINGS[name][3]
    assert heard.sample_rate == RECORDINGS[name][2]
    assert heard.duration == pytest.approx(speech.duration, abs=0.1)  # codecs fill up a frame


def test_what_a_browser_records_has_no_lengths_and_is_read(encode_media, speech):
    streamed = as_a_browser_records(encode_media(speech.resample(48_000), "webm", "libopus"))

    assert UNKNOWN in streamed
    assert Audio.load(streamed).duration == pytest.approx(speech.duration, abs=0.1)
    assert likeness(Audio.load(streamed), speech) > 0.98


def test_a_webm_written_to_a_pipe_is_read(encode_media, speech):
    streamed = encode_media(speech.resample(48_000), "webm", "libopus", live="1")

    assert likeness(Audio.load(streamed), speech) > 0.98


@pytest.mark.parametrize("options", [FRAGMENTS, {"movflags": "faststart"}, {}])
def test_an_mp4_is_read_in_fragments_and_with_its_index_at_either_end(options, encode_media):
    data = encode_media(tone(3), "mp4", "aac", **options)

    assert data.find(b"moov") < data.find(b"mdat") or not options
    assert likeness(Audio.load(data), tone(3)) > 0.99


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_the_sound_of_a_video_is_read(container, encode_media):
    data = encode_media(tone(), container, "aac", video="mpeg4")

    assert likeness(Audio.load(data), tone()) > 0.99


def test_a_file_comes_as_a_path_as_an_open_file_and_through_a_pipe(record, tmp_path):
    data = record("webm-opus")
    path = tmp_path / "recording.wav"  # the ending says nothing
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(100)
        assert Audio.load(file) == Audio.load(path) == Audio.load(data)
        assert not file.closed
    read, write = os.pipe()

    def feed():
        with os.fdopen(write, "wb") as file:
            file.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read, "rb") as pipe:
        assert Audio.load(pipe) == Audio.load(data)
    feeder.join()


def test_a_sample_rate_that_is_asked_for_is_given(record):
    data = record("webm-opus")
    assert Audio.load(data, sample_rate=16_000).sample_rate == 16_000
    assert likeness(Audio.load(data, sample_rate=16_000), Audio.load(data)) > 0.999


@pytest.mark.parametrize("layout", ["stereo", "5.1", "7.1"])
@pytest.mark.parametrize("codec", ["aac", "flac", "pcm_s16le"])
def test_channels_are_mixed(codec, layout, encode_media):
    data = encode_media(tone(), "matroska", codec, layout)
    heard = Audio.load(data)

    assert likeness(heard, tone()) > 0.99
    assert heard.peak == pytest.approx(0.4, abs=0.1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["webm-opus", "m4a-aac", "3gp-amr", "wav-gsm"])
def test_what_is_said_in_a_recording_is_understood(name, record, clips, whisper):
    said = whisper.respond(record(name)).heard

    normalize = EnglishTextNormalizer()
    assert jiwer.wer(normalize(clips["en/quick_brown_fox"][1]), normalize(said)) <= 0.12


@pytest.fixture(scope="module")
def whisper():
    with evakit.Conversation(stt="whisper:base", llm=None, tts=None, language="en") as listener:
        yield listener


# --- what is not whole

CUT = ["webm-opus", "m4a-aac", "mp4-flac", "mov-pcm", "3gp-amr", "amr", "adts-aac", "mkv-mp3"]


@pytest.mark.parametrize("missing", [1, 20, 0.3, 0.6])
@pytest.mark.parametrize("name", CUT)
def test_a_file_that_is_cut_off_is_refused(name, missing, record):
    data = record(name, tone(2))
    kept = len(data) - missing if missing >= 1 else int(len(data) * (1 - missing))

    assert "is cut off" in refusal(data[:kept])


def test_a_browsers_recording_that_is_cut_off_is_refused(encode_media):
    data = as_a_browser_records(encode_media(tone(2), "webm", "libopus"))

    for missing in (1, 2, 20, 1_000):
        assert "is cut off" in refusal(data[:-missing])


def test_a_recording_without_its_index_is_refused(record):
    data = record("m4a-aac")
    assert "its index" in refusal(data[: data.index(b"moov") - 4])


def test_a_damaged_recording_is_refused(record):
    data = bytearray(record("m4a-aac", tone(5)))
    middle = data.index(b"mdat") + 20_000
    data[middle : middle + 4_000] = b"\xff" * 4_000
    assert "cut off or damaged" in refusal(bytes(data))


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_video_without_sound_is_refused(container, encode_media):
    data = encode_media(None, container, "aac", video="mpeg4")
    assert "no track of sound" in refusal(data, EmptyAudioError)


# --- what is made to do harm


@pytest.fixture
def listener():
    """A server on this machine, and the paths that it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
    "#EXTINF:2,\n{url}/a.aac\n#EXTINF:2,\nfile:{path}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{path}'\nfile '{url}/b.wav'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{url}/c.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "pls": "[playlist]\nFile1={path}\nNumberOfEntries=1\n",
}


@pytest.mark.parametrize("disguise", [b"", b"ID3\x04\x00\x00\x00\x00\x00\x00", b"#!AMR\n"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_opens_neither_files_nor_addresses(kind, disguise, listener, tmp_path):
    url, asked = listener
    secret = tmp_path / "secret.wav"
    tone().save(secret)
    playlist = tmp_path / f"question.{kind}"
    text = PLAYLISTS[kind].format(url=url, path=secret).encode()
    playlist.write_bytes(disguise + text)

    refusal(playlist)
    refusal(playlist.read_bytes())
    assert asked == []


def test_the_playlists_would_be_followed_if_ffmpeg_were_left_to_guess(listener, tmp_path):
    url, asked = listener
    secret = tmp_path / "secret.wav"
    tone().save(secret)
    hls, concat = tmp_path / "a.m3u8", tmp_path / "a.ffconcat"
    hls.write_text(PLAYLISTS["hls"].format(url=url, path=secret))
    concat.write_text(f"ffconcat version 1.0\nfile '{secret.name}'\n")
    with pytest.raises(av.FFmpegError):
        av.open(str(hls), options={"protocol_whitelist": "file,http,tcp"})
    assert asked == ["/a.aac"]
    with av.open(str(concat)) as file:
        assert file.streams.audio[0].codec_context.name == "pcm_s16le"


def test_an_mp4_that_says_its_sound_is_elsewhere_opens_nothing(encode_media, listener):
    url, asked = listener
    data = bytearray(encode_media(tone(), "mov", "pcm_s16le"))
    at = data.index(b"dref") + 4
    there = url.encode() + b"/sound\0"
    entry = struct.pack(">I4sI", 12 + len(there), b"url ", 0) + there
    assert bytes(data[at + 12 : at + 16]) in {b"alis", b"url "}
    length = int.from_bytes(data[at + 8 : at + 12], "big")
    data[at + 8 : at + 8 + length] = entry
    grown = len(entry) - length
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        where = data.rindex(name, 0, at + 4) - 4
        size = int.from_bytes(data[where : where + 4], "big") + grown
        data[where : where + 4] = size.to_bytes(4, "big")

    assert likeness(Audio.load(bytes(data)), tone()) > 0.999  # what is in this file itself
    assert asked == []


# Numbers that cost nothing to write, of which FFmpeg would make tables that fill the memory.
def promising(data, table, *numbers):
    at = data.index(table) + 8
    packed = struct.pack(f">{len(numbers)}I", *numbers)
    return data[:at] + packed + data[at + len(packed) :]


def test_an_mp4_that_promises_more_samples_than_it_has_bytes_is_refused(encode_media):
    whole = encode_media(tone(), "ipod", "aac")
    equal = promising(promising(whole, b"stsz", 1, 200_000_000), b"stsc", 1, 1, 200_000_000, 1)
    pieces = encode_media(tone(), "mp4", "aac", **FRAGMENTS)
    at = pieces.index(b"trun") + 4
    fragment = pieces[:at] + struct.pack(">II", 1, 150_000_000) + pieces[at + 8 :]

    for bomb in (equal, fragment, whole.replace(b"udta", b"cmov")):
        assert "promises more sound" in refusal(bomb)
    assert Audio.load(whole).duration == pytest.approx(1, abs=0.05)


def test_a_file_with_ten_thousand_tracks_is_refused(encode_media):
    data = encode_media(tone(), "mp4", "aac", movflags="faststart")
    start = data.index(b"trak") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    track = data[start : start + length]
    moov = data.index(b"moov") - 4
    grown = int.from_bytes(data[moov : moov + 4], "big") + 9_999 * length
    data = (
        data[:moov]
        + grown.to_bytes(4, "big")
        + data[moov + 4 : start]
        + track * 10_000
        + (data[start + length :])
    )
    refusal(data)


def test_a_wav_whose_notes_claim_to_be_huge_is_refused_before_ffmpeg_believes_it(encode_media):
    data = encode_media(tone(rate=8_000), "wav", "g726")
    at = data.index(b"LIST") + 4
    assert "not audio that can be read" in refusal(data[:at] + b"\xff\xff\xff\x6f" + data[at + 4 :])


def test_a_huge_cover_picture_is_passed_over(encode_media):
    data = encode_media(tone(), "ipod", "aac")
    picture = b"\xff\xd8\xff\xe0" + bytes(30_000_000)
    box = b""
    for name, head in ((b"data", bytes(8)), (b"covr", b""), (b"ilst", b""), (b"udta", b"")):
        content = head + (box or picture)
        box = struct.pack(">I4s", 8 + len(content), name) + content
    moov = data.index(b"moov") - 4
    grown = int.from_bytes(data[moov : moov + 4], "big") + len(box)
    data = data[:moov] + grown.to_bytes(4, "big") + data[moov + 4 :] + box

    assert Audio.load(data).duration == pytest.approx(1, abs=0.05)


def test_sound_that_lasts_too_long_is_left_in_the_middle(record):
    data = record("webm-opus", tone(20))
    assert "longer than 10 s" in refusal(data, max_duration=10)
    assert Audio.load(data, max_duration=20.1).duration == pytest.approx(20, abs=0.1)


def test_a_sample_rate_that_changes_in_mid_stream_is_followed(encode_media):
    pieces = [encode_media(tone(rate=rate), "adts", "aac") for rate in (48_000, 16_000, 48_000)]
    heard = Audio.load(b"".join(pieces))

    assert heard.sample_rate == 48_000
    assert heard.duration == pytest.approx(3, abs=0.3)
    steady = heard[72_000:96_000]  # from the piece at 16 kHz: the same pitch, not three times it
    assert likeness(steady, tone(0.5)) > 0.99


def test_the_channels_may_change_in_mid_stream(encode_media):
    pieces = [encode_media(tone(), "adts", "aac", layout) for layout in ("mono", "stereo")]
    heard = Audio.load(b"".join(pieces))
    assert heard.duration == pytest.approx(2, abs=0.1)
    for part in (heard[4_800:43_200], heard[52_800:91_200]):
        assert likeness(part, tone(0.8)) > 0.99


@pytest.mark.parametrize("container", ["WAV", "CAF"])
def test_sixty_four_channels_are_mixed(container):
    buffer = io.BytesIO()
    frames = np.repeat(tone().samples[:, None], 64, axis=1)
    soundfile.write(buffer, frames, 48_000, format=container, subtype="FLOAT")
    assert likeness(Audio.load(buffer.getvalue()), tone()) > 0.999


def test_more_planes_than_pyav_can_count_are_refused(encode_media):
    family = {"mapping_family": "255"}
    data = encode_media(tone(), "matroska", "libopus", "hexadecagonal", codec_options=family)
    assert "16 channels" in refusal(data)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_no_number_is_refused(value, encode_media):
    data = bytearray(encode_media(tone(), "mov", "pcm_f32le"))
    at = data.index(b"mdat") + 4 + 4_000
    data[at : at + 4] = np.float32(value).tobytes()
    assert f"sample 1000 is {value}" in refusal(bytes(data))


@pytest.mark.parametrize("name", ["webm-opus", "mp3"])
def test_decoding_that_takes_too_long_is_given_up(name, record, monkeypatch):
    monkeypatch.setattr(_audio_input, "DECODING_PATIENCE", -1e9)
    assert "takes far longer to read" in refusal(record(name))


@pytest.mark.parametrize("name", ["webm-opus", "m4a-aac"])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("gone")])
@pytest.mark.parametrize("place", [0, 100_000])
def test_a_file_that_fails_is_refused_with_its_own_error_as_cause(name, error, place, record):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if size > 1_000 and self.tell() >= place:  # not what is read of headers
                raise error
            return super().read(size)

    with pytest.raises(AudioError, match="cannot be read") as caught:
        Audio.load(Failing(record(name, tone(30))))
    assert caught.value.__cause__ is error


def test_an_interruption_while_reading_comes_through(record):
    class Interrupted(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 10_000:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        Audio.load(Interrupted(record("webm-opus", tone(5))))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files through /proc")
def test_nothing_is_left_open(record, tmp_path):
    path = tmp_path / "a.webm"
    path.write_bytes(record("webm-opus"))
    cut = tmp_path / "cut.amr"
    cut.write_bytes(record("amr")[:-3])
    Audio.load(path)
    before = os.listdir("/proc/self/fd"), threading.active_count()
    for _ in range(20):
        Audio.load(path)
        refusal(cut)
        refusal(path, max_duration=0.1)
    assert (os.listdir("/proc/self/fd"), threading.active_count()) == before


# --- beside an event loop


async def test_decoding_stops_when_its_caller_is_cancelled(record):
    data = record("m4a-aac", tone(60))
    token = anyio.lowlevel.current_token()
    under_way = anyio.Event()
    read = []

    class Watched(io.BytesIO):
        def read(self, size=-1):
            read.append(len(chunk := super().read(size)))
            if sum(read) > len(data) // 3 and not _threads.stop_asked():
                anyio.from_thread.run_sync(under_way.set, token=token)
                while not _threads.stop_asked():
                    pass  # until the event loop has told this thread
            return chunk

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_threads.run, Audio.load, Watched(data))
        await under_way.wait()
        tasks.cancel_scope.cancel()
    assert sum(read) < len(data)


async def test_a_turn_reads_its_file_in_another_thread_than_the_event_loops(record):
    threads = set()

    class Watched(io.BytesIO):
        def read(self, size=-1):
            threads.add(threading.get_ident())
            return super().read(size)

    with pytest.raises(AudioError):
        async with evakit.AsyncConversation(
            stt=ScriptedSTT(["Yes."]), llm=None, tts=None
        ) as listener:
            await listener.respond(Watched(record("webm-opus")[:-1]))
    assert threads
    assert threading.get_ident() not in threads


# --- PyAV missing, and PyAV quiet


def run(program, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_without_pyav_the_error_says_what_to_install_and_the_rest_works(record, tmp_path):
    for name in ("webm-opus", "ogg-flac", "wav-gsm"):
        (tmp_path / name).write_bytes(record(name))
    program = """
        import sys
        from pathlib import Path
        sys.modules["av"] = None
        from evakit import Audio
        from evakit.errors import AudioFormatError
        folder = Path(sys.argv[1])
        assert Audio.load(folder / "wav-gsm").duration > 1
        for name in ("webm-opus", "ogg-flac"):
            try:
                Audio.load(folder / name)
            except AudioFormatError as error:
                print(error)
        """
    webm, ogg = run(program, tmp_path).stdout.splitlines()
    fix = "install it with: pip install av (the extra evakit-voice[media]), or convert the file"
    assert webm.startswith(f"{tmp_path / 'webm-opus'} is a WebM or Matroska file, which needs PyAV")
    assert fix in webm
    assert "is an OGG file with a rare codec, which needs PyAV" in ogg
    assert fix in ogg


def test_pyav_is_imported_for_no_file_that_libsndfile_reads_well(record, tmp_path):
    names = ["wav-gsm", "flac", "ogg-opus", "aiff", "webm-opus"]
    for name in names:
        (tmp_path / name).write_bytes(record(name))
    program = """
        import sys
        from pathlib import Path
        from evakit import Audio
        folder, *names, last = sys.argv[1:]
        for name in names:
            Audio.load(Path(folder, name))
        assert "av" not in sys.modules
        Audio.load(Path(folder, last))
        assert "av" in sys.modules
        """
    run(program, tmp_path, *names)


@pytest.mark.parametrize("name", ["mp3", "caf-alac"])
def test_mp3_and_caf_are_read_without_pyav_too(name, record, monkeypatch):
    data = record(name)
    with_pyav = Audio.load(data)
    monkeypatch.setitem(sys.modules, "av", None)
    assert likeness(Audio.load(data), with_pyav) > 0.999


def test_nothing_is_said_on_the_terminal(record, tmp_path):
    names = ["webm-opus", "m4a-aac", "amr", "adts-aac", "mp3", "caf-alac", "ogg-vorbis"]
    for name in names:
        (tmp_path / name).write_bytes(record(name, tone(2)))
    program = """
        import sys
        from pathlib import Path
        from evakit import Audio
        from evakit.errors import AudioError
        for path in Path(sys.argv[1]).iterdir():
            data = bytearray(path.read_bytes())
            Audio.load(bytes(data))
            for at in range(0, len(data), len(data) // 50):
                data[at] ^= 0xFF
                try:
                    Audio.load(bytes(data))
                except AudioError:
                    pass
        """
    done = run(program, tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
