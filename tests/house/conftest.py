"""What the house rules look at: the files of this repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def files():
    """All files that belong to the repository: tracked, or new and not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="session")
def texts(files):
    """The text of each file of the repository that is text."""
    found = {}
    for path in files:
        data = path.read_bytes()
        if b"\0" not in data:
            found[path] = data.decode()
    return found
