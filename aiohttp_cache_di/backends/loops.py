"""What belongs to one event loop: values (`LoopLocal`), and resources that have to be opened (`PerLoop`).

A driver's client works only in the loop where it is used. A forked child has event loops of its own, so it never uses
the clients of its parent's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

from aiohttp_cache_di.backends.calls import SharedTask
from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.tasks import background

__all__ = ["ByLoop", "LoopLocal", "PerLoop", "is_in_a_loop", "keys_in"]

K = TypeVar("K")
T = TypeVar("T")

_NONE_YET: Final[tuple[Callable[[], object], None]] = (lambda: None, None)
_inherited: list[object] = []  # never freed: a forked child must not close its parent's sockets


def is_in_a_loop() -> bool:
    """Whether an event loop runs in this thread, so that blocking calls are not allowed."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def keys_in(table: WeakKeyDictionary[K, Any]) -> list[K]:
    """The keys in *table* now; event loops in other threads may change it at any time.

    An iterator of a weak table fails when the table changes; a list of its references is made in one step.
    """
    return [key for reference in table.keyrefs() if (key := reference()) is not None]


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
