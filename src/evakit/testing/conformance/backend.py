"""BackendConformance: what a backend of any kind must do.

What may not live here: promises of one kind only.
"""

from __future__ import annotations

import gc
import threading
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from ...abc import Backend, LoadContext
from ...devices import judge
from ...devices.device import REMOTE
from ._promises import promised, touched
from ._suite import Suite

__all__ = ["BackendConformance"]

# A host's other work stalls for as long. A quiet machine shows milliseconds; this one may be busy.
_LONGEST_GAP: Final = 0.5  # seconds
_PATIENCE: Final = 30.0  # seconds, for work that is to end
_WIND_DOWN: Final = 2.0  # seconds, for threads that have been told to end
# Threads in which event loops do blocking work; they wait a while for more of it.
_POOLS: Final = ("AnyIO worker thread", "Trio thread", "asyncio_", "evakit-worker")
_FOLDER_OF_FILES: Final = Path("/proc/self/fd")  # where there is none, files are not counted


class BackendConformance(Suite):
    """What holds for all kinds; a kind says in `use` what a little work is.

    The docstring of a test is the promise, which is what a failure says.
    """

    @abstractmethod
    async def use(self, backend: Any) -> object:
        """Do a little work and return what must be the same each time."""

    @promised
    def test_making_it_touches_no_file_no_socket_and_no_engine(
        self, touched_as_made: list[str], backend: Backend
    ) -> None:
        """Constructing a backend is cheap: no file, no socket, no import of the engine."""
        del backend
        assert not touched_as_made, f"it did {', '.join(touched_as_made)}"

    @promised
    def test_naming_its_models_touches_no_disk_and_no_network(self, backend: Backend) -> None:
        """`models()` only names files: it looks neither at the disk nor at the network."""
        with touched("models") as seen:
            names = [model.name for model in backend.models()]
        assert not seen, f"it did {', '.join(seen)}"
        assert len(set(names)) == len(names), f"names twice: {names}"

    @promised
    async def test_it_is_where_it_was_loaded(
        self, loaded: Backend, load_context: LoadContext
    ) -> None:
        """What a loaded backend sees of itself speaks for the device that it was loaded for."""
        remote = loaded.capabilities.devices == {"remote"}
        wanted = REMOTE if remote else load_context.device
        await loaded.warm_up()
        evidence = loaded.evidence()
        assert evidence, "it says nothing of where it is"
        proof = judge(wanted, evidence, required=())
        assert not proof.reasons, f"it is not on {wanted}: {'; '.join(proof.reasons)}"
        assert all(piece.says for piece in evidence), "it does not say what was seen"
        assert loaded.quick_check() == wanted, f"its quick check says {loaded.quick_check()}"

    @promised
    async def test_what_was_never_loaded_can_be_unloaded(self, backend: Backend) -> None:
        """`unload` gives back what there is, also when loading failed or never began."""
        await backend.unload()

    @promised
    async def test_it_is_unloaded_twice_and_loaded_again(
        self, loaded: Backend, load_context: LoadContext
    ) -> None:
        """A backend may be unloaded twice, and does the same work when it is loaded again."""
        before = await self.use(loaded)
        await loaded.unload()
        await loaded.unload()
        await self.start(loaded, load_context)
        assert await self.use(loaded) == before

    @promised
    async def test_unloading_gives_threads_and_files_back(
        self, loaded: Backend, load_context: LoadContext
    ) -> None:
        """A backend that is unloaded leaves no thread and no open file behind."""
        await self.use(loaded)
        await loaded.unload()
        before = _open_things()
        await self.start(loaded, load_context)
        await self.use(loaded)
        await loaded.unload()
        end = time.monotonic() + _WIND_DOWN
        while (left := _open_things() - before) and time.monotonic() < end:
            gc.collect()
            await anyio.sleep(0.01)
            time.sleep(0.01)  # noqa: ASYNC251 (the loop's clock may be a virtual one)
        assert not left, f"left behind: {', '.join(sorted(left))}"

    @promised
    async def test_two_at_once_are_like_one_after_the_other(self, loaded: Backend) -> None:
        """Several sessions may be open at once, and none of them notices the others."""
        alone, together = await self.use(loaded), []

        async def work() -> None:
            together.append(await self.use(loaded))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            tasks.start_soon(work)
        assert together == [alone, alone]

    @pytest.mark.parametrize("delay", [0.0, 0.01, 0.1])
    @promised
    async def test_it_works_after_it_was_cancelled(self, loaded: Backend, delay: float) -> None:
        """Work that is cancelled half-way stops, and gives its place to the next."""
        with anyio.fail_after(_PATIENCE):
            with anyio.move_on_after(delay):
                await self.use(loaded)
            await self.use(loaded)

    @promised
    async def test_the_event_loop_is_not_held_up(self, loaded: Backend) -> None:
        """A backend's work leaves the event loop free for the program's other tasks."""
        gaps = [0.0]

        async def watch(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            last = time.monotonic()  # not the loop's clock, which may be a virtual one
            task_status.started()
            while True:
                await anyio.sleep(0.005)
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

        async with anyio.create_task_group() as tasks:
            await tasks.start(watch)
            await self.use(loaded)
            await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert max(gaps) < _LONGEST_GAP, f"it was held up for {max(gaps):.1f} s"


def _open_things() -> set[str]:
    """Name the threads of Python's and the files that are open, those of event loops aside."""
    threads = {
        f"thread {thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if not thread.name.startswith(_POOLS)
    }
    if not _FOLDER_OF_FILES.exists():
        return threads
    files = {}
    for link in list(_FOLDER_OF_FILES.iterdir()):
        try:
            files[link.name] = str(link.readlink())
        except FileNotFoundError:
            continue  # it was open only to list the folder
    return threads | {f"file {number}: {target}" for number, target in files.items()}
