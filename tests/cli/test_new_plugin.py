"""`evakit new-plugin`: what it writes installs, keeps the contract and is in the house's style."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evakit.registry import KINDS

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a plugin of each kind."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        said = python("evakit", "new-plugin", f"My_{kind}", "--kind", kind, "--json", cwd=folder)
        assert json.loads(said)["files"]
    return folder


@pytest.fixture(scope="module")
def installed(written, tmp_path_factory):
    """Where pip has installed all of them, as for any user."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    python("pip", "install", *options, *map(str, written.iterdir()), cwd=target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_tests_as_it_stands(kind, written, installed):
    folder = written / f"evakit-my-{kind.replace('_', '-')}"
    said = python("pytest", "-q", "-p", "no:cacheprovider", cwd=folder, PYTHONPATH=str(installed))

    assert "failed" not in said
    assert "skipped" not in said
    assert " passed" in said


# The method of each kind in which its engine works.
WORKS = {
    "stt": "transcribe",
    "llm": "tokens",
    "tts": "synthesize",
    "vad": "start",
    "turn_detector": "probability",
}


def with_engine(text, method):
    """A module in which an engine is loaded, used and given back, where its comments say."""
    for name, lines in {
        "load_model": ["from string import Formatter as Engine", "self._engine = Engine()"],
        method: ['assert self._engine.format("{}", 1) == "1"'],
        "unload_model": ["self._engine = None"],
    }.items():
        head = rf'(    def {name}\(self.*\n        """[^"]*"""\n)'
        body = "".join(f"        {line}\n" for line in lines)
        text, replaced = re.subn(head, lambda found, body=body: found[1] + body, text)
        assert replaced == 1, f"{name} stands {replaced} times in\n{text}"
    return text


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_tests_with_an_engine_in_it(kind, written, installed, tmp_path):
    name = f"my-{kind.replace('_', '-')}"
    shutil.copytree(installed, tmp_path / "installed")
    module = tmp_path / "installed" / f"evakit_{name.replace('-', '_')}" / "__init__.py"
    module.write_text(with_engine(module.read_text("utf-8"), WORKS[kind]), "utf-8")
    said = python(
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        cwd=written / f"evakit-{name}",
        PYTHONPATH=str(tmp_path / "installed"),
    )

    assert "failed" not in said
    assert " passed" in said


@pytest.mark.slow
def test_new_plugins_are_found_once_they_are_installed(installed):
    rows = json.loads(
        python("evakit", "plugins", "--json", cwd=installed, PYTHONPATH=str(installed))
    )
    mine = {row["kind"]: row for row in rows if (row["name"] or "").startswith("my-")}

    assert set(mine) == set(KINDS)
    for kind, row in mine.items():
        assert row == {
            "kind": kind,
            "name": f"my-{kind.replace('_', '-')}",
            "distribution": f"evakit-my-{kind.replace('_', '-')}",
            "version": "0.1.0",
            "available": True,
            "reason": None,
        }


