"""Lane, run and ThreadIterator: work in threads, one at a time for each device."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading

import anyio
import anyio.from_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evakit import _threads
from evakit._threads import Lane, ThreadIterator
from evakit.errors import BackendBusyError


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    """Worker threads wait for more work; every other thread must be gone."""
    before = set(threading.enumerate())
    yield
    left = {t for t in threading.enumerate() if t not in before and t.is_alive()}
    assert not [t for t in left if "worker" not in t.name.lower() and "trio" not in t.name.lower()]


def until(condition):
    """Wait, in a thread, until something has happened in another."""
    gate = threading.Event()
    for _ in range(5_000):
        if condition():
            return
        gate.wait(0.001)
    raise AssertionError("it did not happen within 5 s")


async def eventually(condition):
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 (what is waited for happens in other threads)
            await anyio.sleep(0.001)


# --- Lane


def test_a_lane_serves_in_the_order_of_asking():
    lane, order = Lane("cpu"), []

    def work(number):
        with lane.hold("whisper"):
            order.append(number)

    lane.acquire("whisper")
    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        until(lambda: lane.waiting == len(threads))
    lane.release()
    for thread in threads:
        thread.join(5)
    assert order == list(range(8))
    assert lane.waiting == 0


def test_a_lane_that_stays_busy_is_an_error_that_may_be_tried_again():
    lane = Lane("cpu", patience=0.05)
    with lane.hold("piper"):
        with pytest.raises(BackendBusyError, match=r"whisper was busy for 0\.05 s") as caught:
            lane.acquire("whisper")
        assert caught.value.backend == "whisper"
        assert caught.value.retryable
        assert lane.waiting == 0
    with lane.hold("whisper"):  # and it is as good as new
        assert lane.waiting == 0


def test_patience_starts_afresh_whenever_the_queue_moves():
    lane, served = Lane("cpu", patience=0.3), []

    def work(number):
        with lane.hold("whisper"):
            threading.Event().wait(0.05)
            served.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(served) == list(range(10))  # the last waited longer than anyone's patience


def test_a_lane_is_given_back_when_the_work_fails():
    lane = Lane("cpu", patience=0.05)
    with pytest.raises(ZeroDivisionError), lane.hold("whisper"):
        raise ZeroDivisionError
    with lane.hold("whisper"):
        pass


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 30)),
        min_size=2,
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None)
def test_a_lane_is_never_lost_whatever_its_users_do(plan):
    # With so little patience many leave the queue, at times just as their turn comes.
    lane, inside, most, done = Lane("cpu", patience=0.002), [], [], []

    def use(fails, milliseconds):
        with contextlib.suppress(BackendBusyError, ZeroDivisionError), lane.hold("x"):
            inside.append(fails)
            most.append(len(inside))
            threading.Event().wait(milliseconds / 1000)
            inside.pop()
            if fails:
                raise ZeroDivisionError
        done.append(fails)

    threads = [threading.Thread(target=use, args=step) for step in plan]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(done) == len(plan)
    assert set(most) <= {1}
    assert lane.waiting == 0
    assert not lane._held


async def test_a_cancelled_waiter_leaves_the_queue(anyio_backend):
    lane, served = Lane("cpu"), []
    lane.acquire("first")
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(lambda: _threads.run(served.append, "dropped", lane=lane))
            await eventually(lambda: lane.waiting == 1)
            tasks.start_soon(lambda: _threads.run(served.append, "kept", lane=lane))
            await eventually(lambda: lane.waiting == 2)
            cancelled.cancel_scope.cancel()
        assert lane.waiting == 1
        assert served == []
        lane.release()
    assert served == ["kept"]
    assert not lane._held


@pytest.mark.parametrize("delay", [0, 0.019, 0.02, 0.021])
async def test_a_lane_handed_to_a_waiter_that_is_cancelled_goes_to_the_next(anyio_backend, delay):
    lane, served = Lane("cpu"), []
    for _ in range(5):
        lane.acquire("first")
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as cancelled:
            cancelled.start_soon(lambda: _threads.run(lambda: None, lane=lane))
            await eventually(lambda: lane.waiting == 1)
            tasks.start_soon(lambda: _threads.run(served.append, "next", lane=lane))
            await eventually(lambda: lane.waiting == 2)
            await anyio.sleep(delay)
            cancelled.cancel_scope.cancel()
            lane.release()  # in the same breath
        assert lane.waiting == 0
        assert not lane._held
    assert served == ["next"] * 5


# --- run


async def test_run_returns_what_the_function_returns_from_another_thread(anyio_backend):
    here = threading.get_ident()
    there, result = await _threads.run(lambda a, b: (threading.get_ident(), a + b), 2, 3)
    assert result == 5
    assert there != here


async def test_run_raises_what_the_function_raises(anyio_backend):
    with pytest.raises(ZeroDivisionError):
        await _threads.run(lambda: 1 / 0)


async def test_work_in_one_lane_does_not_overlap(anyio_backend):
    lane, inside, most = Lane("cpu"), [], []

    def work():
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.002)
        inside.pop()

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(lambda: _threads.run(work, lane=lane))
    assert most == [1] * 10


async def test_cancelling_waits_for_the_function_to_return(anyio_backend):
    lane, started, go_on, finished = Lane("cpu"), threading.Event(), threading.Event(), []

    def work():
        started.set()
        go_on.wait(5)
        finished.append(_threads.stop_asked())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: _threads.run(work, lane=lane))
        await eventually(started.is_set)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
        assert finished == []
        go_on.set()
    assert finished == [True]  # and it could see that nobody waits for it any more
    assert not lane._held


async def test_nobody_is_asked_to_stop_who_is_waited_for(anyio_backend):
    assert await _threads.run(_threads.stop_asked) is False


def test_outside_of_a_worker_thread_nobody_is_asked_to_stop():
    assert _threads.stop_asked() is False


async def test_waiting_for_a_lane_does_not_use_up_the_hosts_own_threads(anyio_backend):
    limiter = anyio.to_thread.current_default_thread_limiter()
    started, go_on = threading.Event(), threading.Event()

    def work():
        started.set()
        go_on.wait(5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_threads.run, work)
        await eventually(started.is_set)
        borrowed = limiter.borrowed_tokens
        go_on.set()
    assert borrowed == 0


async def test_long_work_never_keeps_other_work_waiting_for_a_thread(anyio_backend):
    go_on, started = threading.Event(), []

    def work():
        started.append(1)
        go_on.wait(5)

    async with anyio.create_task_group() as tasks:
        for _ in range(70):
            tasks.start_soon(lambda: _threads.run(work, is_long=True))
        await eventually(lambda: len(started) == 64)
        with anyio.move_on_after(5):
            assert await _threads.run(lambda: "done") == "done"
            assert await _threads.run(lambda: "done", lane=Lane("cpu")) == "done"
        go_on.set()
    assert len(started) == 70


def test_two_event_loops_share_one_lane_and_both_finish():
    lane, order, failures = Lane("cpu", patience=20), [], []

    async def use(name):
        for _ in range(20):
            await _threads.run(order.append, name, lane=lane)

    def loop(name):
        try:
            asyncio.run(use(name))
        except BaseException as error:  # noqa: BLE001 (shown by the assertion below)
            failures.append(error)

    threads = [threading.Thread(target=loop, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert sorted(order) == ["a"] * 20 + ["b"] * 20
    assert not lane._held


# --- ThreadIterator


class Numbers:
    """A generator that notes in which thread it is closed."""

    def __init__(self, stop=5, error=None):
        self.closed_in = None
        self.made = []
        self.stop = stop
        self.error = error

    def __call__(self):
        try:
            for number in range(self.stop):
                self.made.append(number)
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed_in = threading.get_ident()


async def test_items_come_in_order_and_only_when_asked_for(anyio_backend):
    numbers, lane, items = Numbers(), Lane("cpu"), []
    async with ThreadIterator(numbers, lane=lane, backend="piper") as iterator:
        assert numbers.made == []
        async for number in iterator:
            items.append(number)
            assert numbers.made == items
            assert lane._held  # nobody else is served in the middle
        assert not lane._held
    assert items == [0, 1, 2, 3, 4]


async def test_leaving_early_closes_the_generator_in_a_worker_thread(anyio_backend):
    numbers = Numbers()
    async with ThreadIterator(numbers, lane=Lane("cpu"), backend="piper") as iterator:
        async for _ in iterator:
            break
        assert numbers.closed_in is None
    assert numbers.closed_in not in {None, threading.get_ident()}
    assert numbers.made == [0]


async def test_cancelling_closes_the_generator_too(anyio_backend):
    numbers, lane = Numbers(), Lane("cpu")
    async with anyio.create_task_group() as tasks:

        async def consume():
            async with ThreadIterator(numbers, lane=lane, backend="piper") as iterator:
                async for _ in iterator:
                    await anyio.sleep_forever()

        tasks.start_soon(consume)
        await eventually(lambda: numbers.made)
        tasks.cancel_scope.cancel()
    assert numbers.closed_in not in {None, threading.get_ident()}
    assert not lane._held


async def test_an_iterator_that_was_never_started_is_never_made(anyio_backend):
    numbers = Numbers()
    async with ThreadIterator(numbers, lane=None, backend="piper"):
        pass
    assert numbers.closed_in is None


async def test_an_error_in_the_middle_reaches_whoever_iterates(anyio_backend):
    numbers, lane, items = Numbers(2, ZeroDivisionError()), Lane("cpu"), []
    async with ThreadIterator(numbers, lane=lane, backend="piper") as iterator:
        with pytest.raises(ZeroDivisionError):
            async for number in iterator:
                items.append(number)  # noqa: PERF401 (what came before the error counts)
    assert items == [0, 1]
    assert not lane._held


async def test_plain_iterables_do_as_well(anyio_backend):
    async with ThreadIterator(lambda: [1, 2], lane=None, backend="piper") as iterator:
        assert [number async for number in iterator] == [1, 2]


async def test_whoever_holds_the_lane_never_waits_for_a_thread_of_those_who_want_it(anyio_backend):
    lane, items = Lane("cpu"), []

    async def consume():
        async with ThreadIterator(lambda: iter([1, 2]), lane=lane, backend="piper") as iterator:
            items.extend([number async for number in iterator])

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            async with ThreadIterator(Numbers(), lane=lane, backend="piper") as iterator:
                assert await anext(iterator) == 0
                for _ in range(80):
                    tasks.start_soon(consume)
                await eventually(lambda: lane.waiting == 64)
                assert [number async for number in iterator] == [1, 2, 3, 4]
    assert items == [1, 2] * 80  # each of them whole
    assert not lane._held


async def test_closing_waits_for_nobody_in_the_queue(anyio_backend):
    lane, numbers, served = Lane("cpu"), Numbers(), []
    async with anyio.create_task_group() as tasks:
        async with ThreadIterator(numbers, lane=lane, backend="piper") as iterator:
            await anext(iterator)
            tasks.start_soon(lambda: _threads.run(served.append, numbers, lane=lane))
            await eventually(lambda: lane.waiting == 1)
        assert numbers.closed_in is not None
        await eventually(lambda: served)
    assert not lane._held


async def test_an_iterator_that_waits_for_the_lane_is_cancelled_at_once(anyio_backend):
    lane, numbers = Lane("cpu"), Numbers()
    lane.acquire("first")
    async with anyio.create_task_group() as tasks:

        async def consume():
            async with ThreadIterator(numbers, lane=lane, backend="piper") as iterator:
                await anext(iterator)

        tasks.start_soon(consume)
        await eventually(lambda: lane.waiting == 1)
        tasks.cancel_scope.cancel()
    assert lane.waiting == 0
    assert numbers.made == []
    lane.release()
    assert not lane._held


@pytest.mark.parametrize("hop", [1, 2, 3])
async def test_cancelling_inside_a_hop_gives_the_lane_back(anyio_backend, hop):
    lane, inside, go_on, closed = Lane("cpu"), [], threading.Event(), []

    def work():
        try:
            for number in range(5):
                inside.append(number)
                if number + 1 == hop:
                    go_on.wait(5)
                yield number
        finally:
            closed.append(lane._held)

    async with anyio.create_task_group() as tasks:

        async def consume():
            async with ThreadIterator(work, lane=lane, backend="piper") as iterator:
                async for _ in iterator:
                    pass

        tasks.start_soon(consume)
        await eventually(lambda: len(inside) == hop)
        tasks.cancel_scope.cancel()
        go_on.set()
    assert len(inside) == hop
    assert closed == [True]  # nobody else was served before it was closed
    assert not lane._held


async def test_closing_by_another_task_waits_for_the_hop_under_way(anyio_backend):
    lane, inside, go_on, got = Lane("cpu"), threading.Event(), threading.Event(), []

    def work():
        yield 0
        inside.set()
        go_on.wait(5)
        yield 1

    async with anyio.create_task_group() as tasks:
        async with ThreadIterator(work, lane=lane, backend="piper") as iterator:

            async def consume():
                got.extend([number async for number in iterator])

            tasks.start_soon(consume)
            await eventually(inside.is_set)
            tasks.start_soon(_threads.run, go_on.set)
        assert not lane._held
    assert got == [0, 1]


async def test_a_failure_while_starting_gives_the_lane_back(anyio_backend):
    lane = Lane("cpu")
    async with ThreadIterator(lambda: 1 / 0, lane=lane, backend="piper") as iterator:
        with pytest.raises(ZeroDivisionError):
            await anext(iterator)
        assert not lane._held
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)
    assert not lane._held


# --- what does not stop


async def test_work_that_does_not_stop_is_given_up_and_its_lane_says_so_until_it_does(
    anyio_backend, caplog
):
    lane, started, go_on = Lane("stuck"), threading.Event(), threading.Event()

    def work():
        started.set()
        go_on.wait(10)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: _threads.run(work, lane=lane, backend="stuck", patience=0.05))
        await eventually(started.is_set)
        tasks.cancel_scope.cancel()
    with pytest.raises(BackendBusyError, match="stuck was told to stop") as caught:
        await _threads.run(lambda: "next", lane=lane, backend="stuck")
    assert caught.value.retryable
    assert [r.levelname for r in caplog.records] == ["WARNING"]

    go_on.set()
    until(lambda: not lane._held)
    assert await _threads.run(lambda: "next", lane=lane) == "next"


async def test_those_who_wait_for_a_lane_hear_at_once_that_its_holder_is_stuck(anyio_backend):
    lane, started, go_on = Lane("stuck"), threading.Event(), threading.Event()

    def work():
        started.set()
        go_on.wait(10)

    async def wait_behind():
        with pytest.raises(BackendBusyError, match="told to stop"):
            await _threads.run(lambda: None, lane=lane)
        go_on.set()

    async with anyio.create_task_group() as waiting:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: _threads.run(work, lane=lane, patience=0.05))
            await eventually(started.is_set)
            waiting.start_soon(wait_behind)
            await eventually(lambda: lane.waiting == 1)
            tasks.cancel_scope.cancel()


async def test_worker_threads_are_daemons_so_that_no_exit_waits_for_them(anyio_backend):
    assert await _threads.run(lambda: threading.current_thread().daemon)


async def test_hops_one_after_the_other_share_a_thread(anyio_backend):
    assert len({await _threads.run(threading.get_ident) for _ in range(50)}) <= 2


async def test_the_work_sees_the_context_of_its_caller_and_leaves_it_alone(anyio_backend):
    variable = contextvars.ContextVar("variable")
    variable.set("the caller's")

    def work():
        seen = variable.get()
        variable.set("the thread's")
        return seen

    assert await _threads.run(work) == "the caller's"
    assert variable.get() == "the caller's"
