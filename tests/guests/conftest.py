"""Fixtures for programs that use evakit: each runs in a Python of its own, with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import NamedTuple

import pytest


class Ended(NamedTuple):
    """A program that has ended, by itself."""

    out: str
    err: str
    code: int
    seconds: float
    """From the moment when it was interrupted, or else from its start."""


@pytest.fixture
def program(tmp_path):
    """Run a program from a file of its own; one that does not end within `deadline` fails.

    `interrupts` are what it prints when it is to be sent Ctrl-C, in this order.
    """
    started = []

    def run(code, *, interrupts=(), options=("-W", "default"), deadline=30, env=None):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(code), "utf-8")
        process = subprocess.Popen(
            [sys.executable, *options, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        started.append(process)
        since, printed = time.monotonic(), ""
        for mark in interrupts:
            while mark not in printed.rpartition("\n")[0].rpartition("\n")[2]:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                printed += line
            since = time.monotonic()
            process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"It did not end within {deadline} s:\n{printed}{out}\n{err}")
        return Ended(printed + out, err, process.returncode, time.monotonic() - since)

    yield run
    for process in started:
        process.kill()
        process.communicate()
