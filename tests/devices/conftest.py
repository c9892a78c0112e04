"""Fakes of NVIDIA's libraries, and a machine made of files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from native import fake_cuda, fake_nvml

__all__ = ["fake_cuda", "fake_nvml", "machine"]


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Path]:
    """Make a root folder of files: `machine({"proc/version": "Linux"})`."""

    def make(files: dict[str, str | bytes]) -> Path:
        root = tmp_path / "root"
        root.mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return make
