"""Waiting for what another process fetches: until it is stored, or its lease is free.

That something was stored under a key, a counter in memory tells (`generation`), so that it is looked at often. Whether
a lease is free without that, as when its process has died, the file system has to be asked, in the reader's thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from aiohttp_cache_di.backends.sqlite.connections import Connections
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.errors import StorageError

__all__ = ["Waits"]

WATCH_S: Final = 0.002  # between two looks at the counters
LOOKS: Final = 6  # from one time that the file system is asked to the next, the first look included


class _Waiting:
    __slots__ = ("future", "key", "version")

    def __init__(self, key: str, version: int | None, future: asyncio.Future[None]) -> None:
        self.key = key
        self.version = version
        self.future = future

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Waits:
    """Those who wait in one event loop.

    Args:
        connections: whose reader's thread asks the file system.
        version: the version of a key by now, as `Versioned.version`.
    """

    def __init__(self, connections: Connections, version: Callable[[str], int | None], leases: Leases) -> None:
        self._connections = connections
        self._version = version
        self._leases = leases
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        self._is_asking = False

    async def until_free(self, key: str, within_s: float) -> None:
        """Wait until the lease on *key* is worth asking for, for *within_s* seconds at most."""
        future: asyncio.Future[None] = self._connections.loop.create_future()
        waiting = _Waiting(key, self._version(key), future)
        self._waiting.append(waiting)
        if self._timer is None:
            self._looks = 0
            self._timer = self._connections.loop.call_later(WATCH_S, self._watch)
        try:
            await asyncio.wait((future,), timeout=within_s)
        finally:
            self._waiting.remove(waiting)

    def _watch(self) -> None:
        self._timer = None
        if not self._waiting or self._connections.closed:
            return
        self._timer = self._connections.loop.call_later(WATCH_S, self._watch)
        for waiting in self._waiting:
            version = self._version(waiting.key)
            if version is not None and version != waiting.version:
                waiting.wake()
        if self._looks % LOOKS == 0 and self._leases.are_locks and not self._is_asking:
            self._ask([waiting for waiting in self._waiting if not waiting.future.done()])
        self._looks += 1

    def _ask(self, all_waiting: Sequence[_Waiting]) -> None:
        self._is_asking = True
        asking = self._connections.query(partial(_which_may_be_had, self._leases, [each.key for each in all_waiting]))
        asking.add_done_callback(partial(self._asked, all_waiting))

    def _asked(self, all_waiting: Sequence[_Waiting], asking: asyncio.Future[list[bool]]) -> None:
        self._is_asking = False
        if asking.cancelled() or isinstance(asking.exception(), StorageError):
            return  # who asks for the lease itself will be told
        for waiting, may_be_had in zip(all_waiting, asking.result(), strict=True):
            if may_be_had:
                waiting.wake()


def _which_may_be_had(leases: Leases, keys: Sequence[str], _: sqlite3.Connection) -> list[bool]:
    return [leases.may_be_had(key) for key in keys]
