"""Tests whether a store can be opened, written and read, before a request needs it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp_cache_di.backends.store import Record, Store
from aiohttp_cache_di.backends.store.capabilities import Checking, Immediate, Keeping, Leasing
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.telemetry import Health

__all__ = ["ping", "reach"]

KEPT_S: Final = 60.0  # lifetime of the test record, if it cannot be deleted
CONTENT: Final = "ping"


async def ping(store: Store, guard: StoreGuard) -> Health:
    """Read from *store*, then write, read and delete a test record; return a fault, if there is one.

    If leases have failed, take and release one, too.
    Each step may take as long as a write in the background, and is tried even while its circuit is open.
    """
    if isinstance(store, Immediate):
        stand_in = guard.stats.stand_in
        return Health("degraded", stand_in) if stand_in else Health("ok")
    key, other = secrets.token_hex(20), secrets.token_hex(20)  # as a request's key: some stores accept no other form

    async def read() -> None:
        if isinstance(store, Checking):
            await store.check()
        if isinstance(store, Keeping):  # by a command of its own, which a server may refuse
            await store.kept_secret()
        await store.get((key,))

    async def write() -> None:
        (written,) = await store.put((Record(key, CONTENT, time.time() + KEPT_S),))
        if isinstance(written, StorageError):
            raise written

    async def read_again() -> None:
        keys = (key, other)[: store.limits.reads or store.limits.batch]  # several may take another command than one
        found = (await store.get(keys))[0]
        if found is None or found.item != CONTENT:
            raise StorageError("the record that was written is missing")

    async def delete() -> None:
        await store.delete((key,))

    async def lease() -> None:
        if isinstance(store, Leasing) and await store.acquire(key, KEPT_S):
            await store.release(key)

    reason = (
        await _failure_of(guard, "read", read)
        or await _failure_of(guard, "write", write)
        or await _failure_of(guard, "read", read_again)
        or await _failure_of(guard, "delete", delete)
        or (guard.is_failing("lease") and await _failure_of(guard, "lease", lease))
    )
    return Health("degraded", reason) if reason else Health("ok")


async def reach(store: Store, guard: StoreGuard) -> Health:
    """Read from *store* without changing anything there; return a fault, if there is one."""
    key = secrets.token_hex(20)

    async def read() -> None:
        await store.get((key,))

    reason = await _failure_of(guard, "read", read)
    return Health("degraded", reason) if reason else Health("ok")


async def _failure_of(guard: StoreGuard, operation: str, call: Callable[[], Awaitable[None]]) -> str:
    """Run *call*; return a message if it fails, else "". The counters show a fault until *operation* succeeds."""
    guard.retry_now(operation)
    failed = object()
    if await guard.run(operation, call, failed, patient=True) is not failed:
        guard.stats.recovered(operation)
        return ""
    outages = guard.outages
    cause = outages.causes.get(operation, "it is being tried")
    guard.stats.found_wrong[operation] = f"{operation} fails ({cause.partition(':')[0]})"
    return f"{outages.where} cannot be used: {operation} fails ({cause})"
