"""Sockets for HTTP: connected within a limit, read in small waits that can be interrupted.

urllib knows one timeout for everything and tries a host's addresses one after the other, each
with the whole of it; behind a firewall that drops packets that is minutes. What may not live
here: what is asked for, and what an answer means.
"""

from __future__ import annotations

import errno
import functools
import http.client
import io
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen

from .. import _threads

__all__ = ["HTTPConnection", "HTTPSConnection", "Patience", "connect"]

_STAGGER: Final = 0.25  # seconds until the next address is tried as well: RFC 8305, section 5
_TICK: Final = 0.2  # seconds between two looks at whether a silent read should go on
_UNDER_WAY: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)

_Address = tuple[int, int, int, str, Any]


@frozen
class Patience:
    """How long to wait, and what to call meanwhile."""

    connect_s: float
    """For a connection, all addresses and the TLS handshake's steps included."""
    stall_s: float
    """For the next byte."""
    tick: Callable[[], None]
    """Called while nothing comes; raises to stop."""
    guard: Callable[[str, int, Callable[[], None]], None]
    """Called with host, port and what connects to it: calls that, or says why not."""


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the address of a host that answers first.

    Raises:
        OSError: none did; TimeoutError when that took `seconds`.

    """
    deadline = time.monotonic() + seconds
    # Looking up a name has no timeout of its own and can take half a minute.
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return _race(_threads.within(seconds, look_up), deadline)


def _race(addresses: Sequence[_Address], deadline: float) -> socket.socket:
    failure = OSError(errno.EADDRNOTAVAIL, "it has no address")
    waiting = deque(addresses)
    racing: set[socket.socket] = set()
    next_start = 0.0
    try:
        with selectors.DefaultSelector() as selector:
            while waiting or racing:
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError("timed out")
                if waiting and (not racing or now >= next_start):
                    family, kind, protocol, _, address = waiting.popleft()
                    next_start = now + _STAGGER
                    try:
                        started = socket.socket(family, kind, protocol)
                        racing.add(started)
                        started.settimeout(0)
                        _check(started.connect_ex(address))
                    except OSError as error:  # no such network here: the next address may do
                        failure = error
                        continue
                    selector.register(started, selectors.EVENT_WRITE)
                    continue
                until = min(deadline, next_start) if waiting else deadline
                for key, _ in selector.select(max(0.0, until - now)):
                    settled = key.fileobj
                    if not isinstance(settled, socket.socket):
                        continue
                    code = settled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    selector.unregister(settled)
                    racing.discard(settled)
                    if code == 0:
                        settled.settimeout(None)
                        return settled
                    settled.close()
                    failure = OSError(code, os.strerror(code))
    finally:
        for other in racing:
            other.close()
    raise failure


def _check(code: int) -> None:
    if code not in _UNDER_WAY:
        raise OSError(code, os.strerror(code))


class _PatientReader(io.RawIOBase):
    """The bytes of a socket; waits in small steps, so that waiting can be interrupted."""

    def __init__(self, sock: socket.socket, seconds: float, tick: Callable[[], None]) -> None:
        super().__init__()
        self._sock = sock
        self._seconds = seconds
        self._tick = tick
        # Sockets count the files made of them: this one keeps it open until we are closed.
        self._hold = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        deadline = time.monotonic() + self._seconds
        while True:
            self._sock.settimeout(min(_TICK, self._seconds))
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                self._tick()
                if time.monotonic() >= deadline:
                    raise

    def close(self) -> None:
        self._hold.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(
        self, sock: socket.socket, *args: Any, seconds: float, tick: Callable[[], None], **kw: Any
    ) -> None:
        super().__init__(sock, *args, **kw)
        reader = _PatientReader(sock, seconds, tick)
        self.fp.close()
        self.fp = io.BufferedReader(reader)


class _Patient(http.client.HTTPConnection):
    """What both kinds of connection add to the library's own."""

    _tunnel_host: str | None  # what is asked of a proxy; the library's own, since Python 2.6
    _tunnel_port: int | None

    def __init__(self, *args: Any, patience: Patience, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._patience = patience
        self._seconds = patience.connect_s  # a proxy's answer belongs to connecting
        self._create_connection = self._connect

    def _connect(self, address: tuple[str, int], *_: Any) -> socket.socket:
        sock = connect(*address, self._patience.connect_s)
        sock.settimeout(self._patience.connect_s)  # each step of the TLS handshake
        return sock

    def response_class(  # type: ignore[override]  # it is called like the class it stands for
        self, sock: socket.socket, *args: Any, **kw: Any
    ) -> _Response:
        """Return the response that is about to arrive over `sock`."""
        return _Response(sock, *args, seconds=self._seconds, tick=self._patience.tick, **kw)

    def guarded(self, connect: Callable[[], None]) -> None:
        """Connect; from then on a silence is a stall."""
        self._patience.guard(
            self._tunnel_host or self.host, self._tunnel_port or self.port, connect
        )
        self._seconds = self._patience.stall_s
        self.sock.settimeout(self._seconds)


class HTTPConnection(_Patient):
    """A connection that opens within `patience.connect_s`."""

    def connect(self) -> None:
        """Connect, where that is not known to be in vain."""
        self.guarded(super().connect)


class HTTPSConnection(_Patient, http.client.HTTPSConnection):
    """The same, with TLS."""

    def connect(self) -> None:
        """Connect, where that is not known to be in vain."""
        self.guarded(super().connect)
