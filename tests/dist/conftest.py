"""The distributions as they are published: built once, installed where nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT, *sorted(ROOT.glob("plugins/evakit-*")))
# What is installed here; PyTorch has an environment of its own (`make test-torch`).
USUAL = tuple(folder for folder in FOLDERS if folder.name != "evakit-transformers")
BEEP = ROOT / "examples/evakit-beep"


def build(folder, target, *options):
    """Build as `make dist` does."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", target, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """A folder with the wheel and the sdist of every distribution."""
    target = tmp_path_factory.mktemp("dist")
    for folder in FOLDERS:
        build(folder, target)
    return target


class Environment:
    """A virtual environment; what runs in it starts outside of the repository."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.outside = folder / "outside"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.outside.mkdir()

    def install(self, *arguments):
        command = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install"]
        # Not compiled: what is imported here is imported once or twice.
        command += ["--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt"]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr

    def run(self, program, *arguments):
        """Run a program of the environment and return what it prints."""
        own = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.outside,
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name not in own},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def environment(dist, tmp_path_factory):
    """An environment with our wheels and, from the index, what they require."""
    target = tmp_path_factory.mktemp("environment")
    build(BEEP, target, "-t", "wheel")
    [core] = dist.glob("evakit_voice-*.whl")
    names = {folder.name.replace("-", "_") for folder in USUAL}
    plugins = [wheel for wheel in dist.glob("*.whl") if wheel.name.partition("-")[0] in names]
    made = Environment(target / "venv")
    # By their files, so that nothing of ours is looked up on the index.
    wheels = [f"evakit-voice[cli] @ {core.as_uri()}", *plugins, *target.glob("*.whl")]
    made.install(*wheels)
    return made
