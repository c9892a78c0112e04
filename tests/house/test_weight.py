"""The base install stays small: what `pip install` of the core alone would download."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 25_000_000  # bytes of wheels


@pytest.mark.timeout(300)
def test_the_base_install_is_at_most_25_megabytes_of_wheels(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(tmp_path)]
    command += ["--constraint", str(ROOT / "constraints.txt"), *project["dependencies"]]
    subprocess.run(command, check=True, capture_output=True, text=True)
    wheels = {wheel.name: wheel.stat().st_size for wheel in tmp_path.glob("*.whl")}
    ours = sum(f.stat().st_size for f in (ROOT / "src/evakit").rglob("*") if f.suffix != ".pyc")

    assert any(name.startswith("numpy-") for name in wheels)
    assert sum(wheels.values()) + ours <= LIMIT, wheels
