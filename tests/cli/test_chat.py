"""`evakit chat`: in a real terminal, in a pipe, with a player that stands for the speaker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import evakit

from .conftest import install

PLUGIN = """
import os
from pathlib import Path

import anyio
import evakit
from evakit.testing.fakes import ScriptedLLM, ToneTTS


class Endless(ScriptedLLM):
    def __init__(self):
        super().__init__(" ".join(f"word{n}" for n in range(100_000)), delay=0.02)


class Waits(ScriptedLLM):
    '''Ends its reply when what was said names a file that exists.'''

    def reply(self, request):
        self.script.append(["One is here. Two", "", " too.", evakit.abc.Finish("stop")])
        return _Waiting(super().reply(request), Path(request.text))


class Silent(ScriptedLLM):
    '''Makes a file of the name that was said, and never answers.'''

    def reply(self, request):
        Path(request.text).touch()
        return super().reply(request)


class Hoarse(evakit.abc.BlockingTTS):
    def synthesize(self, text, options):
        raise ValueError("no voice today")


class _Waiting(evakit.abc.LLMStream):
    def __init__(self, stream, path):
        self._stream, self._path = stream, path

    async def __anext__(self):
        piece = await anext(self._stream)
        while piece == "" and not self._path.exists():
            await anyio.sleep(0.01)
        return piece


@evakit.hookimpl
def evakit_backends():
    yield evakit.BackendSpec(kind="llm", name="endless", factory=Endless)
    yield evakit.BackendSpec(kind="llm", name="waits", factory=Waits)
    yield evakit.BackendSpec(kind="llm", name="silent", factory=silent)
    yield evakit.BackendSpec(kind="llm", name="echo", factory=echo)
    yield evakit.BackendSpec(kind="llm", name="fails-once", factory=fails_once)
    yield evakit.BackendSpec(kind="tts", name="quick", factory=quick)
    yield evakit.BackendSpec(kind="tts", name="slow", factory=slow)
    yield evakit.BackendSpec(kind="tts", name="hoarse", factory=Hoarse)


def silent():
    return Silent(delay=10_000)


def echo():
    return ScriptedLLM()


def fails_once():
    return ScriptedLLM(ValueError("too hot"), "Better now.")


def quick():
    return ToneTTS(seconds_per_character=0.01)


