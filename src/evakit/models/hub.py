"""The Hugging Face hub: the address of a file, and the list of a repository's files.

`HF_ENDPOINT` names another hub or a mirror of it, `HF_TOKEN` lets into private and gated
repositories; the token is sent to that endpoint only and appears in no message or log. What
may not live here: the disk.
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urljoin

from ..errors import ConfigurationError
from .integrity import CHUNK, Expected
from .model import HubListing, HubSource
from .network import Network, same_origin
from .source_errors import CutError, RefusedError, SourceError

__all__ = ["endpoint", "file_url", "list_files", "login_hint", "token"]

_ENDPOINT: Final = "https://huggingface.co"
_PAGE_LIMIT: Final = 32 << 20  # bytes of one page of a listing; the hub's hold 1,000 files
_MANY_PAGES: Final = 100
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_NEXT: Final = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')


def endpoint() -> str:
    """Name the hub that is used."""
    return (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")


def token() -> str | None:
    """Return the secret for the hub, when there is one."""
    return os.environ.get("HF_TOKEN", "").strip() or None


def file_url(source: HubSource) -> str:
    """Say where a file of a repository is fetched from."""
    return (
        f"{endpoint()}/{quote(source.repo)}/resolve/{quote(source.revision, safe='')}"
        f"/{quote(source.path)}"
    )


def login_hint(refused: RefusedError) -> SourceError:
    """Add what to do when the hub wants to know who asks; it answers so for unknown ones too."""
    if refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return SourceError(
            f"{refused}: there is no such repository, or it wants an accepted licence and "
            "your token in HF_TOKEN"
        )
    return refused


def list_files(
    network: Network, listing: HubListing, tick: Callable[[], None]
) -> tuple[Expected, ...]:
    """Ask the hub which files a repository has that match the listing's patterns.

    Raises:
        SourceError: the hub does not say.

    """
    files = tuple(
        _expected(entry, listing)
        for entry in _entries(network, listing, tick)
        if entry.get("type") == "file" and _matches(str(entry.get("path")), listing.patterns)
    )
    if not files:
        raise SourceError(f"no file of it matches {', '.join(listing.patterns)}")
    return files


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _entries(
    network: Network, listing: HubListing, tick: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    url: str | None = (
        f"{endpoint()}/api/models/{quote(listing.repo)}/tree/{quote(listing.revision, safe='')}"
        "?recursive=true"
    )
    for _ in range(_MANY_PAGES):
        if url is None:
            return
        # The address of the next page comes from the answer: the token is for our hub alone.
        secret = token() if same_origin(url, endpoint()) else None
        try:
            response = network.open(url, tick=tick, token=secret)
        except RefusedError as refused:
            raise login_hint(refused) from refused
        with response:
            page = _json(response)
            further = _NEXT.search(", ".join(response.headers.get_all("Link", [])))
        if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
            raise SourceError("its answer is not a list of files")
        yield from page
        url = urljoin(url, further[1]) if further else None
    raise SourceError("its list of files has no end")


def _json(response: http.client.HTTPResponse) -> Any:
    data = bytearray()
    try:
        while chunk := response.read1(CHUNK):
            data += chunk
            if len(data) > _PAGE_LIMIT:
                raise SourceError("its list of files is too long")
    except (OSError, http.client.HTTPException) as error:
        raise CutError(f"its list of files broke off ({error})") from error
    if response.length:
        raise CutError("its list of files broke off")
    try:
        return json.loads(data)
    except ValueError as error:  # the sign-in page of a network, for one
        raise SourceError("its answer is not a list of files") from error


def _expected(entry: dict[str, Any], listing: HubListing) -> Expected:
    path, size, digest = entry.get("path"), entry.get("size"), entry.get("oid")
    large = entry.get("lfs")
    if isinstance(large, dict):
        size, digest = large.get("size"), large.get("oid")
    hexadecimal = _SHA256 if large else _SHA1
    if (
        not isinstance(path, str)
        or not path.isprintable()
        or not isinstance(size, int)
        or size < 0
        or not isinstance(digest, str)
        or not hexadecimal.fullmatch(digest)
    ):
        raise SourceError(f"its entry for {path!r} makes no sense")
    try:
        source = HubSource(listing.repo, listing.revision, path)
    except ConfigurationError as error:
        raise SourceError(f"it lists {path!r}, which would leave the model's folder") from error
    return Expected(path, size, digest, "sha256" if large else "git-sha1", (source,))
