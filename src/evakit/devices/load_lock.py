"""The load lock of a GPU: one load at a time, among all programs of this user.

Only so does a GPU's memory, read before and after a load, tell how much that load took, and do two
programs not both count on the last gigabyte. What may not live here: what is done under it.
"""

from __future__ import annotations

import getpass
import hashlib
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from filelock import FileLock, Timeout

from .. import _threads
from ..errors import BackendBusyError, StorageError

__all__ = ["load_lock"]

_POLL: Final = 0.05  # seconds between two attempts


@asynccontextmanager
async def load_lock(uuid: str, *, component: str, patience: float) -> AsyncGenerator[None]:
    """Hold the lock of the GPU `uuid` for the length of the block.

    Raises:
        BackendBusyError: another load has held it for longer than `patience` seconds.
        StorageError: the lock's file cannot be made.

    """
    # A lock of its own each time: two of one process exclude each other as those of two do.
    lock = FileLock(await _threads.run(_path, uuid), thread_local=False)
    deadline = anyio.current_time() + patience
    try:
        while not await _threads.run(_is_acquired, lock):
            if anyio.current_time() > deadline:
                raise BackendBusyError(
                    f"{component} waited {patience:g} s for another program to finish loading on "
                    "the same GPU; try again, or end that program.",
                    backend=component,
                    retryable=True,
                )
            await anyio.sleep(_POLL)  # files wake nobody up
        yield
    finally:
        lock.release()  # does nothing where it was not acquired


def _path(uuid: str) -> Path:
    # Those who share a machine have a folder each: a lock's file belongs to whoever made it.
    whose = hashlib.sha256(_user().encode()).hexdigest()[:12]
    try:
        folder = Path(tempfile.gettempdir()) / f"evakit-{whose}"
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The temporary folder cannot be used ({error.strerror or error}), and without it two "
            "programs could load on one GPU at once; free it, or set TMPDIR."
        ) from error
    return folder / f"{uuid}.lock"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container's user without a name
        return str(Path.home())


def _is_acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError as error:
        raise StorageError(
            f"The lock {lock.lock_file} cannot be taken ({error.strerror or error}); free "
            "the temporary folder, or set TMPDIR."
        ) from error
    return True
