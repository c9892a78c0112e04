"""ruff and mypy, as everybody runs them."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(root, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff_finds_nothing(root):
    run(root, "ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing(root):
    run(root, "ruff", "format", "--check", "--quiet", ".")


@pytest.mark.slow
@pytest.mark.timeout(600)  # without its cache, on a busy machine
def test_mypy_finds_nothing(root):
    sources = sorted(str(path.relative_to(root)) for path in root.glob("plugins/*/src"))
    assert len(sources) >= 3
    run(root, "mypy", "src", *sources, "tests/typing")
