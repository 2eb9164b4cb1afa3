"""What belongs to one event loop: values (`LoopLocal`), opened resources (`PerLoop`), shared and detached tasks.

A driver's client works only in the loop where it is used. A forked child has event loops of its own, so it never uses
the clients of its parent's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.tasks import FINISH_WITHIN_S, background, consume_error, keys_in
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "LARGE_BYTES",
    "ByLoop",
    "DetachedCalls",
    "LoopLocal",
    "PerLoop",
    "SharedTask",
    "aside",
    "cancel",
    "conclude",
    "end",
    "is_in_a_loop",
]

T = TypeVar("T")

CANCEL_AGAIN_IN_S: Final = 0.001  # doubles
CANCEL_AGAIN_MAX_S: Final = 0.05
POSTPONED_FOR_S: Final = 1.0
INSIST_EVERY_S: Final = 0.1
INSIST_TIMES: Final = 20
LARGE_BYTES: Final = 256 * 1024  # verifying as much takes some tenths of a millisecond; a thread costs about one tenth

_ENDING_A_WAIT: Final = getattr(getattr(asyncio.tasks, "_cancel_and_wait", None), "__code__", None)
_NONE_YET: Final[tuple[Callable[[], object], None]] = (lambda: None, None)
_postponed: WeakSet[asyncio.Task[Any]] = WeakSet()
_inherited: list[object] = []  # never freed: a forked child must not close its parent's sockets


def is_in_a_loop() -> bool:
    """Whether an event loop runs in this thread, so that blocking calls are not allowed."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class ByLoop(Generic[T]):
    """A value for each event loop, forgotten with the loop. Loops in other threads may use it at any time."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self, loop: asyncio.AbstractEventLoop) -> T | None:
        """The value of *loop*, if it has one."""
        return self._made.get(loop)

    def put(self, loop: asyncio.AbstractEventLoop, value: T) -> None:
        """Let *value* be that of *loop*, and forget those of closed loops."""
        for other in keys_in(self._made):
            if other.is_closed():
                self._made.pop(other, None)
        self._made[loop] = value

    def pop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the value of *loop*."""
        self._made.pop(loop, None)

    def items(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """The event loops that have a value now, and their values."""
        return [(loop, made) for loop in keys_in(self._made) if (made := self._made.get(loop)) is not None]

    def values(self) -> list[T]:
        """The values of all event loops that have one now."""
        return [value for _, value in self.items()]


class LoopLocal(ByLoop[T]):
    """As `ByLoop`, with values that are made when a loop first asks for one.

    The value of the loop that asked last is found without a look-up.

    Args:
        make: makes a value; it must not refer to the owner of this table, or both would have to be garbage collected.
    """

    __slots__ = ("__weakref__", "_latest", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make
        self._latest: tuple[Callable[[], object], T | None] = _NONE_YET

    def here(self, loop: asyncio.AbstractEventLoop | None = None) -> T:
        """The value of *loop*, or else of the running loop; made if there is none."""
        if loop is None:
            loop = asyncio.get_running_loop()
        of_loop, latest = self._latest
        if latest is None or of_loop() is not loop:
            latest = self.get(loop)
            if latest is None:
                latest = self._make()
                self.put(loop, latest)
            self._latest = (ref(loop, partial(_forget_latest, ref(self))), latest)
        return latest

    def pop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the value of *loop*."""
        self._latest = _NONE_YET
        super().pop(loop)


def _forget_latest(table: Callable[[], LoopLocal[Any] | None], of_loop: object) -> None:
    """Let *table* forget the value of the loop that asked last and is freed now, to which *of_loop* referred."""
    its = table()
    if its is not None and its._latest[0] is of_loop:
        its._latest = _NONE_YET


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


class PerLoop(Generic[T]):
    """Opens a resource for each event loop on first use; a forked child opens its own.

    When a loop ends by cancelling its tasks (as `asyncio.run` does), its resource is closed.

    Args:
        opening: opens the resource, in the loop that uses it.
        closing: closes it, in the same loop.
    """

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, T]], closing: Callable[[T], Awaitable[None]]) -> None:
        self._make = opening
        self._end = closing
        self._opening: SharedTask[T] = SharedTask("the store")
        self._open: dict[asyncio.AbstractEventLoop, T] = {}
        self._keepers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        note_forks(self)

    def now(self) -> T | None:
        """The resource of the running loop, if it is open."""
        return self._open.get(asyncio.get_running_loop())

    async def here(self) -> T:
        """The resource of the running loop, opened if necessary.

        Raises:
            StorageError: it was closed before it was open.
            Exception: whatever the opening raises.
        """
        found = self._open.get(asyncio.get_running_loop())
        if found is not None:
            return found
        self._forget_closed()
        return await self._opening.run(self._begin)

    async def close(self) -> None:
        """Close the resource of the running loop; may be called twice."""
        loop = asyncio.get_running_loop()
        self._forget_closed()
        await self._opening.end()
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

    def after_fork(self) -> None:
        """Forget the parent's resources in a forked child."""
        _inherited.extend((self._open, self._keepers))
        self._open, self._keepers = {}, {}

    def _forget_closed(self) -> None:
        """Forget resources of closed loops."""
        for loop in list(self._open):  # a copy: loops in other threads add and remove theirs
            if loop.is_closed():
                self._open.pop(loop, None)
                self._keepers.pop(loop, None)


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
