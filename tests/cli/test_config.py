"""`evakit config`: each setting, where it is from, and what it hides; and options as settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evakit.cli import console
from evakit.settings import SETTINGS

FILE = """\
language = ["fr", "en"]
voice = "siwis"

[llm]
name = "openai:qwen3:4b"
base_url = "http://localhost:11434/v1"
api_key = "sk-secret"
"""


@pytest.fixture(autouse=True)
def _a_folder_with_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("evakit.toml").write_text(FILE, "utf-8")


@pytest.fixture
def place(tmp_path):
    return f"{tmp_path.resolve()}{os.sep}evakit.toml, line"


def test_json_has_each_setting_its_place_and_what_it_hides(evakit_json, monkeypatch, place):
    monkeypatch.setenv("EVAKIT_LANGUAGE", "de")
    monkeypatch.setenv("EVAKIT_TTS", "none")
    rows = {row.pop("setting"): row for row in evakit_json("config", "--language", "en,fr")}

    assert list(rows) == list(SETTINGS)
    assert rows["stt"] == {
        "value": "whisper:base",
        "source": "default",
        "place": "default",
        "hides": [],
    }
    assert rows["llm"]["value"] == {
        "name": "openai:qwen3:4b",
        "base_url": "http://localhost:11434/v1",
        "api_key": "***",
    }
    assert (rows["llm"]["source"], rows["llm"]["place"]) == ("file", f"{place} 4")
    assert rows["tts"]["value"] is None
    assert rows["voice"]["place"] == f"{place} 2"
    assert rows["language"] == {
        "value": ["en", "fr"],
        "source": "argument",
        "place": "--language",
        "hides": [
            {"value": ["de"], "source": "environment", "place": "EVAKIT_LANGUAGE"},
            {"value": ["fr", "en"], "source": "file", "place": f"{place} 1"},
        ],
    }


def test_the_table_has_the_same(evakit_command, monkeypatch, place):
    monkeypatch.setenv("EVAKIT_VOICE", "tom")
    monkeypatch.setattr(console.out, "_width", 600)
    status, out, err = evakit_command("config", "--llm", "none", "--system", "Be brief.")

    assert (status, err) == (0, "")
    lines = {line.split()[0]: line.rstrip() for line in out.splitlines()}
    assert lines["setting"].split() == ["setting", "value", "from", "hides"]
    assert lines["voice"].split(maxsplit=3)[1:] == [
        "tom",
        "EVAKIT_VOICE",
        f"siwis ({place} 2)",
    ]
    assert lines["llm"].split()[:3] == ["llm", "none", "--llm"]
    assert "sk-secret" not in out
    assert list(lines)[1:] == list(SETTINGS)


def test_brackets_of_a_prompt_are_shown(evakit_command):
    status, out, _ = evakit_command("config", "--system", "Say [/i] :warning:")

    assert status == 0
    assert "Say [/i] :warning:" in out


def test_an_option_takes_what_a_variable_takes(evakit_json):
    table = '{name = "piper:joe", rate = 1.2}'
    rows = {r["setting"]: r for r in evakit_json("config", "--tts", table, "--system", "")}

    assert rows["tts"]["value"] == {"name": "piper:joe", "rate": 1.2}
    assert rows["system"]["value"] == ""


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--language", "french!"), "Error: --language: 'french!' is not a language tag"),
        (("--device", "gpu"), "Error: --device: 'gpu' is not a device"),
        (("--voice", ""), "Error: --voice: voice takes the name of a voice, not an empty text."),
        (("--tts", "{name = 3}"), "Error: --tts: tts is a table without the name of a backend"),
    ],
)
@pytest.mark.parametrize("command", [("config",), ("say", "Hi.", "-o", "reply.wav")])
def test_what_is_wrong_in_an_option_says_which(evakit_command, command, option, says):
    status, out, err = evakit_command(*command, *option)

    assert (status, out) == (1, "")
    assert err.startswith(says)
    assert err.count("\n") == 1


def test_an_unknown_option_names_the_nearest(evakit_command):
    status, _, err = evakit_command("config", "--langauge", "fr")

    assert status == 2
    assert "--language" in err


def test_commands_take_what_is_not_given_from_the_file(evakit_json, question):
    Path("evakit.toml").write_text(
        'stt = "scripted:from the file"\n[llm]\nname = "scripted"\nmodel = "Yes."\n[tts]\n'
        'name = "tone"\n',
        "utf-8",
    )
    answer = evakit_json("ask", question)
    assert (answer["heard"], answer["reply"]) == ("from the file", "Yes.")
    assert evakit_json("transcribe", question)["text"] == "from the file"
    assert evakit_json("transcribe", question, "--stt", "scripted")["text"] == "what is it"
    assert evakit_json("say", "Hello.", "-o", "said.wav")["backend"]["name"] == "tone"


def test_a_file_that_is_wrong_stops_every_command_that_uses_it(evakit_command, question, place):
    Path("evakit.toml").write_text('lang = "fr"\n', "utf-8")
    for command in (
        ("config",),
        ("ask", question),
        ("demo",),
        ("say", "Hi.", "-o", "said.wav"),
        ("transcribe", question),
    ):
        status, out, err = evakit_command(*command)
        assert (status, out) == (1, "")
        assert f"{place} 1: there is no setting 'lang'; did you mean 'language'?" in err
    assert evakit_command("plugins", "--json")[0] == 0
    assert list(Path.cwd().glob("*.wav")) == [question]


def test_from_a_shell_it_prints_what_holds():
    done = subprocess.run(
        [sys.executable, "-m", "evakit", "config", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "EVAKIT_VOICE": "tom", "PYTHONIOENCODING": "ascii"},
    )
    rows = {row["setting"]: row for row in json.loads(done.stdout)}

    assert done.stderr == ""
    assert rows["voice"]["value"] == "tom"
    assert rows["language"]["value"] == ["fr", "en"]
