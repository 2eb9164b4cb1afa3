"""Whether a store can be opened, written and read: tried with a record of our own, before any request needs it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp_cache_di.backends.store import Record, Store
from aiohttp_cache_di.backends.store.capabilities import Checking, Immediate
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.telemetry import Health

__all__ = ["ping", "reach"]

KEPT_S: Final = 60.0  # of a record that was written and could not be dropped again
CONTENT: Final = "ping"


async def ping(store: Store, guard: StoreGuard) -> Health:
    """Read from *store*, write a record to it, read that and drop it again; say what is wrong, if anything.

    Each step may take as long as a write in the background does, and is tried though the store is left alone for now.
    """
    if isinstance(store, Immediate):
        stand_in = guard.stats.stand_in
        return Health("degraded", stand_in) if stand_in else Health("ok")
    key = secrets.token_hex(20)  # as a request has one, for stores that know of no other kind

    async def read() -> None:
        if isinstance(store, Checking):
            await store.check()
        await store.get((key,))

    async def write() -> None:
        (written,) = await store.put((Record(key, CONTENT, time.time() + KEPT_S),))
        if isinstance(written, StorageError):
            raise written

    async def read_again() -> None:
        (found,) = await store.get((key,))
        if found is None or found.item != CONTENT:
            raise StorageError("what was written is not there")

    async def delete() -> None:
        await store.delete((key,))

    reason = (
        await _tried(guard, "read", read)
        or await _tried(guard, "write", write)
        or await _tried(guard, "read", read_again)
        or await _tried(guard, "delete", delete)
    )
    return Health("degraded", reason) if reason else Health("ok")


async def reach(store: Store, guard: StoreGuard) -> Health:
    """Read from *store*, and change nothing there; say what is wrong, if anything."""
    key = secrets.token_hex(20)

    async def read() -> None:
        await store.get((key,))

    reason = await _tried(guard, "read", read)
    return Health("degraded", reason) if reason else Health("ok")


async def _tried(guard: StoreGuard, operation: str, call: Callable[[], Awaitable[None]]) -> str:
    """What is wrong with *operation*, "" for nothing; the counters then show it until it works again."""
    guard.retry_now(operation)
    failed = object()
    if await guard.run(operation, call, failed, patient=True) is not failed:
        guard.stats.recovered(operation)
        return ""
    outages = guard.outages
    cause = outages.causes.get(operation, "it is being tried")
    guard.stats.found_wrong[operation] = f"{operation} fails ({cause.partition(':')[0]})"
    return f"{outages.where} cannot be used: {operation} fails ({cause})"
