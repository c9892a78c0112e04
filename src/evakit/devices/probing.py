"""Trying an engine on a device in a process of its own, before it is trusted with this one.

What may not live here: what is tried, which the backend says.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Final

from .. import _threads, errors
from ..errors import MissingLibraryError, PlacementError
from .device import Device
from .finding import Remedy
from .request import DeviceRequest

__all__ = ["try_in_a_child"]

_LIMIT: Final = 120.0  # seconds; the code for a new generation of GPUs is compiled in one minute
_POLL: Final = 0.1  # seconds between two looks at whether anybody still waits
_SHOWN: Final = 300  # characters of what the engine wrote


def try_in_a_child(
    target: str, device: Device, request: DeviceRequest, *, limit: float = _LIMIT
) -> None:
    """Call the function `target` (`module:function`) with the device's name in a child process.

    Raises:
        MissingLibraryError: the child was ended by the engine: that is how those that lack a
            library behave.
        PlacementError: the function raised, and then of the class that it raised, if that is one
            of ours; or it did not return within `limit` seconds.

    """
    if getattr(sys, "frozen", False):  # a program in one file has no interpreter to start
        return
    command = [sys.executable, "-m", "evakit.devices.probe", target, device.name]
    done = _run(command, limit)
    if done is None:
        raise _error(request, PlacementError, f"it did not return within {limit:g} s")
    if done.returncode == 0:
        return
    if done.returncode == 1 and (told := _told(done.stdout)):
        raise _error(request, *told)
    end = _end(done.returncode)
    words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    raise _error(request, MissingLibraryError, ": ".join([end, *words])[:_SHOWN])


def _run(command: list[str], limit: float) -> subprocess.CompletedProcess[bytes] | None:
    """Run it and return what came of it, or None where it took too long; leave nothing running."""
    deadline = time.monotonic() + limit
    with subprocess.Popen(  # noqa: S603 (this interpreter, a function that a plugin names)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            while time.monotonic() < deadline:
                _threads.check_cancelled()
                try:
                    out, err = child.communicate(timeout=_POLL)
                except subprocess.TimeoutExpired:
                    continue
                return subprocess.CompletedProcess(command, child.returncode, out, err)
            return None
        finally:
            child.kill()


def _told(output: bytes) -> tuple[type[PlacementError], str] | None:
    """Return what was raised in the child: as itself where it is ours, else by its name."""
    try:
        told = json.loads(output.splitlines()[-1])
        kind, text = str(told["kind"]), str(told["text"])[:_SHOWN]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    ours = getattr(errors, kind, None)
    if isinstance(ours, type) and issubclass(ours, PlacementError):
        return ours, text
    return PlacementError, f"{kind}: {text}"


def _end(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"the engine ended the process with status {code}"
    try:
        return f"the engine ended the process with {signal.Signals(-code).name}"
    except ValueError:
        return f"the engine ended the process with signal {-code}"


def _error(request: DeviceRequest, error: type[PlacementError], why: str) -> PlacementError:
    fix = Remedy(what="'evakit doctor' looks for what is missing")
    return error(
        f"{request.component} was asked for on {request.device}, and a trial in a process of its "
        f"own failed: {why}; {fix}",
        component=request.component,
        wanted=request.device.name,
        why=why,
        fixes=[fix],
    )
