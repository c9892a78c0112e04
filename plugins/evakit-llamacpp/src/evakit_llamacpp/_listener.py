"""Where the engine listens, so that nobody else can reach it.

llama.cpp's server always listens, by itself on a TCP port without a key. Here it gets a Unix
socket in a folder that only this user may enter; where there are none, a port of the loopback
interface that answers only to a random key. What may not live here: requests and models.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Listener", "LoopbackListener", "SocketListener", "private_listener"]

TIMEOUT: Final = 10.0
"""Seconds that counting tokens may take; it takes milliseconds."""
_PREFIX: Final = "evakit-llm-"
_SOCKET: Final = "llm.sock"
_LONGEST_PATH: Final = 100  # bytes; macOS takes 104 with the closing zero, Linux 108
_ABANDONED: Final = 60.0  # seconds; a younger socket may be about to listen


class Listener(Protocol):
    """An address for the engine, and a way to reach it."""

    hostname: str
    """What the engine is told to listen on."""
    key: str | None
    """What it asks of whoever connects."""

    def connection(self, address: str) -> HTTPConnection:
        """Return a connection, not open yet, to an engine that says it listens on `address`."""
        ...

    def close(self) -> None:
        """Remove what lies on the disk; calling it twice is fine."""
        ...


class SocketListener:
    """A Unix socket in a folder of mode 0700."""

    key: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hostname = str(folder / _SOCKET)

    def connection(self, address: str) -> HTTPConnection:  # noqa: ARG002 (this class knows better)
        """Return a connection to the socket."""
        return _SocketConnection(self.hostname)

    def close(self) -> None:
        """Remove the folder."""
        # A socket that cannot be removed is a dead file: no reason to fail a clean unload.
        shutil.rmtree(self.folder, ignore_errors=True)


class LoopbackListener:
    """A free port of the loopback interface, with a key."""

    hostname = "127.0.0.1"

    def __init__(self) -> None:
        self.key: str | None = secrets.token_urlsafe(32)

    def connection(self, address: str) -> HTTPConnection:
        """Return a connection to the port that the engine chose."""
        return HTTPConnection(self.hostname, int(address.rpartition(":")[2]), timeout=TIMEOUT)

    def close(self) -> None:
        """Nothing lies on the disk."""


class _SocketConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = _connected(self._path, TIMEOUT)


def _connected(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def private_listener() -> Listener:
    """Return a Unix socket where there are any, else a port with a key."""
    if not hasattr(socket, "AF_UNIX") or os.name == "nt":
        return LoopbackListener()
    # The temporary folder of whoever runs this may have a path too long for a socket.
    for parent in dict.fromkeys([tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR"), "/tmp"]):  # noqa: S108 (mkdtemp makes a private folder in it)
        if not parent or len(os.fsencode(parent)) > _LONGEST_PATH - len(_PREFIX + _SOCKET) - 12:
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # of mode 0700
        except OSError:  # not there, or not ours to write
            continue
        remove_abandoned(Path(parent))
        return SocketListener(folder)
    return LoopbackListener()


def remove_abandoned(parent: Path) -> None:
    """Remove folders left by processes that were killed: nobody listens on their socket."""
    for path in parent.glob(f"{_PREFIX}*/{_SOCKET}"):
        try:
            about = path.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < _ABANDONED:
                continue
            _connected(str(path), timeout=1.0).close()
        except ConnectionRefusedError:
            shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # gone meanwhile, or not ours to look at
            continue
