"""download: the bytes of one address into one file, continued where an earlier try ended.

What may not live here: which address, and whether the bytes are the right ones; that the
caller checks by hash.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from .folders import storage, write_all
from .integrity import CHUNK
from .network import Network
from .source_errors import CutError, RefusedError, WrongBytesError

__all__ = ["download"]

_WORTHWHILE: Final = 1 << 20  # bytes that make a broken try worth another one
_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

Arrived = Callable[[int, int | None], None]
"""Called with the bytes that are here and all bytes, where known; raises to stop."""


def download(
    network: Network,
    url: str,
    to: Path,
    *,
    arrived: Arrived,
    size: int | None = None,
    limit: int | None = None,
    token: str | None = None,
) -> None:
    """Fetch `url` into the file `to`, after what is there already.

    When a try breaks or stands still, it is continued once; then `to` keeps what came. Never
    are more than `size` bytes written, nor more than `limit` when neither `size` nor the
    server says how many there are.

    Raises:
        SourceError: the address did not deliver.
        StorageError: the file could not be written.

    """
    transfer = _Transfer(network, url, to, arrived, size, limit, token)
    furthest, in_vain = transfer.here(), 0
    while True:
        try:
            transfer.run()
            return
        except CutError:
            here = transfer.here()
            in_vain = 0 if here - furthest >= _WORTHWHILE else in_vain + 1
            furthest = max(furthest, here)
            if in_vain > 1:
                raise


@frozen
class _Transfer:
    network: Network
    url: str
    to: Path
    arrived: Arrived
    size: int | None
    limit: int | None
    token: str | None

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def here(self) -> int:
        with storage(self.to):
            return self.to.stat().st_size if self.to.exists() else 0

    def drop(self) -> None:
        with storage(self.to):
            self.to.unlink(missing_ok=True)

    def run(self) -> None:
        """Fetch what is missing, in one request, or two when the first shows ours to be useless."""
        have = self.here()
        if self.size is not None and have > self.size:
            self.drop()
            have = 0
        if self.size is not None and have == self.size and have:
            self.arrived(have, self.size)
            return
        try:
            response = self.open({"Range": f"bytes={have}-"} if have else {})
        except RefusedError as refused:
            if refused.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
                raise
            if _total(refused.headers) == have and self.size is None:
                return  # all of it is here, which only now is known
            self.drop()
            have = 0
            response = self.open({})
        with response:
            if response.status != HTTPStatus.PARTIAL_CONTENT:
                have = 0  # the server sends all of it: start anew
            elif _start(response.headers) != have:
                self.drop()
                raise CutError(f"{self.host} sent another part than the one asked for")
            self.receive(response, have)

    def open(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        return self.network.open(
            self.url,
            headers=headers,
            token=self.token,
            tick=lambda: self.arrived(0, self.size),
        )

    def receive(self, response: http.client.HTTPResponse, have: int) -> None:
        offered = None if response.length is None else have + response.length
        if self.size is not None and offered is not None and offered != self.size:
            self.drop()
            raise WrongBytesError(
                f"{self.host} offers {offered} bytes where {self.size} are declared"
            )
        total = self.size if self.size is not None else offered
        most = total if total is not None else self.limit
        with storage(self.to):
            file = self.to.open("ab" if have else "wb", buffering=0)
        with file:
            while chunk := self.read(response):
                if most is not None and have + len(chunk) > most:
                    file.close()
                    self.drop()
                    raise WrongBytesError(f"{self.host} sends more than {most} bytes")
                with storage(self.to):
                    write_all(file, chunk)
                have += len(chunk)
                self.arrived(have, total)
        if total is not None and have < total:
            raise CutError(f"{self.host} closed the connection after {have} of {total} bytes")

    def read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(CHUNK)
        except TimeoutError as error:
            raise CutError(f"{self.host} sent nothing for {self.network.stall_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise CutError(f"the connection to {self.host} broke ({error})") from error


def _start(headers: Message) -> int | None:
    match = _RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(match[1]) if match and match[1] else None


def _total(headers: Message) -> int | None:
    match = _RANGE.fullmatch(headers.get("Content-Range", ""))
    return int(match[2]) if match and match[2] != "*" else None
