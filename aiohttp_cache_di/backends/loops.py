"""What each event loop has of its own: a driver's client that is used in one loop works in no other.

A forked child has loops of its own, so that what stands here under its parent's is never looked at.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

from aiohttp_cache_di.backends.wrap.tasks import background, consume_error
from aiohttp_cache_di.errors import StorageError

__all__ = ["LARGE_BYTES", "DetachedCalls", "PerLoop", "SharedTask", "aside", "conclude", "end", "is_in_a_loop"]

T = TypeVar("T")

FINISH_WITHIN_S: Final = 1.0  # as long as the engine gives its own tasks
INSIST_EVERY_S: Final = 0.1
INSIST_TIMES: Final = 20
LARGE_BYTES: Final = 256 * 1024  # checking as much takes a fraction of a millisecond; a thread costs about a tenth

_inherited: list[object] = []  # what a parent process uses: its sockets are not for a forked child to close


def is_in_a_loop() -> bool:
    """Whether an event loop runs here, which must not wait for a file."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class SharedTask(Generic[T]):
    """A task in each event loop that asks for it: all who ask until it ends wait for the same one.

    Args:
        what: may be used when the task has ended, as messages call it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[T]] = {}

    def here(self) -> asyncio.Task[T] | None:
        """The task of the running loop, until it ends."""
        return self._tasks.get(asyncio.get_running_loop())

    def begin(self, make: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The task of the running loop, made of what *make* gives if there is none; its failure is no news."""
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        if task is None:
            for closed in [each for each in self._tasks if each.is_closed()]:
                del self._tasks[closed]
            task = self._tasks[loop] = loop.create_task(make())
            task.add_done_callback(self._over)
        return task

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the task of the running loop; one who is cancelled takes it from none.

        Raises:
            StorageError: the task was cancelled; or what it raises.
        """
        task = self.begin(make)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            me = asyncio.current_task()
            if task.cancelled() and not (me is not None and me.cancelling()):
                raise StorageError(f"{self._what} was closed while it was being opened") from exc
            raise

    def _over(self, task: asyncio.Task[T]) -> None:
        self._tasks.pop(task.get_loop(), None)
        consume_error(task)


class PerLoop(Generic[T]):
    """Opens something for each event loop when it is first asked for there; a forked child's loops open anew.

    A loop that ends in an orderly way cancels its tasks first (`asyncio.run` does): what is open there is closed then.

    Args:
        opening: makes it, in the loop that is to use it.
        closing: ends it, in the same loop.
    """

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, T]], closing: Callable[[T], Awaitable[None]]) -> None:
        self._make = opening
        self._end = closing
        self._open: dict[asyncio.AbstractEventLoop, T] = {}
        self._opening: SharedTask[T] = SharedTask("the store")
        self._keepers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._pid = os.getpid()

    def now(self) -> T | None:
        """What the running loop has, if it is open."""
        return self._open.get(asyncio.get_running_loop())

    async def here(self) -> T:
        """What the running loop has, opened if need be.

        Raises:
            StorageError: it was closed while it was being opened; or what the opening raises.
        """
        found = self._open.get(asyncio.get_running_loop())
        if found is not None:
            return found
        self._forget_others()
        return await self._opening.run(self._begin)

    async def close(self) -> None:
        """End what the running loop has; may be called twice."""
        loop = asyncio.get_running_loop()
        self._forget_others()
        task = self._opening.here()
        if task is not None:
            await end(task)
        found = self._open.pop(loop, None)
        if found is not None:
            self._keepers.pop(loop).cancel()
            await self._end(found)

    async def _begin(self) -> T:
        found, loop = await self._make(), asyncio.get_running_loop()
        self._open[loop] = found
        self._keepers[loop] = background(self._keep(loop, found))
        return found

    async def _keep(self, loop: asyncio.AbstractEventLoop, found: T) -> None:
        """Close *found* when the loop ends."""
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            if self._open.get(loop) is found:
                del self._open[loop], self._keepers[loop]
                await self._end(found)
            raise

    def _forget_others(self) -> None:
        """Drop what belongs to closed loops, or to a parent process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            _inherited.extend((self._open, self._keepers))
            self._open, self._keepers = {}, {}
        for loop in [loop for loop in self._open if loop.is_closed()]:
            del self._open[loop], self._keepers[loop]


class DetachedCalls:
    """Calls in one loop that go on when their caller has gone."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run *call* as a task that is kept until it ends."""
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of *call*; a caller who is cancelled leaves at once, whatever the call makes of its cancellation.

        A driver may overhear it (`asyncio.wait_for` of Python 3.11 does, when what it waits for ends at the same time).
        """
        task = self.begin(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def run_or_undo(self, call: Coroutine[Any, Any, T], undo: Callable[[], Coroutine[Any, Any, None]]) -> T:
        """The result of *call*; where the caller is cancelled, the call goes on to its end and is then undone."""
        task = self.begin(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.begin(self._undo(task, undo))
            raise

    async def finish(self) -> None:
        """Wait a moment for what is under way, and cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH_WITHIN_S)
        await end(*self._tasks)

    @staticmethod
    async def _undo(task: asyncio.Task[Any], undo: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(Exception):  # a server that does not answer lets a lease expire by itself
            await task
            await undo()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel *tasks*, and again those that have not ended soon, for some seconds at most.

    A driver that is cancelled may first tell its server so, and wait for the answer of one that is frozen.
    """
    for _ in range(INSIST_TIMES):
        running = [task for task in tasks if not task.done()]
        if not running:
            return
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=INSIST_EVERY_S)


async def conclude(call: Coroutine[Any, Any, object]) -> None:
    """Give *call*, which closes something, a moment; then end it."""
    task = asyncio.get_running_loop().create_task(call)
    await asyncio.wait([task], timeout=FINISH_WITHIN_S)
    await end(task)
    if task.done() and not task.cancelled():
        task.result()


async def aside(work: Callable[[], T], weight_bytes: int) -> T:
    """Do *work* on as many bytes: at once where they are few, else in a thread, so that the loop goes on."""
    return work() if weight_bytes < LARGE_BYTES else await asyncio.to_thread(work)
