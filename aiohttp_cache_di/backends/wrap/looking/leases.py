"""Leases: one process fetches a key from the origin, while others wait for its response.

A lease expires after a short time unless its holder, an event loop, renews it. So if that process dies or its loop is
blocked, the others do not wait for long. Processes that wait look up the key and ask for the lease at intervals, or
when the store notifies them (`Awaiting`).

If the holder's response is of no use to others, it sets a *flag* when it releases the lease: a short lease on a second
key. Processes that wait see that this key is leased, and go on at once, rather than hold the lease one after the other.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct

from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.store.capabilities import Awaiting, Leasing
from aiohttp_cache_di.backends.tasks import Tasks
from aiohttp_cache_di.backends.wrap.alarms import Alarms
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard

__all__ = ["SPARED", "Leases", "Spared"]

T = TypeVar("T")

POLL_S: Final = 0.01  # the first interval; it doubles up to POLL_MAX_S
POLL_MAX_S: Final = 0.08
RENEWALS: Final = 3  # per lifetime of a lease, so that one of them may fail
FLAG_S: Final = 1.0  # lifetime of a flag: all that wait have asked again by then, even on a busy machine
PROBE_S: Final = 0.001  # lifetime of a lease that only tests for a flag
_FLAG: Final = ":of-one"  # added to a key, the key of its flag


class Spared(enum.Enum):
    """The result of waiting for a process whose response is of no use to others."""

    SPARED = "its response is of no use to others, so that all may go on at once"


SPARED: Final = Spared.SPARED


class _RenewedLease(Struct, frozen=True):
    """A lease that is being renewed; a later lease on the same key is another object."""

    ttl_s: float


class Leases:
    """The leases that one event loop holds.

    Args:
        tasks: the background tasks of the loop.
    """

    def __init__(self, store: Leasing, guard: StoreGuard, tasks: Tasks) -> None:
        self._store = store
        self._guard = guard
        self._tasks = tasks
        self._granted_early: dict[str, float] = {}  # by key: loop time when it was granted
        self._renewed: dict[str, _RenewedLease] = {}
        self._renewals = Alarms[str](math.inf, self._renew_later)
        self._flags: dict[str, asyncio.TimerHandle] = {}

    async def obtain(
        self,
        key: str,
        ttl_s: float,
        *,
        until: float | None,
        look: Callable[[], Awaitable[T | None]],
        owner: object,
    ) -> tuple[bool, T | Spared | None]:
        """Ask for the lease on *key* until it is granted, or until another process has stored a response to use.

        If the store fails, the lease counts as granted: each process then fetches for itself. A lease that is granted
        is renewed until it is released; it is released at once if the caller is cancelled or *look* raises an error.

        Args:
            ttl_s: lifetime of the lease, in seconds.
            until: loop time after which to stop waiting and go on without the lease; None for never.
            look: looks up the key; returns None if nothing usable is stored.
            owner: owner of the background task that releases the lease then.

        Returns:
            Whether the lease is held (the caller must release it then), and the result of *look*, or SPARED if the last
            holder has set the flag.
        """
        is_held, found = True, None
        if not self.take_early(key, within_s=ttl_s / RENEWALS):
            is_held, found = await self._ask(key, ttl_s, until, look, owner)
        if is_held:
            self._renew_until_released(key, ttl_s)
        return is_held, found

    async def _ask(
        self, key: str, ttl_s: float, until: float | None, look: Callable[[], Awaitable[T | None]], owner: object
    ) -> tuple[bool, T | Spared | None]:
        store, loop, pause_s, waited = self._store, asyncio.get_running_loop(), POLL_S, False
        ask = partial(store.acquire, key, ttl_s)
        while True:
            lease = await self._guard.run("lease", ask, Lease.GRANTED)
            if not lease and (until is None or loop.time() + pause_s < until):
                waited = True
                await (store.until_free(key, pause_s) if isinstance(store, Awaiting) else asyncio.sleep(pause_s))
                pause_s = min(2 * pause_s, POLL_MAX_S)
            found: T | Spared | None = None
            try:
                # The last holder may have stored its response before it released the lease.
                if waited or lease is Lease.GRANTED_LATE:
                    found = await look()
                if found is None and lease and waited and await self._is_flagged(key):
                    found = SPARED
            except (asyncio.CancelledError, Exception):
                if lease:  # the caller does not learn of it, and other processes would wait until it expires
                    self._tasks.spawn(self.release(key), owner=owner)
                raise
            if lease or found is not None:
                return bool(lease), found
            if until is not None and loop.time() + pause_s >= until:
                return False, None

    async def _is_flagged(self, key: str) -> bool:
        flag = key + _FLAG
        if not await self._guard.run("lease", partial(self._store.acquire, flag, PROBE_S), Lease.GRANTED):
            return True
        await self.release(flag)
        return False

    def note_early(self, key: str) -> None:
        """Remember that the lease on *key* was granted together with a look-up that has found nothing."""
        self._granted_early[key] = asyncio.get_running_loop().time()

    def take_early(self, key: str, *, within_s: float = math.inf) -> bool:
        """Take such a lease; False if there is none, or if it was granted more than *within_s* seconds ago."""
        if not self._granted_early:
            return False
        came_at = self._granted_early.pop(key, None)
        return came_at is not None and asyncio.get_running_loop().time() - came_at < within_s

    def _renew_until_released(self, key: str, ttl_s: float) -> None:
        self._renewed[key] = _RenewedLease(ttl_s)
        if self._renewals.delay_s != ttl_s / RENEWALS:  # the old alarms ring once more
            self._renewals = Alarms(ttl_s / RENEWALS, self._renew_later)
        self._renewals.set(key)

    def keep_no_longer(self, key: str) -> None:
        """Stop renewing the lease on *key*."""
        if self._renewed.pop(key, None) is not None:
            self._renewals.unset(key)

    def _renew_later(self, key: str) -> None:
        if key in self._renewed:
            self._tasks.spawn(self._renew(key), owner=self)

    async def _renew(self, key: str) -> None:
        kept = self._renewed.get(key)
        if kept is None:
            return
        # If the store fails, the lease may still be held, and is renewed again later.
        is_held = await self._guard.run("lease", partial(self._store.renew, key, kept.ttl_s), True)
        if self._renewed.get(key) is not kept:  # released meanwhile
            return
        if is_held:
            self._renew_until_released(key, kept.ttl_s)
        else:
            del self._renewed[key]

    async def release(self, key: str) -> None:
        """Release the lease on *key*."""
        await self._guard.run("lease", partial(self._store.release, key), None)

    async def spare(self, key: str) -> None:
        """Like `release`, and set the flag for those that wait: there is nothing to wait for."""
        flag = key + _FLAG
        if await self._guard.run("lease", partial(self._store.acquire, flag, FLAG_S), Lease.REFUSED):
            earlier = self._flags.pop(flag, None)  # expired in the store, but the timer of a busy loop is late
            if earlier is not None:
                earlier.cancel()
            loop = asyncio.get_running_loop()
            self._flags[flag] = loop.call_later(FLAG_S, self._unflag, flag)
        await self.release(key)

    def _unflag(self, flag: str) -> None:
        del self._flags[flag]
        self._tasks.spawn(self.release(flag), owner=self)

    def close(self) -> None:
        """Stop all renewals, and let flags expire by themselves."""
        for timer in self._flags.values():
            timer.cancel()
        self._renewals.clear()
        self._renewed.clear()
        self._flags.clear()
