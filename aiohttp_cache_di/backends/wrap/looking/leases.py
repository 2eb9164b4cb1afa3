"""Being the one process that fetches a key, or finding what another one has fetched meanwhile.

A lease is held for a while, and kept for as long as its holder lives: the loop that holds it renews it, so that a
process which dies, or whose loop stands still, frees the others soon. Those who wait ask again and again, sooner where
the store tells when (`Awaiting`), and look what is stored by now. A holder whose response is of no use to others leaves
a *mark* when it lets go, which is a lease on another key: so those who wait learn that they need not wait for each
other either.
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
from aiohttp_cache_di.backends.store.capabilities import Awaiting, Leasing, Renewing
from aiohttp_cache_di.backends.wrap.alarms import Alarms
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.tasks import Tasks

__all__ = ["SPARED", "Leases", "Spared", "obtain"]

T = TypeVar("T")

POLL_S: Final = 0.01  # at first; it doubles up to POLL_MAX_S
POLL_MAX_S: Final = 0.08
RENEWALS: Final = 3  # within the time that a lease holds, so that one may fail
MARK_S: Final = 1.0  # for which all that wait have asked again, also on a busy machine
PROBE_S: Final = 0.001
_MARK: Final = ":of-one"


class Spared(enum.Enum):
    """What there is to be had by waiting for another process."""

    SPARED = "its response is for itself alone, so that each may go at once"


SPARED: Final = Spared.SPARED


async def obtain(
    store: Leasing,
    guard: StoreGuard,
    key: str,
    ttl_s: float,
    *,
    until: float | None,
    look: Callable[[], Awaitable[T | None]],
) -> tuple[bool, T | Spared | None]:
    """Ask for the lease on *key* until it is granted, or until another process's response is there to be used.

    A store that fails grants it: then each process fetches for itself.

    Args:
        ttl_s: how long it holds, in seconds.
        until: loop time after which to go without one; None for never.
        look: looks what is stored by now, and whether it is of use.

    Returns:
        Whether the lease is held now, which then must be released, and what *look* has found.
    """
    loop, pause_s, waited = asyncio.get_running_loop(), POLL_S, False
    ask = partial(store.acquire, key, ttl_s)
    while True:
        lease = await guard.run("lease", ask, Lease.GRANTED)
        if not lease and (until is None or loop.time() + pause_s < until):
            waited = True
            await (store.until_free(key, pause_s) if isinstance(store, Awaiting) else asyncio.sleep(pause_s))
            pause_s = min(2 * pause_s, POLL_MAX_S)
        # The process that held the lease may have stored its response before it let go.
        if waited or lease is Lease.GRANTED_LATE:
            found = await look()
            if found is not None:
                return bool(lease), found
        if lease:
            return True, SPARED if waited and await _is_marked(store, guard, key) else None
        if until is not None and loop.time() + pause_s >= until:
            return False, None


async def _is_marked(store: Leasing, guard: StoreGuard, key: str) -> bool:
    mark = key + _MARK
    if not await guard.run("lease", partial(store.acquire, mark, PROBE_S), Lease.GRANTED):
        return True
    await guard.run("lease", partial(store.release, mark), None)
    return False


class _Kept(Struct, frozen=True):
    """A lease that is renewed for as long as it is held; another one on the same key is another object."""

    ttl_s: float


class Leases:
    """The leases that are held in one event loop.

    Args:
        tasks: those of the loop.
    """

    def __init__(self, store: Leasing, guard: StoreGuard, tasks: Tasks) -> None:
        self._store = store
        self._renewing = store if isinstance(store, Renewing) else None
        self._guard = guard
        self._tasks = tasks
        self._early: dict[str, float] = {}  # loop time at which it came
        self._kept: dict[str, _Kept] = {}
        self._renewals = Alarms[str](math.inf, self._renew_later)
        self._marks: dict[str, asyncio.TimerHandle] = {}

    async def obtain(
        self, key: str, ttl_s: float, *, until: float | None, look: Callable[[], Awaitable[T | None]]
    ) -> tuple[bool, T | Spared | None]:
        """As `obtain`; what is granted is kept until it is released."""
        is_held, found = True, None
        if not self.take_early(key, within_s=ttl_s / RENEWALS):
            is_held, found = await obtain(self._store, self._guard, key, ttl_s, until=until, look=look)
        if is_held and self._renewing is not None:
            self._keep(key, ttl_s)
        return is_held, found

    def note_early(self, key: str) -> None:
        """The lease on *key* has come with a look that has found nothing: who fetches it in this loop has it."""
        self._early[key] = asyncio.get_running_loop().time()

    def take_early(self, key: str, *, within_s: float = math.inf) -> bool:
        """Whether there is such a lease, which is the caller's then; one that came longer ago may have ended."""
        if not self._early:
            return False
        came_at = self._early.pop(key, None)
        return came_at is not None and asyncio.get_running_loop().time() - came_at < within_s

    def _keep(self, key: str, ttl_s: float) -> None:
        self._kept[key] = _Kept(ttl_s)
        if self._renewals.delay_s != ttl_s / RENEWALS:  # of those before, each is renewed once more
            self._renewals = Alarms(ttl_s / RENEWALS, self._renew_later)
        self._renewals.set(key)

    def keep_no_longer(self, key: str) -> None:
        """Let the lease on *key* end in its time, if it is not given back before."""
        if self._kept.pop(key, None) is not None:
            self._renewals.unset(key)

    def _renew_later(self, key: str) -> None:
        if key in self._kept:
            self._tasks.spawn(self._renew(key), owner=self)

    async def _renew(self, key: str) -> None:
        kept, store = self._kept.get(key), self._renewing
        if kept is None or store is None:
            return
        # One that could not be asked for may still be held.
        is_held = await self._guard.run("lease", partial(store.renew, key, kept.ttl_s), True)
        if self._kept.get(key) is not kept:  # given back meanwhile
            return
        if is_held:
            self._keep(key, kept.ttl_s)
        else:
            del self._kept[key]

    async def release(self, key: str) -> None:
        """Give the lease on *key* back."""
        await self._guard.run("lease", partial(self._store.release, key), None)

    async def spare(self, key: str) -> None:
        """As `release`, telling those who wait that there is nothing to wait for."""
        mark = key + _MARK
        if await self._guard.run("lease", partial(self._store.acquire, mark, MARK_S), Lease.REFUSED):
            earlier = self._marks.pop(mark, None)  # whose time is over for the store, and not yet for a busy loop
            if earlier is not None:
                earlier.cancel()
            loop = asyncio.get_running_loop()
            self._marks[mark] = loop.call_later(MARK_S, self._unmark, mark)
        await self.release(key)

    def _unmark(self, mark: str) -> None:
        del self._marks[mark]
        self._tasks.spawn(self.release(mark), owner=self)

    def close(self) -> None:
        """Renew nothing any more, and leave what is marked to its time."""
        for timer in self._marks.values():
            timer.cancel()
        self._renewals.clear()
        self._kept.clear()
        self._marks.clear()
