"""ModelStore: the folder with the fetched models, shared by all processes of a user.

What may not live here: the network (`sources.py`) and the names of folders (`folders.py`).
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .. import _threads
from .._logging import logger
from ..errors import ModelIntegrityError, ModelUnavailableError, StorageError
from .folders import Folders, storage
from .integrity import Expected
from .manifest import read_manifest, write_manifest
from .model import Model
from .progress import Progress, Reporter, StoppedError

if TYPE_CHECKING:
    from .index import Index
    from .network import Network

__all__ = ["ModelStore"]

_log = logger(__name__)
_LOCK_TICK: Final = 0.1  # seconds between two looks at whether another process is done


class ModelStore:
    """The models on this machine; fetches and checks what is missing.

    Safe to use from several threads and processes: one fetches a model, the others wait for it.

    Args:
        home: The folder of all models; None for `$EVAKIT_HOME`, else the platform's cache folder.
        offline: Whether nothing is ever fetched.

    """

    def __init__(self, home: Path | None = None, *, offline: bool = False) -> None:
        self._folders = Folders(home)
        self.offline = offline
        """Whether nothing is ever fetched."""

    # `import evakit` must not pay for HTTP, TLS, zip and locks: they come with the first fetch.

    @functools.cached_property
    def _network(self) -> Network:
        from .network import Network  # noqa: PLC0415  # see above

        return Network()

    @functools.cached_property
    def _index(self) -> Index:
        from .index import Index  # noqa: PLC0415  # see above

        return Index()

    @property
    def home(self) -> Path:
        """The folder that holds all models."""
        return self._folders.home

    def path(self, model: Model) -> Path | None:
        """Return a model's folder when all its files are there; None otherwise.

        Looks at sizes and at the hashes noted when the files came, and reads none of them.

        Raises:
            StorageError: the folder may not be looked into.

        """
        folder = self._folders.model(model.name)
        with storage(folder):
            return folder if _complete(folder, model) else None

    def ensure(self, model: Model, *, progress: Progress | None = None) -> Path:
        """Return a model's folder, after fetching and checking what is missing.

        Blocks. An exception raised by `progress`, a cancellation of the task that waits for this
        worker thread, and Ctrl-C end it between two chunks; the next call continues from there.

        Raises:
            ModelUnavailableError: no source delivers it, or it is missing and evakit is offline.
            ModelIntegrityError: what a source delivered is not the declared file.
            StorageError: the disk is full, or the folder cannot be written.

        """
        here = self.path(model)
        if here is not None:
            return here
        if self.offline:
            raise _missing(model, also=" and evakit is offline")
        report = Reporter(model.name, progress)
        try:
            with self._lock(model, report):
                return self.path(model) or self._fetch(model, report)
        except StoppedError as stopped:
            raise stopped.exception from None

    def verify(self, model: Model) -> None:
        """Read every file of a model and compare its SHA-256 with the declared one.

        Raises:
            ModelIntegrityError: a file is missing or differs; says which.
            ModelUnavailableError: the model is not here.
            StorageError: a file cannot be read.

        """
        folder = self._folders.model(model.name)
        with storage(folder):
            files = _declared(model) or read_manifest(folder, model)
            if not folder.is_dir() or not files:
                raise _missing(model)
            for file in files:
                if not file.is_intact(folder / file.name, _threads.check_cancelled):
                    raise ModelIntegrityError(
                        f"{file.name} of {model.name} in {folder} is not the declared file; run "
                        f"'evakit models remove {model.name}' and then "
                        f"'evakit models fetch {model.name}'.",
                        model=model.name,
                    )

    def remove(self, model: Model) -> bool:
        """Delete a model and what was fetched of it; say whether there was anything.

        Raises:
            StorageError: it cannot be deleted, or is being fetched just now.

        """
        folder, partial = self._folders.model(model.name), self._folders.partial(model.name)
        with storage(folder):
            if not folder.exists() and not partial.exists():
                return False
        with self._locked(model) as locked:
            if not locked:
                raise StorageError(
                    f"{model.name} is being fetched by another process; "
                    "try again when that is done."
                )
            with storage(folder):
                if partial.exists():
                    shutil.rmtree(partial)
                if folder.exists():
                    partial.mkdir(parents=True)
                    folder.rename(partial / "removed")  # at once: half of it is never seen
                    shutil.rmtree(partial)
        return True

    def _fetch(self, model: Model, report: Reporter) -> Path:
        from .sources import Fetching  # noqa: PLC0415  # see above

        folder, partial = self._folders.model(model.name), self._folders.partial(model.name)
        arrived = partial / "files"
        try:
            with storage(partial):
                arrived.mkdir(parents=True, exist_ok=True)
            fetching = Fetching(self._network, self._index, partial, arrived, report)
            files = _declared(model)
            if not files and model.listing is not None:
                files = fetching.listed(model.listing)
            if not files:
                raise ModelUnavailableError(
                    f"{model.name} declares no files; tell the author of its plugin.",
                    model=model.name,
                )
            report.plan(files)
            with storage(partial):
                kept = [f for f in files if f.is_intact(folder / f.name, report.tick)]
                here = [f for f in files if f.is_intact(arrived / f.name, report.tick)]
            for file in (*kept, *here):
                report.finished(file.name)
            missing = tuple(f for f in files if f not in kept and f not in here)
            self._folders.need(sum(f.size for f in missing) - _bytes_in(partial), model.name)
            fetching.fetch_all(missing)
            with storage(folder):
                for file in kept:
                    (arrived / file.name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file.name).replace(arrived / file.name)
                _drop_others(arrived, files)
                write_manifest(arrived, model, files)
                if folder.exists():  # what is left in it does not belong to the model
                    shutil.rmtree(folder)
                folder.parent.mkdir(parents=True, exist_ok=True)
                arrived.rename(folder)
        except StorageError:  # a full disk gets its room back
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except BaseException:
            if not _bytes_in(partial):  # nothing that could be continued
                shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(partial, ignore_errors=True)
        return folder

    @contextmanager
    def _lock(self, model: Model, report: Reporter) -> Generator[None]:
        """Hold the model's lock; wait for it as long as it takes, or until the caller stops."""
        told = False
        while True:
            with self._locked(model) as locked:
                if locked:
                    yield
                    return
            if not told:
                _log.info("another process is fetching %s; waiting for it", model.name)
                told = True
            report.tick()
            time.sleep(_LOCK_TICK)

    @contextmanager
    def _locked(self, model: Model) -> Generator[bool]:
        """Hold the model's lock if it is free; gives whether it is held."""
        from filelock import FileLock, Timeout  # noqa: PLC0415  # see above

        path = self._folders.lock(model.name)
        lock = FileLock(path)
        with storage(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(Timeout):  # held elsewhere; an OSError, which `storage` must not see
                lock.acquire(blocking=False)
        try:
            yield lock.is_locked
        finally:
            lock.release()


def _declared(model: Model) -> tuple[Expected, ...]:
    return tuple(Expected.of(file) for file in model.files)


def _complete(folder: Path, model: Model) -> bool:
    noted = read_manifest(folder, model)
    files = _declared(model) or noted or ()
    checked = {file.name: file.digest for file in noted or ()}
    return bool(files) and all(
        checked.get(file.name, file.digest) == file.digest and _has_size(folder / file.name, file)
        for file in files
    )


def _has_size(path: Path, file: Expected) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _drop_others(folder: Path, files: Iterable[Expected]) -> None:
    """Delete what an earlier declaration of the model left behind."""
    wanted = {folder / file.name for file in files}
    for path in folder.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


def _missing(model: Model, also: str = "") -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{model.name} is not on this machine{also}; fetch it with "
        f"'evakit models fetch {model.name}'.",
        model=model.name,
    )
