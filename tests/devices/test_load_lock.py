"""One load at a time on a GPU, among all programs of a user."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile

import anyio
import pytest

from evakit.devices.load_lock import load_lock
from evakit.errors import BackendBusyError, StorageError

pytestmark = pytest.mark.anyio
UUID = "GPU-10ad10c4-0000-0000-0000-000000000000"

HOLDER = f"""
import sys
import anyio
from evakit.devices.load_lock import load_lock

async def main():
    async with load_lock("{UUID}", component="other", patience=5):
        print("held", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)

anyio.run(main)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def other():
    """Another program, that holds the lock of the GPU until it is told to end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "held\n"
        yield program
        program.kill()


async def test_another_program_is_waited_for(other):
    order = []

    async def wait():
        async with load_lock(UUID, component="mine", patience=30):
            order.append("mine")

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.1)
            order.append("other")
            other.stdin.write("\n")
            other.stdin.flush()
    assert order == ["other", "mine"]


async def test_another_program_is_not_waited_for_for_ever(other):
    with pytest.raises(BackendBusyError, match=r"mine waited 0\.1 s for another program") as caught:
        async with load_lock(UUID, component="mine", patience=0.1):
            pytest.fail("two at once")
    assert caught.value.retryable


async def test_a_program_that_is_killed_frees_it(other):
    other.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    other.wait()
    async with load_lock(UUID, component="mine", patience=5):
        pass


async def test_who_waits_can_be_cancelled_and_leaves_nothing(other):
    with anyio.move_on_after(0.2) as scope:
        async with load_lock(UUID, component="mine", patience=60):
            pytest.fail("two at once")
    assert scope.cancelled_caught
    other.stdin.write("\n")
    other.stdin.flush()
    async with load_lock(UUID, component="mine", patience=5):
        pass


async def test_another_gpu_has_a_lock_of_its_own(other):
    async with load_lock("GPU-2", component="mine", patience=0):
        pass


async def test_two_of_one_process_exclude_each_other():
    async with load_lock(UUID, component="one", patience=0):
        with pytest.raises(BackendBusyError):
            async with load_lock(UUID, component="two", patience=0):
                pytest.fail("two at once")


async def test_a_failure_inside_lets_it_go():
    with pytest.raises(RuntimeError):
        async with load_lock(UUID, component="one", patience=0):
            raise RuntimeError
    async with load_lock(UUID, component="two", patience=0):
        pass


async def test_a_temporary_folder_that_cannot_be_used_is_an_error_that_says_so(folder, monkeypatch):
    nowhere = folder / "file"
    nowhere.write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    with pytest.raises(StorageError, match="set TMPDIR"):
        async with load_lock(UUID, component="one", patience=0):
            pytest.fail("without a lock")