def slow():
    return ToneTTS(seconds_per_character=2.0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with scripted backends that a process of its own finds."""
    folder = tmp_path_factory.mktemp("chat")
    install(folder, "evakit-chatty", {"evakit_chatty.py": PLUGIN}, "[evakit]\nc = evakit_chatty\n")
    return folder


@pytest.fixture
def environment(folder, tmp_path):
    """The environment of the command: no speaker, no settings of this folder."""
    own = {"PULSE_SERVER", "XDG_RUNTIME_DIR", "NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    return {
        **{name: value for name, value in os.environ.items() if name not in own},
        "PYTHONPATH": str(folder),
        "TERM": "xterm",
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "EVAKIT_HOME": str(evakit.ModelStore().home),
    }


@pytest.fixture
def player(tmp_path, environment):
    """Make a program that a machine with a sound server would play with."""

    def make(script):
        program = tmp_path / "bin" / "pacat"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        environment["PULSE_SERVER"] = "unix:nowhere"

    return make


COMMAND = [sys.executable, "-m", "evakit", "chat"]


@pytest.fixture
def chat(environment, tmp_path):
    """Run a chat on a text: status, standard output, standard error."""

    def call(text, *arguments):
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=text if isinstance(text, bytes) else text.encode(),
            capture_output=True,
            check=False,
            env=environment,
            cwd=tmp_path,
            timeout=50,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return call


ECHO = ("--llm", "echo", "--tts", "quick")
NO_SPEAKER = "No speaker was found, so replies come as text.\n"


def test_in_a_pipe_each_line_is_answered_with_a_line(chat):
    status, out, err = chat("Hello\n\n  How are you?  ", *ECHO)

    assert status == 0
    assert out == "You said: Hello\nYou said: How are you?\n"
    assert err == NO_SPEAKER


def test_without_speech_no_speaker_is_missed(chat):
    assert chat("Hi\n", *ECHO, "--no-speech") == (0, "You said: Hi\n", "")
    assert chat("Hi\n", "--llm", "echo", "--tts", "no-such", "--voice", "x", "--no-speech")[0] == 0


def test_json_is_one_object_a_line(chat, tmp_path):
    file = tmp_path / "replies.wav"
    status, out, err = chat("Hello\nAgain\n", *ECHO, "--json", "-o", file)

    assert (status, err) == (0, "")
    first, second = [json.loads(line) for line in out.splitlines()]
    timings = first.pop("timings")
    assert first == {
        "said": "Hello",
        "reply": "You said: Hello",
        "played": "You said: Hello",
        "interrupted": False,
        "speech_s": 0.16,
    }
    assert timings["transcription_s"] is None
    assert 0 <= timings["first_token_s"] <= timings["first_audio_s"] <= timings["total_s"]
    assert second["reply"] == "You said: Again"
    # The speech of all replies, one after the other.
    both = first["speech_s"] + second["speech_s"]
    assert evakit.Audio.load(file).duration == pytest.approx(both, abs=0.001)


def test_with_json_and_no_file_nothing_is_synthesised(chat):
    _, out, err = chat("Hello\n", *ECHO, "--json")

    assert err == ""
    assert json.loads(out)["speech_s"] is None


def test_a_chat_without_speech_leaves_no_file_of_it(chat, tmp_path):
    status, out, err = chat("", *ECHO, "-o", tmp_path / "none.wav")

    assert (status, out, err) == (0, "", "")
    assert not (tmp_path / "none.wav").exists()


def test_a_file_for_speech_without_speech_is_wrong_usage(chat):
    status, _, err = chat("", *ECHO, "--no-speech", "-o", "x.wav")

    assert status == 2
    assert "--output is for speech" in err


def test_a_turn_that_fails_is_one_sentence_and_the_chat_goes_on(chat, tmp_path):
    history = tmp_path / "history.json"
    backends = ("--llm", "fails-once", "--tts", "quick", "--no-speech")
    status, out, err = chat("One\nTwo\n", *backends, "--history", history)

    assert status == 1
    assert out == "Better now.\n"
    assert len(err.splitlines()) == 1
    assert err.startswith("Error: fails-once failed while")
    assert "too hot" in err
    assert [m.content for m in evakit.History.from_json(history.read_text())][-1] == "Better now."

    _, out, err = chat("One\nTwo\n", *backends, "--json")
    failed, fine = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert set(failed) == {"said", "error"}
    assert "too hot" in failed["error"]
    assert fine["reply"] == "Better now."


def test_speech_that_fails_ends_the_line_before_it_is_said(chat, tmp_path):
    file = tmp_path / "none.wav"
    status, out, err = chat("Hi\nHo\n", "--llm", "echo", "--tts", "hoarse", "-o", file)

    assert status == 1
    assert out == "You said: Hi\nYou said: Ho\n"
    assert [line[:12] for line in err.splitlines()] == ["Error: hoars"] * 2
    assert not file.exists()


def test_commands_change_what_comes_next_and_say_what_they_cannot(chat, tmp_path):
    lines = ["/voice ton", "/language en", "/voice", "/language", "/voice none-such"]
    lines += ["/language 7", "/wrong", "/quit", "Hi"]
    status, out, err = chat("\n".join(lines), *ECHO, "-o", tmp_path / "x.wav", "--voice", "tone")

    assert (status, out) == (1, "")
    said = err.splitlines()
    assert len(said) == 4, err
    assert "en" in said[0]  # `ton` speaks French
    assert "no voice 'none-such'" in said[1]
    assert "/language" in said[2]
    assert "no command /wrong; /help names" in said[3]


def test_a_voice_is_no_choice_where_nothing_is_spoken(chat):
    _, _, err = chat("/voice tone\n", *ECHO, "--no-speech")
    assert err == "Error: Nothing is spoken in this chat, so it has no voice.\n"


def test_help_tells_of_the_commands(chat):
    status, out, err = chat("/help\n", *ECHO, "--no-speech")

    assert (status, out) == (0, "")
    for command in ("/voice", "/language", "/system", "/quit"):
        assert command in err


@pytest.mark.parametrize("text", ["[bold]x[/bold] :smile: [/i]", "a\tb", "日本 é", "word " * 60])
def test_a_reply_is_shown_as_it_is(chat, text):
    assert chat(text, *ECHO, "--no-speech") == (0, f"You said: {text.strip()}\n", "")


def test_a_reply_cannot_command_the_terminal(chat):
    _, out, _ = chat("a \x1b]0;owned\x07 \x1b[2J \x9b1m\r \x00 b", *ECHO, "--no-speech")

    assert out == "You said: a \ufffd]0;owned\ufffd \ufffd[2J \ufffd1m\ufffd \ufffd b\n"


def test_bytes_that_are_no_text_are_read_as_far_as_they_go(chat):
    status, out, err = chat(b"caf\xe9\r\n", *ECHO, "--no-speech", "--json")

    assert (status, err) == (0, "")
    assert json.loads(out)["said"] == "caf\ufffd"


@pytest.mark.skipif(os.name != "posix", reason="the shell closes standard input")
def test_without_an_input_there_is_nothing_to_do(environment, tmp_path):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, *ECHO, "--no-speech"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_history_is_kept_and_gone_on_from(chat, tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    for said in ("My name is Ann.", "And yours?"):
        assert chat(said, *ECHO, "--no-speech", "--history", link)[0] == 0

    history = evakit.History.from_json(real.read_text("utf-8"))
    assert link.is_symlink()
    assert [message.content for message in history] == [
        "My name is Ann.",
        "You said: My name is Ann.",
        "And yours?",
        "You said: And yours?",
    ]
    assert stat.S_IMODE(real.stat().st_mode) == 0o600  # it holds what was said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "real.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'[{"role": "king"}]'])
def test_a_history_that_is_none_is_refused_and_left_as_it_is(chat, tmp_path, content):
    history = tmp_path / "history.json"
    history.write_bytes(content)
    status, out, err = chat("Hi\n", *ECHO, "--no-speech", "--history", history)

    assert (status, out) == (1, "")
    assert f"The history {history} cannot be read" in err
    assert len(err.splitlines()) == 1
    assert history.read_bytes() == content


# One without bounds is to fail here, and to harm nobody.
IN_LITTLE_MEMORY = ["sh", "-c", 'ulimit -v 4194304; exec "$@"', "sh"]


@pytest.mark.skipif(os.name != "posix", reason="there are no files of these kinds")
@pytest.mark.parametrize("kind", ["endless", "link to an endless one", "pipe", "socket", "large"])
def test_a_history_that_is_no_file_or_has_no_end_is_refused_unread(environment, tmp_path, kind):
    history, says = tmp_path / "history.json", "is no regular file"
    with contextlib.ExitStack() as stack:
        if kind == "endless":
            history = Path("/dev/zero")
        elif kind == "link to an endless one":
            history.symlink_to("/dev/full")
        elif kind == "pipe":
            os.mkfifo(history)
        elif kind == "socket":
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            stack.enter_context(contextlib.chdir(tmp_path))  # a socket's path must be short
            listener.bind(history.name)
        else:
            says = "is larger than 16 MiB"
            with history.open("wb") as file:
                file.truncate(1 << 40)  # nothing of it is on the disk
        done = subprocess.run(
            [*IN_LITTLE_MEMORY, *COMMAND, *ECHO, "--no-speech", "--history", history],
            input="Hi\n",
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=50,
        )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: The history {history} {says}; choose another file.\n"


def test_a_history_of_a_long_life_is_read(chat, tmp_path):
    history = tmp_path / "history.json"
    long = evakit.History([evakit.Message("user", "word " * 1000)] * 2000)
    history.write_text(long.to_json(), "utf-8")
    status, out, _ = chat("Hi\n", *ECHO, "--no-speech", "--history", history)

    assert (status, out) == (0, "You said: Hi\n")
    assert len(evakit.History.from_json(history.read_text("utf-8"))) == 2002


@pytest.mark.parametrize("option", ["--history", "-o"])
def test_a_file_that_could_not_be_written_is_said_before_anything(chat, tmp_path, option):
    status, out, err = chat("Hi\n", *ECHO, option, tmp_path / "none" / "file.wav")

    assert (status, out) == (1, "")
    assert "missing or read-only" in err


def test_speech_goes_to_the_player_while_the_reply_still_comes(chat, player, tmp_path):
    # The reply's second clause is written once the player has the beginning of the first.
    begun, sound = tmp_path / "begun", tmp_path / "sound.raw"
    player(f'echo "$@" > {tmp_path}/options; head -c 100 > {sound}; : > {begun}; cat >> {sound}')
    status, out, err = chat("begun\n", "--llm", "waits", "--tts", "quick")

    assert (status, out, err) == (0, "One is here. Two too.\n", "")
    options = (tmp_path / "options").read_text().split()
    assert {"--format=s16le", "--rate=16000", "--channels=1"} <= set(options)
    played = evakit.Audio.from_pcm(sound.read_bytes(), 16_000)
    # A hundredth of a second a letter, word by word, each with what follows it.
    assert len(played) == 160 * sum(len(w) + 1 for w in ["One", "is", "here.", "Two", "too."])
    assert played.peak == pytest.approx(0.1, abs=0.001)


def test_a_player_that_fails_is_said_once_and_text_goes_on(chat, player):
    player("exit 1")
    status, out, err = chat("One\nTwo\nThree\n", *ECHO)

    assert (status, out) == (0, "You said: One\nYou said: Two\nYou said: Three\n")
    assert err == "The speaker cannot be used; from now on replies come as text.\n"


pty = pytest.importorskip("pty", reason="there are no terminals of this kind here")


# Makes the terminal that is standard input the one whose Ctrl-C reaches the command.
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A terminal with a chat in it, and a person at it."""

    def __init__(self, arguments, environment, cwd):
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *COMMAND, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(theirs)
        self._unread = ""

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def see(self, pattern):
        """Wait for what the terminal shows; return all that came up to its end."""
        shown = b""
        while (found := re.search(pattern, self._unread)) is None:
            try:
                shown = os.read(self._ours, 4096)
            except OSError:  # the other end is closed
                shown = b""
            assert shown, f"{pattern!r} did not come; there was {self._unread!r}"
            self._unread += shown.decode()
        seen, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return seen

    def close(self):
        os.close(self._ours)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def terminal(environment, tmp_path):
    open_ones = []

    def start(*arguments):
        open_ones.append(Terminal(arguments, environment, tmp_path))
        return open_ones[-1]

    yield start
    for one in open_ones:
        one.close()


CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


def test_a_person_sees_a_prompt_a_reply_and_how_long_it_took(terminal):
    chat = terminal(*ECHO)
    greeting = chat.see("You: ")
    assert "No speaker was found" in greeting
    assert "You talk with echo; /help" in greeting
    chat.type("Hello\r")
    seen = chat.see("You: $")
    assert re.search(r"Reply:\S* You said: Hello\r\n", seen), repr(seen)
    assert re.search(r"first token \d+\.\d\d s, end \d+\.\d\d s", seen), repr(seen)
    chat.type(UP + "\r")  # the line before, where there is readline
    assert "You said: Hello" in chat.see("end .*\n.*You: $")
    chat.type(CTRL_D)
    assert chat.process.wait(20) == 0


def test_ctrl_c_interrupts_the_reply_and_at_the_prompt_it_leaves(terminal, tmp_path):
    history = tmp_path / "history.json"
    chat = terminal("--llm", "endless", "--no-speech", "--history", history)
    chat.see("You: ")
    chat.type("Talk\r")
    chat.see("word3 ")
    chat.type(CTRL_C)
    assert "interrupted, first token" in chat.see("You: $")
    chat.type("/nothing\r")
    assert "no command /nothing" in chat.see("You: $")
    while chat.process.poll() is None:  # readline may miss one while it shows its prompt
        chat.type(CTRL_C)
        with contextlib.suppress(subprocess.TimeoutExpired):
            chat.process.wait(2)
    assert chat.process.returncode == 0

    said, reply = evakit.History.from_json(history.read_text("utf-8"))
    assert said.content == "Talk"
    assert reply.interrupted
    assert reply.content.startswith("word0 word1 word2 word3")
    assert reply.content.split() == [f"word{n}" for n in range(len(reply.content.split()))]


def test_ctrl_c_ends_the_wait_for_a_model_that_says_nothing(terminal, tmp_path):
    chat = terminal("--llm", "silent", "--no-speech")
    chat.see("You: ")
    for name in ("first", "second"):
        chat.type(f"{name}\r")
        while not (tmp_path / name).exists():
            time.sleep(0.01)
        chat.type(CTRL_C)
        assert "interrupted, end" in chat.see("You: $")
    chat.type(CTRL_D)
    assert chat.process.wait(20) == 0


def test_ctrl_c_stops_the_player_and_history_keeps_what_was_played(terminal, player, tmp_path):
    pid, history = tmp_path / "pid", tmp_path / "history.json"
    player(f"head -c 2 > /dev/null; echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000")
    chat = terminal("--llm", "waits", "--tts", "slow", "--history", history)
    assert "You talk with waits and slow tone" in chat.see("You: ")
    chat.type("pid\r")
    chat.see("Two too\\.")  # all of the text is there, and of the speech a minute is to come
    chat.type(CTRL_C)
    assert "interrupted, first token" in chat.see("You: $")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    chat.type("/quit\r")
    assert chat.process.wait(20) == 0

    said, *reply = evakit.History.from_json(history.read_text("utf-8"))
    assert said.content == "pid"
    assert "Two" not in "".join(message.content for message in reply)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_real_engines_answer_a_person_in_text_and_speech(terminal, player, tmp_path):
    sound = tmp_path / "sound.raw"
    player(f"cat >> {sound}")
    chat = terminal()
    assert "You talk with llamacpp" in chat.see("You: ")
    chat.type("What is the capital of France?\r")
    seen = chat.see("You: $")
    assert "Paris" in seen
    assert "first audio" in seen
    chat.type(CTRL_D)
    assert chat.process.wait(20) == 0
    assert evakit.Audio.from_pcm(sound.read_bytes(), 22_050).duration > 0.5
