"""The threads of a store in files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest

from aiohttp_cache_di.backends.filesystem.pool import Pool
from tests.interleaving import at_each_line, at_line, in_loop_that_ends

SIZE = 3
LEAVES_AN_ERRAND = """
from aiohttp_cache_di.backends.filesystem.pool import Pool

class Left:
    def __init__(self):
        self.pool, self.cycle = Pool(1), self

    def __del__(self):
        try:
            self.pool.post(print)
        except RuntimeError as exc:
            print(exc)

left = Left()
"""


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool whose threads end with the test."""
    pool = Pool(SIZE)
    yield pool
    pool.stop()


async def test_what_is_done_in_turn_is_done_by_one_thread(pool: Pool) -> None:
    used: set[int] = set()
    for _ in range(100):
        used.add(await pool.run(threading.get_ident))
    assert len(used) == 1


async def test_no_job_is_left_where_many_come_as_threads_begin_to_wait(pool: Pool) -> None:
    async def ask(count: int) -> None:
        for n in range(count):
            assert await pool.run(partial(abs, n)) == n

    async with asyncio.timeout(60):
        for tasks in (1, 2, SIZE, 2 * SIZE):
            await asyncio.gather(*(ask(200) for _ in range(tasks)))


async def test_a_thread_that_waits_holds_nothing_of_what_it_did_last(pool: Pool) -> None:
    class Body:
        pass

    body = await pool.run(Body)
    is_there = weakref.ref(body)
    del body
    async with asyncio.timeout(10):
        while is_there() is not None:  # noqa: ASYNC110  # there is no event for a thread that waits
            await asyncio.sleep(0)


async def test_what_is_done_at_once_is_done_by_as_many_threads_as_there_may_be(pool: Pool) -> None:
    await pool.run(threading.get_ident)
    meeting = threading.Barrier(SIZE)
    await asyncio.gather(*(pool.run(lambda: meeting.wait(10)) for _ in range(SIZE)))
    await asyncio.gather(*(pool.run(threading.get_ident) for _ in range(10 * SIZE)))
    assert len(pool._threads) == SIZE


async def test_an_errand_is_done_though_a_job_takes_the_only_thread(pool: Pool) -> None:
    may_end, done = threading.Event(), threading.Event()
    job = pool.run(lambda: may_end.wait(10))
    pool.post(done.set)
    await asyncio.sleep(0)
    other = pool.run(lambda: done.wait(10))  # another thread runs it
    assert await other
    may_end.set()
    assert await job


async def test_an_errand_is_done_on_the_way_to_what_its_caller_asks_for_next(pool: Pool) -> None:
    await pool.run(threading.get_ident)
    done: list[str] = []
    pool.post(partial(done.append, "errand"))
    await pool.run(partial(done.append, "job"))
    assert done == ["errand", "job"]
    assert pool._queue.empty(), "no thread is woken for it"


async def test_no_thread_is_woken_for_an_errand_if_a_job_waits_that_takes_it_along() -> None:
    pool, may_end, done = Pool(1), threading.Event(), list[str]()
    first = pool.run(lambda: may_end.wait(10))
    while not pool._queue.empty():  # noqa: ASYNC110  # there is no event for a job that was taken
        await asyncio.sleep(0)
    pool.post(partial(done.append, "errand"))
    second = pool.run(partial(done.append, "job"))
    await asyncio.sleep(0)
    assert pool._queue.qsize() == 1, "the job alone"
    may_end.set()
    await asyncio.gather(first, second)
    assert done == ["errand", "job"]
    pool.stop()


async def test_an_errand_is_done_where_its_caller_asks_for_nothing(pool: Pool) -> None:
    done = threading.Event()
    pool.post(done.set)
    await asyncio.sleep(0)
    assert await asyncio.to_thread(done.wait, 10)


async def test_an_errand_from_where_there_is_no_loop_is_done_at_once(pool: Pool) -> None:
    done = threading.Event()
    await asyncio.to_thread(pool.post, done.set)
    assert await asyncio.to_thread(done.wait, 10)


