"""A plugin that is installed for real (a distribution on sys.path) and offers scripted backends."""

from __future__ import annotations

import json

import numpy as np
import pytest

import evakit
from evakit.cli.group import run

PLUGIN = """
import evakit
from evakit.testing.fakes import ScriptedLLM, ScriptedSTT, ToneTTS

@evakit.hookimpl
def evakit_backends():
    yield evakit.BackendSpec(kind="stt", name="scripted", factory=stt)
    yield evakit.BackendSpec(kind="llm", name="scripted", factory=llm)
    yield evakit.BackendSpec(kind="tts", name="tone", factory=ToneTTS)
    missing = ["no_such_engine"]
    yield evakit.BackendSpec(kind="tts", name="absent", factory=ToneTTS, requires=missing)

def stt(model="what is it"):
    return ScriptedSTT(*[evakit.Transcript(model, language="en")] * 5)

def llm(model="It is a test."):
    return ScriptedLLM(model)
"""

COMMANDS = '''
import click

@click.command()
def hello():
    """Say hello."""
    print("hello from a plugin")

not_a_command = 42
'''


def install(site, name, files, entry_points):
    """Lay out a distribution as pip would."""
    for file, text in files.items():
        (site / file).write_text(text)
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    install(
        site,
        "evakit-scripted",
        {"evakit_scripted.py": PLUGIN, "evakit_scripted_commands.py": COMMANDS},
        "[evakit]\nscripted = evakit_scripted\n"
        "[evakit.commands]\nhello = evakit_scripted_commands:hello\n"
        "broken = evakit_no_such_module:command\nwrong = evakit_scripted_commands:not_a_command\n"
        "ask = evakit_scripted_commands:hello\n",
    )
    return site


@pytest.fixture
def evakit_command(site, monkeypatch, capfd):
    """Run the command in this process: status, standard output, standard error."""
    monkeypatch.syspath_prepend(site)

    def call(*arguments):
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def evakit_json(evakit_command):
    """Run the command with --json and return what it printed, which is nothing but JSON."""

    def call(*arguments):
        status, out, _ = evakit_command(*arguments, "--json")
        assert status == 0
        return json.loads(out)

    return call


@pytest.fixture
def question(tmp_path):
    path = tmp_path / "question.wav"
    evakit.Audio(0.5 * np.sin(np.arange(16_000) / 9), 16_000).save(path)
    return path


SCRIPTED = ("--stt", "scripted", "--llm", "scripted", "--tts", "tone")


@pytest.fixture
def scripted():
    return SCRIPTED
