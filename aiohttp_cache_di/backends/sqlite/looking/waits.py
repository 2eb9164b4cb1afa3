"""Waiting for what another process fetches: until it is stored, or its lease is free.

A counter in shared memory grows when something is stored under the key (`generation`), so it is polled often. Whether a
lease is free although nothing was stored, as after its process has died, takes a system call in the reader's thread, so
that is asked less often. But it is asked at the first polls: the counter grows some milliseconds before the commit, so
that a caller may have looked too early, and then the counter does not tell of that commit again.
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

WATCH_S: Final = 0.002  # interval of polling the counters
FIRST_CHECKS: Final = 3  # a lock is asked for at so many polls of a waiter, one after the other
CHECKS: Final = 6  # and then at every sixth one


class _Waiting:
    __slots__ = ("asked", "future", "key", "polls", "version")

    def __init__(self, key: str, version: int | None, future: asyncio.Future[None]) -> None:
        self.key = key
        self.version = version
        self.future = future
        self.asked = self.polls = 0  # how often the lock was asked for, and polls since then

    @property
    def is_due(self) -> bool:
        return not self.future.done() and self.polls >= (1 if self.asked < FIRST_CHECKS else CHECKS)

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Waits:
    """The waiters of one event loop.

    Args:
        connections: the loop's connections, whose reader's thread asks for the locks.
        version: returns the highest version that a key can have now (`Versioned.version`).
        leases: the leases that are waited for.
    """

    def __init__(self, connections: Connections, version: Callable[[str], int | None], leases: Leases) -> None:
        self._connections = connections
        self._version = version
        self._leases = leases
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_asking = False

    async def until_free(self, key: str, within_s: float) -> None:
        """Wait until the lease on *key* seems free or something was stored there, for at most *within_s* seconds."""
        future: asyncio.Future[None] = self._connections.loop.create_future()
        waiting = _Waiting(key, self._version(key), future)
        self._waiting.append(waiting)
        if self._timer is None:
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
            waiting.polls += 1
        if self._leases.are_locks and not self._is_asking:
            due = [waiting for waiting in self._waiting if waiting.is_due]
            if due:
                self._ask(due)

    def _ask(self, all_waiting: Sequence[_Waiting]) -> None:
        self._is_asking = True
        for waiting in all_waiting:
            waiting.asked, waiting.polls = waiting.asked + 1, 0
        asking = self._connections.query(partial(_which_may_be_had, self._leases, [each.key for each in all_waiting]))
        asking.add_done_callback(partial(self._asked, all_waiting))

    def _asked(self, all_waiting: Sequence[_Waiting], asking: asyncio.Future[list[bool]]) -> None:
        self._is_asking = False
        if asking.cancelled() or isinstance(asking.exception(), StorageError):
            return  # waiters meet the error when they ask for the lease itself
        for waiting, may_be_had in zip(all_waiting, asking.result(), strict=True):
            if may_be_had:
                waiting.wake()


def _which_may_be_had(leases: Leases, keys: Sequence[str], _: sqlite3.Connection) -> list[bool]:
    return [leases.may_be_had(key) for key in keys]
