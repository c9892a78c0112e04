"""The other commands: transcribe, say, plugins, models, and those that plugins bring."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import evakit
from evakit.cli import console
from evakit.plugins import discover

from .conftest import SCRIPTED, install


def on_path(folder):
    """The variable that lets another Python find what is in a folder, and what this one finds."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), *sys.path]))}


def test_transcribe_prints_one_object_a_line_with_the_path_as_given(
    evakit_command, question, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, _ = evakit_command(
        "transcribe", "./question.wav", question, "--stt", "scripted", "--json"
    )

    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [line["path"] for line in lines] == ["./question.wav", str(question)]
    assert list(lines[0]) == ["path", "text", "language", "input_s", "elapsed_s"]
    assert lines[0]["text"] == "what is it"
    assert lines[0]["input_s"] == 1.0
    assert lines[0]["elapsed_s"] >= 0


def test_a_file_that_cannot_be_transcribed_is_named_and_passed_over(
    evakit_command, question, tmp_path
):
    status, out, err = evakit_command(
        "transcribe", tmp_path / "missing.wav", question, "--stt", "scripted"
    )

    assert status == 1
    assert out == f"{question}: what is it\n"
    assert "missing.wav cannot be read" in err


@pytest.mark.parametrize(
    ("ending", "magic"), [("wav", b"RIFF"), ("mp3", b"ID3"), ("flac", b"fLaC"), ("ogg", b"OggS")]
)
def test_say_writes_the_kind_of_file_that_its_ending_names(evakit_json, tmp_path, ending, magic):
    path = tmp_path / f"speech.{ending}"
    said = evakit_json("say", "Hello there, my friend.", "-o", path, "--tts", "tone")

    assert path.read_bytes().startswith(magic)
    assert said["audio"] == str(path)
    assert said["duration_s"] == pytest.approx(evakit.Audio.load(path).duration, abs=0.1)


def test_say_speaks_a_hundred_thousand_characters(evakit_json, tmp_path):
    text = "The quick brown fox jumps over the lazy dog again. " * 2000
    said = evakit_json("say", text, "-o", tmp_path / "long.wav", "--tts", "tone")

    # Six minutes of every hour are silence between words in nobody's voice: a tone a character.
    assert said["duration_s"] == pytest.approx(0.05 * len(text), rel=0.02)


def test_say_reads_standard_input(evakit_json, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello from a pipe."))
    said = evakit_json("say", "-", "-o", tmp_path / "s.wav", "--tts", "tone")

    assert said["duration_s"] > 0.5


def test_say_with_nothing_to_say_is_said(evakit_command, tmp_path):
    status, _, err = evakit_command("say", " ... ", "-o", tmp_path / "s.wav", "--tts", "tone")

    assert status == 1
    assert "nothing to say" in err
    assert not list(tmp_path.iterdir())


def test_plugins_lists_every_backend_and_why_one_cannot_be_used(evakit_json):
    rows = {(row["kind"], row["name"]): row for row in evakit_json("plugins")}

    assert rows["tts", "tone"] == {
        "kind": "tts",
        "name": "tone",
        "distribution": "evakit-scripted",
        "version": "1.0",
        "available": True,
        "reason": None,
    }
    assert rows["tts", "absent"]["available"] is False
    assert "pip install evakit-scripted" in rows["tts", "absent"]["reason"]
    assert {("stt", "whisper"), ("vad", "silero"), ("llm", "llamacpp"), ("tts", "piper")} <= set(
        rows
    )


def test_the_table_of_plugins_says_where_each_runs_and_what_to_install(
    evakit_command, tmp_path, monkeypatch
):
    code = (
        "import evakit\nfrom evakit.abc import Capabilities\n"
        "from evakit.testing.fakes import ScriptedLLM\n"
        "class Cloud(ScriptedLLM):\n    capabilities = Capabilities(devices={'remote'})\n"
        "@evakit.hookimpl\ndef evakit_backends():\n"
        "    yield evakit.BackendSpec(kind='llm', name='cloud', factory=Cloud,\n"
        "                             requires=['gone[/i]'])\n"
    )
    install(tmp_path, "evakit-away", {"evakit_away.py": code}, "[evakit]\naway = evakit_away\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(console.out, "_width", 200)
    status, out, _ = evakit_command("plugins")

    assert status == 0
    heading, *rows = [line.split() for line in out.splitlines()]
    assert heading == ["kind", "name", "plugin", "version", "runs", "on", "available"]
    assert ["stt", "whisper", "evakit-whisper"] in [row[:3] for row in rows]
    (whisper,) = [row for row in rows if row[1] == "whisper"]
    assert whisper[4:6] == ["cpu,", "cuda"]
    (cloud,) = [row for row in rows if row[1] == "cloud"]
    assert cloud[4:8] == ["remote", "no:", "gone[/i]", "is"]


def test_a_table_shows_brackets(capfd):
    console.print_table(("[what]",), [("evakit-voice[whisper]",), ("[/i] :warning:",)])

    out, _ = capfd.readouterr()
    assert [line.rstrip() for line in out.splitlines()] == [
        "[what]",
        "evakit-voice[whisper]",
        "[/i] :warning:",
    ]


def test_a_status_and_a_bar_show_brackets(monkeypatch):
    screen = Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=120, markup=False
    )
    monkeypatch.setattr(console, "err", screen)
    with console.working("Listening to [/i].wav") as tell:
        tell("Listening to [/b].wav")
    with console.fetch_bars() as show:
        show("mine[small]", 1, 2)

    shown = screen.file.getvalue()
    assert "Listening to [/b].wav" in shown
    assert "Fetching mine[small]" in shown


@pytest.mark.parametrize("spec", list(discover()), ids=lambda spec: spec.name)
def test_what_a_plugin_says_of_a_backend_is_what_the_backend_says(spec):
    made = spec.create()

    assert spec.capabilities == made.capabilities
    if spec.kind == "tts":
        assert spec.voices == made.voices


def test_models_lists_what_plugins_declare_and_what_is_here(evakit_json):
    rows = {row["name"]: row for row in evakit_json("models", "list")}

    base = rows["whisper:base"]
    assert list(base) == ["name", "kind", "path", "bytes", "licence", "languages", "source"]
    assert base["kind"] == "stt"
    assert base["licence"] == "MIT"
    assert "fr" in base["languages"]
    assert base["bytes"] == 145_217_532 + 2_309 + 2_203_239 + 459_861
    assert Path(base["path"]).is_dir()
    assert rows["piper:joe"]["licence"] == "CC0-1.0"


def test_an_unknown_model_names_the_nearest(evakit_command):
    status, _, err = evakit_command("models", "fetch", "whisper:bas")

    assert status == 1
    assert "did you mean 'whisper:base'?" in err


def test_a_model_that_is_not_here_can_be_removed_all_the_same(evakit_json, tmp_path, monkeypatch):
    monkeypatch.setenv("EVAKIT_HOME", str(tmp_path))
    (removed,) = evakit_json("models", "remove", "piper:joe")

    assert removed["state"] == "was not here"


def test_a_plugin_brings_a_command(evakit_command):
    assert evakit_command("hello") == (0, "hello from a plugin\n", "")
    assert "Say hello." in evakit_command("--help")[1]


@pytest.mark.parametrize(
    ("command", "says"),
    [("broken", "evakit_no_such_module"), ("wrong", "not a click command")],
)
def test_a_broken_command_of_a_plugin_is_said_when_it_is_called(evakit_command, command, says):
    assert evakit_command("--help")[0] == 0
    status, _, err = evakit_command(command)

    assert status == 1
    assert says in err
    assert "pip uninstall evakit-scripted" in err


def test_a_plugin_cannot_take_the_place_of_a_command_of_ours(evakit_command):
    assert "Hear the QUESTION" in evakit_command("ask", "--help")[1]


def test_an_absent_command_says_what_to_install(evakit_command):
    status, _, err = evakit_command("serve")

    assert status == 2
    assert "evakit-server" in err


def test_without_click_the_command_says_what_to_install():
    code = "import sys; sys.modules['click'] = None\nfrom evakit.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'pip install "evakit-voice[cli]"' in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is sent as a signal")
def test_ctrl_c_ends_a_command_with_a_word_and_status_130(site, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from evakit.cli.group import run\n"
        "import evakit.testing.fakes as fakes, anyio\n"
        "async def load(self, context):\n"
        "    print('loading', flush=True)\n"
        "    await anyio.sleep(60)\n"
        "fakes.ToneTTS.load = load\n"
        f"sys.exit(run(['say', 'Hello.', '-o', {str(tmp_path / 's.wav')!r}, '--tts', 'tone']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert err.strip() == "Interrupted."
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("config",),
        ("config", "--json"),
        ("--help",),
        ("hello",),
        ("ask", "QUESTION", *SCRIPTED),
        ("chat", "--llm", "scripted", "--no-speech"),
        ("chat", "--llm", "scripted", "--no-speech", "--json"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_full_is_one_sentence(site, question, tmp_path, arguments, buffered):
    given = [str(question) if argument == "QUESTION" else argument for argument in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "evakit", *given],
            input="One\nTwo\n",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **on_path(site), "PYTHONUNBUFFERED": buffered},
        )

    assert done.returncode == 1
    assert done.stderr == (
        "Error: Standard output cannot be written (No space left on device); free some space, or "
        "send it elsewhere.\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="the reader of a pipe goes away")
@pytest.mark.parametrize("arguments", [("plugins",), ("plugins", "--json"), ("hello",)])
def test_a_reader_that_goes_away_is_no_error_to_talk_about(site, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "evakit", *arguments],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, **on_path(site), "PYTHONUNBUFFERED": ""},
        )

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="the shell closes standard output")
def test_without_an_output_nothing_is_printed(site):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "evakit", "plugins", "--json"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **on_path(site)},
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_that_cannot_show_a_letter_gets_it_escaped(site, question, tmp_path):
    named = tmp_path / "日本.wav"
    named.write_bytes(question.read_bytes())
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from evakit.cli.group import run\n"
        f"sys.exit(run(['transcribe', {str(named)!r}, '--stt', 'scripted', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"what is it" in done.stdout
