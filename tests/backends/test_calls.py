"""Calls that callers share or leave, and how calls that ignore their cancellation are ended."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from aiohttp_cache_di.backends import calls as module
from aiohttp_cache_di.backends.calls import LARGE_BYTES, DetachedCalls, SharedTask, aside, conclude, end
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


async def test_a_caller_who_is_cancelled_leaves_at_once_though_the_call_overhears_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FINISH_WITHIN_S", 0.01)
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
    monkeypatch.setattr(module, "INSIST_EVERY_S", 0.001)
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
    monkeypatch.setattr(module, "POSTPONED_FOR_S", 0.05)
    monkeypatch.setattr(module, "INSIST_EVERY_S", 0.001)
    monkeypatch.setattr(module, "INSIST_TIMES", 5000)
    call, timers = TimedWait(0.001), list[object]()
    task, loop = asyncio.create_task(call()), asyncio.get_running_loop()
    await call.ending.wait()
    later = loop.call_later

    def noted(delay: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        if callback is module._cancel_again:
            timers.append(callback)
        return later(delay, callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_later", noted)
    await end(task)
    assert (task.done(), call.ended) == (True, ["call"])
    assert len(timers) < 10, "one timer at a time, however often it is ended"
    call.may_end.set()


async def test_ending_insists_and_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INSIST_EVERY_S", 0.001)
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
    monkeypatch.setattr(module, "FINISH_WITHIN_S", 0.01)
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
