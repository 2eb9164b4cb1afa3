"""Finds out whether a store that has failed works again, when no request does.

A store that refuses writes may still answer reads. If all responses that are requested are stored, nothing is written
any more, and the cache would report the failure until the next miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import ref

from aiohttp_cache_di.backends.store import Store
from aiohttp_cache_di.backends.tasks import Tasks
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.ping import ping

__all__ = ["Recovery"]

TRIED_AFTER_S: Final = 15.0
"""Seconds after a failure, less than `CacheStats.health` counts one; a store that is down costs a ping in this time."""


class Recovery:
    """Tests the store by a ping, in one event loop, for as long as one of its operations fails.

    A timer refers to neither the store nor the guard: a backend that is dropped without being closed is tested no more.
    """

    __slots__ = ("__weakref__", "_store", "_tasks", "_timer")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = Tasks()
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, guard: StoreGuard) -> None:
        """An operation has failed; test the store later, unless every operation has succeeded by then."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(TRIED_AFTER_S, _look, ref(self), ref(guard))

    def look(self, guard: StoreGuard) -> None:
        """Test the store if an operation still fails."""
        self._timer = None
        if guard.is_any_failing:
            self._tasks.spawn(ping(self._store, guard), owner=self, name="ping")

    async def close(self) -> None:
        """Test the store no more, unless an operation fails after that."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        await self._tasks.cancel(self)


def _look(recovery: Callable[[], Recovery | None], guard: Callable[[], StoreGuard | None]) -> None:
    of, its = recovery(), guard()
    if of is not None and its is not None:
        of.look(its)
