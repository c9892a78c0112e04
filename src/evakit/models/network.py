"""Network: opens addresses, follows redirects, and remembers which hosts do not connect.

Only the standard library is used. What may not live here: which addresses, and the disk.
"""

from __future__ import annotations

import functools
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import IO, Final
from urllib.parse import urlsplit

from .connection import HTTPConnection, HTTPSConnection, Patience
from .source_errors import CutError, RefusedError, SourceError, UnreachableError

__all__ = ["Network", "same_origin"]

CONNECT_S: Final = 3.0
"""A host that takes longer to connect is skipped: design.md section 8."""
STALL_S: Final = 20.0
"""Seconds without a byte after which a download is continued anew; our choice."""
REMEMBERED_S: Final = 300.0
"""How long a host that did not connect is skipped: a run of fetching, not a server's whole life."""


def same_origin(one: str, other: str) -> bool:
    """Say whether two addresses have the same scheme, host and port."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class Network:
    """Opens addresses within time limits; shared by all fetching of one store."""

    def __init__(self) -> None:
        self.connect_s = CONNECT_S
        self.stall_s = STALL_S
        self._unreachable: dict[str, tuple[float, str]] = {}
        self._context: ssl.SSLContext | None = None

    def open(
        self,
        url: str,
        *,
        tick: Callable[[], None],
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> http.client.HTTPResponse:
        """Open an address; `token` goes to that address's origin only, never to a redirect's.

        Raises:
            SourceError: it could not be opened; one of its subclasses says how.

        """
        host = urlsplit(url).netloc.rpartition("@")[2]
        try:
            request = urllib.request.Request(  # noqa: S310  # the opener knows http and https only
                url, headers={"User-Agent": "evakit", **(headers or {})}
            )
            if token:
                request.add_unredirected_header("Authorization", f"Bearer {token}")
            response: http.client.HTTPResponse = self._opener(tick).open(
                request, timeout=self.stall_s
            )
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(
                    f"{host} answered {error.code} ({error.reason})",
                    status=error.code,
                    headers=error.headers,
                ) from error
        except urllib.error.URLError as error:
            raise CutError(f"{host} could not be asked: {error.reason}") from error
        except TimeoutError as error:
            raise CutError(f"{host} did not answer within {self.stall_s:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CutError(f"{host} gave no proper answer: {error}") from error
        return response

    def skipped(self, host: str) -> str | None:
        """Say why a host is skipped, or None."""
        when, reason = self._unreachable.get(host, (0.0, ""))
        return reason if reason and time.monotonic() - when < REMEMBERED_S else None

    def skip(self, host: str, reason: str) -> None:
        """Skip a host from now on."""
        self._unreachable[host] = (time.monotonic(), reason)

    def _guard(self, host: str, port: int, connect: Callable[[], None]) -> None:
        """Connect, unless it is known to be in vain."""
        where = f"{host}:{port}"
        reason = self.skipped(where)
        if reason:
            raise UnreachableError(reason)
        try:
            connect()
            return
        except (OSError, OverflowError, UnicodeError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError):
                reason = f"{host} did not connect within {self.connect_s:g} s"
            else:
                reason = f"{host} cannot be connected to ({_why(error)})"
            self.skip(where, reason)
            raise UnreachableError(reason) from error

    def _certificates(self) -> ssl.SSLContext:
        if self._context is None:  # reading all certificates takes its time
            self._context = ssl.create_default_context()
        return self._context

    def _opener(self, tick: Callable[[], None]) -> urllib.request.OpenerDirector:
        patience = Patience(self.connect_s, self.stall_s, tick, self._guard)
        opener = urllib.request.OpenerDirector()
        # Named one by one: the default opener also reads file:, ftp: and data: addresses.
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
            _HTTPHandler(functools.partial(HTTPConnection, patience=patience)),
            _HTTPSHandler(
                lambda *args, **kw: HTTPSConnection(
                    *args, patience=patience, context=self._certificates(), **kw
                )
            ),
        ):
            opener.add_handler(handler)
        return opener


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917  # the library's signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is None:
            return None
        if req.type == "https" and new.type != "https":
            raise SourceError(f"{req.host} redirects to an address without encryption")
        secret = req.unredirected_hdrs.get("Authorization")
        if secret and same_origin(req.full_url, new.full_url):  # a repository that was renamed
            new.add_unredirected_header("Authorization", secret)
        return new


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, connection: Callable[..., http.client.HTTPConnection]) -> None:
        super().__init__()
        self._connection = connection

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, connection: Callable[..., http.client.HTTPConnection]) -> None:
        super().__init__()
        self._connection = connection

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)
