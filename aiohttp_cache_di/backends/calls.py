"""Calls that several callers share, or that outlive their callers; and how calls of a driver are cancelled.

A driver may ignore its cancellation, or take long to end: a caller that is cancelled does not wait for that. `aside`
keeps work on many bytes out of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from aiohttp_cache_di.backends.tasks import FINISH_WITHIN_S, consume_error
from aiohttp_cache_di.errors import StorageError

__all__ = ["LARGE_BYTES", "DetachedCalls", "SharedTask", "aside", "cancel", "conclude", "end"]

T = TypeVar("T")

CANCEL_AGAIN_IN_S: Final = 0.001  # doubles
CANCEL_AGAIN_MAX_S: Final = 0.05
POSTPONED_FOR_S: Final = 1.0
INSIST_EVERY_S: Final = 0.1
INSIST_TIMES: Final = 20
LARGE_BYTES: Final = 256 * 1024  # verifying as much takes some tenths of a millisecond; a thread costs about one tenth

_ENDING_A_WAIT: Final = getattr(getattr(asyncio.tasks, "_cancel_and_wait", None), "__code__", None)
_postponed: WeakSet[asyncio.Task[Any]] = WeakSet()


class SharedTask(Generic[T]):
    """One task per event loop and key at a time: all callers until it ends wait for the same one.

    Args:
        what: the name, in error messages, of what the task makes.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._tasks: dict[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Task[T]] = {}

    def __len__(self) -> int:
        """The number of running tasks, in all event loops."""
        return len(self._tasks)

    def here(self, key: Hashable = None) -> asyncio.Task[T] | None:
        """The task of the running loop for *key*, if one is running."""
        return self._tasks.get((asyncio.get_running_loop(), key))

    def begin(self, make: Callable[[], Coroutine[Any, Any, T]], key: Hashable = None) -> asyncio.Task[T]:
        """The task of the running loop for *key*, started with *make* if none is running. Its failure is not logged."""
        loop = asyncio.get_running_loop()
        task = self._tasks.get((loop, key))
        if task is None:
            for place in list(self._tasks):  # a copy: loops in other threads add and remove theirs
                if place[0].is_closed():
                    self._tasks.pop(place, None)
            task = self._tasks[loop, key] = loop.create_task(make())
            task.add_done_callback(partial(self._over, key))
        return task

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]], key: Hashable = None) -> T:
        """The result of the task of the running loop for *key*; a caller that is cancelled does not cancel the task.

        Raises:
            StorageError: the task was cancelled.
            Exception: whatever the task raises.
        """
        task = self.begin(make, key)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            me = asyncio.current_task()
            if task.cancelled() and not (me is not None and me.cancelling()):
                raise StorageError(f"{self._what} was closed before it was ready") from exc
            raise

    def cancel(self) -> None:
        """Cancel the tasks of the running loop."""
        loop = asyncio.get_running_loop()
        for (its_loop, _), task in list(self._tasks.items()):
            if its_loop is loop:
                cancel(task)

    async def end(self) -> None:
        """Cancel the tasks of the running loop, and wait until they have ended."""
        loop = asyncio.get_running_loop()
        await end(*(task for (its_loop, _), task in list(self._tasks.items()) if its_loop is loop))

    def _over(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._tasks.pop((task.get_loop(), key), None)
        consume_error(task)


class DetachedCalls:
    """Calls in one event loop that may outlive their callers."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run *call* as a task, which is referenced until it ends."""
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of *call*; a cancelled caller returns at once, even if the call ignores its cancellation.

        A driver may do that (so does `asyncio.wait_for` of Python 3.11 if its awaitable ends at the same time).
        """
        task = self.begin(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            cancel(task)
            raise

    async def run_or_undo(self, call: Coroutine[Any, Any, T], undo: Callable[[], Coroutine[Any, Any, None]]) -> T:
        """The result of *call*; if the caller is cancelled, the call runs to its end, and then *undo* runs."""
        task = self.begin(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.begin(self._undo(task, undo))
            raise

    async def finish(self) -> None:
        """Wait for calls under way, for a second at most, and cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH_WITHIN_S)
        await end(*self._tasks)

    @staticmethod
    async def _undo(task: asyncio.Task[Any], undo: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(Exception):  # if the server does not answer, the lease expires by itself
            await task
            await undo()


def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel *task*, though not while `asyncio.wait_for` in it ends what it has waited for, but soon after that.

    Until Python 3.12, that would abandon what is being ended. If that is ``wait`` of a condition, it takes the lock
    later all the same, and nothing releases it: a driver whose operations share the lock then waits forever. After
    `POSTPONED_FOR_S` the task is cancelled in any case.
    """
    if task.done() or task in _postponed:
        return
    if _is_ending_a_wait(task):
        _postponed.add(task)
        _cancel_later(task, CANCEL_AGAIN_IN_S, task.get_loop().time() + POSTPONED_FOR_S)
    else:
        task.cancel()


def _cancel_later(task: asyncio.Task[Any], in_s: float, until: float) -> None:
    task.get_loop().call_later(in_s, _cancel_again, task, in_s, until)


def _cancel_again(task: asyncio.Task[Any], waited_s: float, until: float) -> None:
    if _is_ending_a_wait(task) and task.get_loop().time() < until:
        _cancel_later(task, min(2 * waited_s, CANCEL_AGAIN_MAX_S), until)
    else:
        _postponed.discard(task)
        task.cancel()


def _is_ending_a_wait(task: asyncio.Task[Any]) -> bool:
    """Whether *task* is in the part of `asyncio.wait_for` that cancels an awaitable and waits for its end."""
    awaited: object = task.get_coro()
    while isinstance(awaited, CoroutineType):
        if awaited.cr_code is _ENDING_A_WAIT:
            return True
        awaited = awaited.cr_await
    return False


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel *tasks*, repeatedly if they do not end, for two seconds at most.

    A cancelled driver may first notify its server, and wait for an answer although the server is frozen.
    """
    for _ in range(INSIST_TIMES):
        running = [task for task in tasks if not task.done()]
        if not running:
            return
        for task in running:
            cancel(task)
        await asyncio.wait(running, timeout=INSIST_EVERY_S)


async def conclude(call: Coroutine[Any, Any, object]) -> None:
    """Await *call*, which closes something, for a second at most; then cancel it."""
    task = asyncio.get_running_loop().create_task(call)
    await asyncio.wait([task], timeout=FINISH_WITHIN_S)
    await end(task)
    if task.done() and not task.cancelled():
        task.result()


async def aside(work: Callable[[], T], weight_bytes: int) -> T:
    """Run *work* on *weight_bytes* of data: directly if they are few, else in a thread, so as not to block the loop."""
    return work() if weight_bytes < LARGE_BYTES else await asyncio.to_thread(work)