@pytest.mark.slow
def test_the_name_of_an_installed_plugin_is_taken(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "evakit", "new-plugin", "my-tts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert done.returncode == 1
    assert "There is a tts named 'my-tts' already, of evakit-my-tts" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_written_is_in_the_style_of_the_house(written):
    config = str(ROOT / "pyproject.toml")
    for folder in written.iterdir():
        # From its own folder, as its author would.
        python("ruff", "check", "--no-cache", "--config", config, ".", cwd=folder)
        python("ruff", "format", "--no-cache", "--check", "--config", config, ".", cwd=folder)
    sources = [str(path) for path in written.glob("*/src/*")]
    python("mypy", "--config-file", config, *sources, cwd=ROOT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_name_fits_too(evakit_json, tmp_path, kind):
    name = "n" * 40
    made = evakit_json("new-plugin", name, "--kind", kind, "--folder", tmp_path)

    folder = Path(made["folder"])
    assert (
        max(
            len(line)
            for path in folder.rglob("*.py")
            for line in path.read_text("utf-8").splitlines()
        )
        <= 100
    )
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["name"] == f"evakit-{name}"
    assert project["project"]["entry-points"]["evakit"] == {name: f"evakit_{name}"}


def test_json_says_what_was_written_and_what_to_do_next(evakit_json, tmp_path):
    made = evakit_json("new-plugin", "evakit-My.Voice", "--folder", tmp_path / "new")

    folder = tmp_path / "new" / "evakit-my-voice"
    assert made == {
        "distribution": "evakit-my-voice",
        "kind": "tts",
        "backend": "my-voice",
        "folder": str(folder),
        "files": [
            ".gitignore",
            "README.md",
            "pyproject.toml",
            "src/evakit_my_voice/__init__.py",
            "src/evakit_my_voice/py.typed",
            "tests/test_my_voice.py",
        ],
        "next": [
            f"cd {folder}",
            "python -m pip install --editable . --group test",
            "python -m pytest",
            'evakit say "Hello!" -o hello.wav --tts my-voice',
        ],
    }
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(made["files"])
    assert "$" not in "".join(
        path.read_text("utf-8") for path in folder.rglob("*.*") if path.is_file()
    )


def test_people_are_told_what_was_written_and_what_to_do_next(
    evakit_command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, err = evakit_command("new-plugin", "mine", "--kind", "llm")

    assert (status, err) == (0, "")
    assert out.startswith("The plugin evakit-mine is in evakit-mine:\n  .gitignore\n")
    assert "\n  cd evakit-mine\n" in out
    assert "\n  evakit chat --no-speech --llm mine\n" in out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "cannot be a plugin's name"),
        (".", "cannot be a plugin's name"),
        ("../../etc", "cannot be a plugin's name"),
        ("a/b", "cannot be a plugin's name"),
        ("my voice", "cannot be a plugin's name"),
        ("3cx", "cannot be a plugin's name"),
        ("mine-", "cannot be a plugin's name"),
        ("évoix", "cannot be a plugin's name"),
        ("x:y@cuda", "cannot be a plugin's name"),
        ("a\nb", "cannot be a plugin's name"),
        ("$name", "cannot be a plugin's name"),
        ("n" * 41, "cannot be a plugin's name"),
        ("evakit", "cannot be called evakit too"),
        ("evakit-evakit", "cannot be called evakit too"),
        ("voice", "There is a distribution evakit-voice already"),
        ("Piper", "There is a tts named 'piper' already, of evakit-piper"),
        ("whisper", "There is a distribution evakit-whisper already"),
        ("server", "There is a distribution evakit-server already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(evakit_command, tmp_path, name, says):
    status, out, err = evakit_command("new-plugin", "--folder", tmp_path, "--", name)

    assert (status, out) == (1, "")
    assert says in err
    assert err.startswith("Error: ")
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "dangling link"])
def test_what_is_there_is_left_as_it_is(evakit_command, tmp_path, kind):
    target = tmp_path / "evakit-mine"
    if kind == "file":
        target.write_text("precious")
    elif kind == "dangling link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.mkdir()
        if kind == "folder":
            (target / "README.md").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    status, _, err = evakit_command("new-plugin", "mine", "--folder", tmp_path)

    assert status == 1
    assert f"{target} is there already and is left as it is" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_made_is_said(evakit_command, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = evakit_command("new-plugin", "mine", "--folder", tmp_path / "file" / "below")

    assert status == 1
    assert "cannot be written" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs limits on the size of files")
def test_a_full_disk_leaves_nothing_behind(evakit_command, tmp_path):
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, old[1]))
    try:
        status, _, err = evakit_command("new-plugin", "mine", "--folder", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)

    assert status == 1
    assert "cannot be written" in err
    assert not list(tmp_path.iterdir())
