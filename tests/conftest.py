"""Fixtures for the tests of the core."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEEP = Path(__file__).parents[1] / "examples/evakit-beep"


@pytest.fixture(scope="session")
def beep_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the plugin of the tutorial, as for any user."""
    target = tmp_path_factory.mktemp("beep")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, BEEP],
        check=True,
        capture_output=True,
    )
    return target
