"""Playing through the machine's player: in order, to the end, stopped at once, nothing left."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import evakit
from evakit.cli.playback import Playback, Player, play, players

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the players are shell scripts")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a shell script on PATH; `$FOLDER` in it is the test's folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULSE_SERVER", "unix:nowhere")
    monkeypatch.setenv("FOLDER", str(tmp_path))

    def make(name, script):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def tone(n_samples, rate=8_000):
    return evakit.Audio(np.full(n_samples, 0.5), rate)


STREAM, FILES = Player(("pacat", "{rate}")), Player(("pw-play",), is_streaming=False)


def test_chunks_reach_a_streaming_player_in_order_at_the_rate_of_the_first(program, tmp_path):
    program("pacat", 'echo "$1" > $FOLDER/rate; cat > $FOLDER/sound')
    with Playback(STREAM) as playback:
        for audio in (tone(100), tone(0), tone(50), tone(400, 16_000)):
            playback.add(audio)
        assert playback.finish()

    assert (tmp_path / "rate").read_text() == "8000\n"
    assert len((tmp_path / "sound").read_bytes()) == 2 * (100 + 50 + 200)


def test_a_player_of_files_gets_one_a_chunk_and_they_are_gone_afterwards(program, tmp_path):
    program("pw-play", 'cat "$1" >> $FOLDER/sound; echo "$1" >> $FOLDER/names')
    with Playback(FILES) as playback:
        playback.add(tone(100))
        playback.add(tone(50))
        assert playback.finish()

    assert (tmp_path / "sound").read_bytes() == tone(100).encode() + tone(50).encode()
    assert not [n for n in (tmp_path / "names").read_text().splitlines() if os.path.exists(n)]


def test_what_was_played_is_told_by_the_clock(program):
    program("pacat", "cat > /dev/null")
    now = 100.0
    with Playback(STREAM, clock=lambda: now) as playback:
        assert playback.played == 0
        playback.add(tone(8_000))
        assert playback.played == 0
        now += 0.25
        assert playback.played == 2_000
        playback.add(tone(8_000))
        now += 1.25
        assert playback.played == 12_000
        now += 60  # it was silent while nothing came
        assert playback.played == 16_000
        playback.add(tone(8_000))
        now += 0.5
        assert playback.played == 20_000


@pytest.mark.parametrize("player", [STREAM, FILES])
def test_leaving_the_block_stops_a_player_at_once(program, tmp_path, player):
    os.mkfifo(tmp_path / "begun")
    for name in ("pacat", "pw-play"):
        program(name, "echo $$ > $FOLDER/begun; exec sleep 1000")
    before = threading.active_count()
    with Playback(player) as playback:
        for _ in range(20):
            playback.add(tone(100_000))
        pid = int((tmp_path / "begun").read_text())  # waits for the player

    assert threading.active_count() == before
    with pytest.raises(ProcessLookupError):  # ended, and waited for
        os.kill(pid, 0)


def test_a_player_that_hangs_is_given_up(program):
    program("pacat", "exec sleep 1000")
    now = iter(range(0, 10_000, 20))
    with Playback(STREAM, clock=lambda: float(next(now))) as playback:
        playback.add(tone(10))
        assert not playback.finish()


@pytest.mark.parametrize("player", [STREAM, FILES])
@pytest.mark.parametrize("script", ["exit 3", "head -c 10 > /dev/null; exit 3", None])
def test_a_player_that_fails_says_so(program, monkeypatch, tmp_path, player, script):
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))  # where there is none
    else:
        program("pacat", script)
        program("pw-play", script)
    with Playback(player) as playback:
        for _ in range(10):
            playback.add(tone(50_000))
        assert not playback.finish()


def test_the_next_player_plays_where_the_first_cannot(program, tmp_path):
    program("pacat", "exit 1")
    program("aplay", "cat > $FOLDER/sound")
    assert [player.command[0] for player in players()][:2] == ["pacat", "aplay"]
    assert play(tone(100))
    assert len((tmp_path / "sound").read_bytes()) == 200

    program("aplay", "exit 1")
    program("pw-play", "exit 1")
    program("afplay", "exit 1")
    assert not play(tone(100))


def test_without_a_sound_server_or_card_there_is_no_player(program, monkeypatch, tmp_path):
    program("pacat", "cat > /dev/null")
    assert players()
    monkeypatch.delenv("PULSE_SERVER")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if "no soundcards" in _cards():
        assert players() == ()
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse/native").touch()
    assert players()


def _cards():
    try:
        with open("/proc/asound/cards") as file:
            return file.read()
    except OSError:
        return "no soundcards"
