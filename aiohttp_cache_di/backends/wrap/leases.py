"""Becoming the one process that fetches a key, or finding what another one has fetched meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from aiohttp_cache_di.backends.store import Lease, Leasing
from aiohttp_cache_di.backends.wrap.guard import StoreGuard

__all__ = ["obtain"]

T = TypeVar("T")

POLL_S: Final = 0.01  # at first; it doubles up to POLL_MAX_S
POLL_MAX_S: Final = 0.08


async def obtain(
    store: Leasing, guard: StoreGuard, key: str, ttl_s: float, *, until: float, look: Callable[[], Awaitable[T | None]]
) -> tuple[bool, T | None]:
    """Ask for the lease on *key* until it is granted, or until another process's response is there to be used.

    A store that fails grants it: then each process fetches for itself.

    Args:
        ttl_s: how long it holds, in seconds.
        until: loop time after which to go without one.
        look: looks what is stored by now, and whether it is of use.

    Returns:
        Whether the lease is held now, which then must be released, and what *look* has found.
    """
    loop, pause_s, waited = asyncio.get_running_loop(), POLL_S, False
    ask = partial(store.acquire, key, ttl_s)
    while True:
        lease = await guard.run("lease", ask, Lease.GRANTED)
        if not lease and loop.time() + pause_s < until:
            waited = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)
        # The process that held the lease may have stored its response before it let go.
        if waited or lease is Lease.GRANTED_LATE:
            found = await look()
            if found is not None:
                return bool(lease), found
        if lease or loop.time() + pause_s >= until:
            return bool(lease), None
