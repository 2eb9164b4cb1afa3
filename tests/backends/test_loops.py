"""The state that each event loop has, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from aiohttp_cache_di.backends import loops
from aiohttp_cache_di.backends.loops import (
    LARGE_BYTES,
    DetachedCalls,
    LoopLocal,
    PerLoop,
    SharedTask,
    aside,
    conclude,
    end,
)
from tests.backends.timed_waits import TimedWait, leave
from tests.interleaving import at_each_line, in_loop_that_ends


class Stubborn:
    """A call that ignores its cancellation *times* times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.begun = asyncio.Event()

    async def __call__(self) -> None:
        self.begun.set()
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.left -= 1
                if self.left < 0:
                    raise


class Opened:
    """Records when the state of a loop is opened and closed."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.per_loop = PerLoop(self._open, self._close)

    async def _open(self) -> int:
        self.log.append("opened")
        return len(self.log)

    async def _close(self, number: int) -> None:
        await asyncio.sleep(0)
        self.log.append("closed")


def test_what_is_open_is_closed_when_its_loop_ends_though_no_one_closes_it() -> None:
    opened = Opened()
    for _ in range(2):
        asyncio.run(opened.per_loop.here())
    assert opened.log == ["opened", "closed"] * 2


def test_what_is_closed_is_not_closed_again_when_its_loop_ends() -> None:
    opened = Opened()

    async def use() -> None:
        await opened.per_loop.here()
        await opened.per_loop.close()
        await opened.per_loop.close()
        await opened.per_loop.here()

    asyncio.run(use())
    assert opened.log == ["opened", "closed"] * 2


async def test_a_caller_who_is_cancelled_leaves_at_once_though_the_call_overhears_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "FINISH_WITHIN_S", 0.01)
    calls, call = DetachedCalls(), Stubborn(1)
    await leave(call(), calls, at=call.begun)
    assert call.left == 0, "it goes on"
    await calls.finish()
    assert call.left == -1


async def test_a_call_that_is_cancelled_as_its_wait_times_out_does_not_abandon_it() -> None:
    calls, call = DetachedCalls(), TimedWait(0.001)
    await leave(call(), calls, at=call.ending)
    call.may_end.set()
    await calls.finish()
    assert call.ended[-1] == "call", "the wait has ended before"


async def test_ending_does_not_abandon_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "INSIST_EVERY_S", 0.001)
    call = TimedWait(60)
    task = asyncio.create_task(call())
    await call.begun.wait()
    ending = asyncio.create_task(end(task))
    await asyncio.sleep(0.01)  # it has insisted
    call.may_end.set()
    await ending
    assert call.ended == ["wait", "call"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a timed wait ends what it has waited for otherwise")
async def test_a_wait_that_does_not_end_is_abandoned_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "POSTPONED_FOR_S", 0.05)
    monkeypatch.setattr(loops, "INSIST_EVERY_S", 0.001)
    monkeypatch.setattr(loops, "INSIST_TIMES", 5000)
    call, timers = TimedWait(0.001), list[object]()
    task, loop = asyncio.create_task(call()), asyncio.get_running_loop()
    await call.ending.wait()
    later = loop.call_later

    def noted(delay: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        if callback is loops._cancel_again:
            timers.append(callback)
        return later(delay, callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_later", noted)
    await end(task)
    assert (task.done(), call.ended) == (True, ["call"])
    assert len(timers) < 10, "one timer at a time, however often it is ended"
    call.may_end.set()


async def test_ending_insists_and_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "INSIST_EVERY_S", 0.001)
    for times, ends in ((3, True), (1000, False)):
        call = Stubborn(times)
        task = asyncio.create_task(call())
        await call.begun.wait()
        await end(task)
        assert task.done() is ends
        call.left = 0
        task.cancel()
        await asyncio.wait([task])


async def test_what_takes_too_long_to_close_is_ended_and_its_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FINISH_WITHIN_S", 0.01)
    call = Stubborn(0)
    await conclude(call())
    assert call.left == -1

    async def fail() -> None:
        raise OSError("it cannot be closed")

    with pytest.raises(OSError, match="cannot be closed"):
        await conclude(fail())


async def test_work_on_many_bytes_is_done_in_a_thread_and_on_few_at_once() -> None:
    here = threading.get_ident()
    assert await aside(threading.get_ident, LARGE_BYTES - 1) == here
    assert await aside(threading.get_ident, LARGE_BYTES) != here


def test_loops_of_other_threads_may_begin_and_end_at_any_step() -> None:
    opened, ended = Opened(), list[asyncio.AbstractEventLoop]()

    async def use() -> None:
        with at_each_line(lambda: ended.append(in_loop_that_ends(opened.per_loop.here))):
            await opened.per_loop.here()

    asyncio.run(use())
    assert len(ended) > 10
    assert opened.log.count("closed") == 1


async def test_tasks_of_other_loops_may_begin_and_end_at_any_step() -> None:
    shared, ended = SharedTask[None]("the store"), list[asyncio.AbstractEventLoop]()

    async def begin() -> None:
        shared.begin(partial(asyncio.sleep, 60))
        await asyncio.sleep(0)

    with at_each_line(lambda: ended.append(in_loop_that_ends(begin))):
        task = shared.begin(partial(asyncio.sleep, 0))
    assert shared.here() is task
    await task
    assert len(ended) > 3


class Value:
    """A value that can be seen to be freed."""


def test_the_value_of_the_latest_loop_is_freed_with_the_loop() -> None:
    values = LoopLocal(Value)

    async def use() -> weakref.ref[Value]:
        assert values.here() is values.here()
        return weakref.ref(values.here())

    value = asyncio.run(use())
    gc.collect()  # a loop refers to itself
    assert value() is None


def test_a_freed_loop_leaves_the_value_of_a_later_one_alone() -> None:
    values = LoopLocal(Value)
    first = asyncio.new_event_loop()
    values.here(first)
    second = asyncio.new_event_loop()
    kept = values.here(second)
    first.close()
    del first
    gc.collect()
    assert values.here(second) is kept
    assert values.items() == [(second, kept)]
    second.close()
