"""The package index: pip is asked where a wheel is, because pip knows the mirrors and secrets.

Nothing is installed. What may not live here: what is in a wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .model import WheelSource
from .source_errors import CutError, SourceError, UnreachableError

__all__ = ["Address", "Index"]

_LIMIT_S: Final = 600.0  # an index without separate metadata makes pip read the whole wheel
_TICK: Final = 0.2  # seconds between two looks at whether to go on
_REMEMBERED_S: Final = 300.0  # how long an index that cannot be reached is not asked again
# What pip and its vendored urllib3 say when no index could be connected to.
_NO_CONNECTION: Final = (
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "NameResolutionError",
    "ProxyError",
    "ConnectionResetError",
    "Max retries exceeded",
    "connection timed out",
    "Failed to establish",
    "Failed to connect",
)
# Short patience: an index that is silent for 15 s, pip's default, twice over, is not there.
_OPTIONS: Final = (
    "--no-deps",
    "--only-binary=:all:",
    "--quiet",
    "--retries=1",
    "--timeout=15",
)
# Settings for installing that would stop pip from only looking, or mix text with its answer.
_SETTINGS: Final = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_NO_COLOR": "1",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_USER": "0",
    "PIP_VERBOSE": "0",
}


@frozen
class Address:
    """Where a wheel is."""

    url: str
    sha256: str | None
    """None where the index does not say."""


class Index:
    """The configured package index; remembers its answers, and for a while that it has none."""

    def __init__(self) -> None:
        self._known: dict[str, Address] = {}
        self._unusable: tuple[float, str] = (0.0, "")

    def resolve(self, source: WheelSource, tick: Callable[[], None]) -> Address:
        """Say where a wheel is.

        Raises:
            SourceError: pip is missing, cannot reach the index or finds no such wheel.

        """
        requirement = f"{source.distribution}=={source.version}"
        if requirement not in self._known:
            answer = self._pip(
                ("install", "--dry-run", "--ignore-installed", "--report", "-", requirement), tick
            )
            self._known[requirement] = _address(answer)
        return self._known[requirement]

    def fetch(self, source: WheelSource, folder: Path, tick: Callable[[], None]) -> Path:
        """Have pip fetch a wheel, where the index lets pip in and not us: secrets, certificates.

        Raises:
            SourceError: pip could not either.

        """
        requirement = f"{source.distribution}=={source.version}"
        self._pip(("download", "--no-cache-dir", "--dest", str(folder), requirement), tick)
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError("pip fetched no wheel")
        return wheels[0]

    def _pip(self, arguments: tuple[str, ...], tick: Callable[[], None]) -> str:
        when, reason = self._unusable
        if reason and time.monotonic() - when < _REMEMBERED_S:
            raise UnreachableError(reason)
        code, answer, complaint = _run((*arguments, *_OPTIONS), tick)
        if code == 0:
            return answer
        if "No module named pip" in complaint:
            reason = (
                "this Python has no pip to ask the index with; add it with "
                "'python -m ensurepip' or install evakit-voice[cli]"
            )
        elif any(sign in complaint for sign in _NO_CONNECTION):
            reason = "pip cannot reach the package index"
        else:
            errors = [
                line.removeprefix("ERROR: ")
                for line in complaint.splitlines()
                if line.startswith("ERROR: ")
            ]
            raise SourceError(f"pip says: {errors[-1] if errors else f'exit status {code}'}")
        self._unusable = (time.monotonic(), reason)
        raise UnreachableError(reason)


def _run(arguments: tuple[str, ...], tick: Callable[[], None]) -> tuple[int, str, str]:
    if not sys.executable:
        raise SourceError("this program cannot start Python to ask pip")
    # What pip leaves in its temporary folder when it is killed goes with the folder.
    with tempfile.TemporaryDirectory(prefix="evakit-pip-", ignore_cleanup_errors=True) as folder:
        return _run_in(folder, arguments, tick)


def _run_in(
    folder: str, arguments: tuple[str, ...], tick: Callable[[], None]
) -> tuple[int, str, str]:
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder)
    try:
        # -P: a file pip.py in the current folder is not pip.
        process = subprocess.Popen(  # noqa: S603  # our own Python, no shell, a fixed command
            (sys.executable, "-P", "-m", "pip", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_SETTINGS, **temporary},
            text=True,
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise SourceError(f"pip could not be started ({error.strerror})") from error
    deadline = time.monotonic() + _LIMIT_S
    with process:
        try:
            while True:
                try:
                    answer, complaint = process.communicate(timeout=_TICK)
                    return process.returncode, answer, complaint
                except subprocess.TimeoutExpired:
                    tick()
                if time.monotonic() > deadline:
                    raise CutError(f"pip did not finish within {_LIMIT_S:g} s")
        finally:
            process.kill()  # does nothing when it has ended


def _address(answer: str) -> Address:
    try:
        report: Any = json.loads(answer[answer.index("{") :])
        info = report["install"][0]["download_info"]
        url = str(info["url"])
        sha256 = info.get("archive_info", {}).get("hashes", {}).get("sha256")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise SourceError("pip's report cannot be read; use pip 23.2 or newer") from error
    return Address(url, str(sha256).lower() if sha256 else None)