async def test_an_errand_is_done_once_all_is_finished(pool: Pool) -> None:
    may_go_on, done = threading.Event(), threading.Event()

    def errand() -> None:
        may_go_on.wait(10)
        done.set()

    pool.post(errand)
    finishing = asyncio.ensure_future(pool.finish(10))
    await asyncio.wait([finishing], timeout=0.02)
    assert not finishing.done()
    may_go_on.set()
    await finishing
    assert done.is_set()


async def test_errands_are_waited_for_where_a_test_has_stopped_the_clock_of_the_loop(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, loop, now = threading.Event(), asyncio.get_running_loop(), time.monotonic()
    pool.post(lambda: may_go_on.wait(10))
    monkeypatch.setattr(loop, "time", lambda: now)
    finishing = asyncio.ensure_future(pool.finish(10))
    for delay_s, call in ((0.05, may_go_on.set), (10, lambda: loop.call_soon_threadsafe(finishing.cancel))):
        timer = threading.Timer(delay_s, call)
        timer.start()
    await finishing
    timer.cancel()


async def test_an_errand_that_hangs_is_not_waited_for_any_longer_than_asked(pool: Pool) -> None:
    may_end = threading.Event()
    pool.post(lambda: may_end.wait(60))
    async with asyncio.timeout(20):
        await pool.finish(0.01)
    may_end.set()


async def test_a_thread_that_cannot_be_started_counts_as_none(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(SIZE):
        with pytest.raises(RuntimeError, match="can't start"):
            pool.run(threading.get_ident)
    monkeypatch.undo()
    async with asyncio.timeout(10):
        await pool.run(threading.get_ident)
    monkeypatch.setattr(threading.Thread, "start", start)
    async with asyncio.timeout(10):
        used = await asyncio.gather(*(pool.run(threading.get_ident) for _ in range(10)))
    assert len(set(used)) == 1, "the one that there is does what others would"


def test_what_is_left_when_the_interpreter_ends_does_not_keep_it_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES_AN_ERRAND], capture_output=True, text=True, timeout=30)
    said = "no thread can be started while the interpreter ends\n"
    assert (ended.returncode, ended.stdout) == (0, said), ended.stderr


async def test_threads_that_were_stopped_are_begun_anew(pool: Pool) -> None:
    first = await pool.run(threading.current_thread)
    pool.stop()
    second = await pool.run(threading.current_thread)
    assert first is not second
    first.join(10)
    assert not first.is_alive()


def stop_in_another_thread(pool: Pool) -> None:
    """Stop *pool*, or let another thread do that as soon as it can."""
    another = threading.Thread(target=pool.stop, daemon=True)
    another.start()
    another.join(0.01)


async def test_a_job_is_done_if_another_loop_stops_the_threads_at_any_step(pool: Pool) -> None:
    line = 0
    for line in count():
        await pool.run(threading.get_ident)
        with at_line(line, partial(stop_in_another_thread, pool)) as came:
            future = pool.run(threading.get_ident)
        async with asyncio.timeout(10):
            await future
        if not came:
            break
    assert line > 3


async def test_loops_of_other_threads_may_begin_and_end_at_any_step(pool: Pool) -> None:
    ended: list[asyncio.AbstractEventLoop] = []

    async def use() -> None:
        await pool.run(threading.get_ident)

    await use()
    with at_each_line(lambda: ended.append(in_loop_that_ends(use))):
        assert not pool.is_shared
    assert len(ended) > 3


async def test_a_job_is_done_if_another_loop_stops_the_threads_just_before_it_is_queued(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.run(threading.get_ident)
    queue = pool._queue

    class StoppedBefore:
        """The queue, whose user looks it up a moment before a job is put into it."""

        def put(self, job: Any) -> None:
            stop_in_another_thread(pool)
            queue.put(job)

    monkeypatch.setattr(pool, "_queue", StoppedBefore())
    future = pool.run(threading.get_ident)
    async with asyncio.timeout(10):
        await future
