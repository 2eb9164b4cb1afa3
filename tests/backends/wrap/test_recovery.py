"""A store that works again is noticed when no request would try it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence

import pytest

from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.store import Lease, Record, Written
from aiohttp_cache_di.backends.wrap import recovery
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.errors import StorageError
from tests.backends.wrap.test_contract import CapableStore, Place
from tests.valkey import ValkeyServer


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "TRIED_AFTER_S", 0.01)


class Refusing(CapableStore):
    """A store that can be read, and refuses leases, and also writes, while a test says so."""

    def __init__(self) -> None:
        super().__init__(place=Place())
        self.refuses = True
        self.refuses_writes = True
        self.puts = 0
        self.tried = asyncio.Event()

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        self.puts += 1
        self.tried.set()
        if self.refuses and self.refuses_writes:
            raise StorageError("read only")
        return await super().put(records)

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        if self.refuses:
            raise StorageError("read only")
        return await super().acquire(key, ttl_s)

    async def try_again(self) -> None:
        """Wait until the store is tried again."""
        self.tried.clear()
        async with asyncio.timeout(10):
            await self.tried.wait()


def on(store: Refusing) -> CacheBackend:
    backend = CacheBackend()
    backend.use(StackCache(StoreStack(store)))
    return backend


async def until_well(backend: CacheBackend) -> None:
    async with asyncio.timeout(10):
        while not backend.stats.health().is_ok:  # noqa: ASYNC110  # counters have no event
            await asyncio.sleep(0.001)


async def test_health_is_well_again_without_a_write_when_the_store_takes_writes_again() -> None:
    store = Refusing()
    backend = on(store)
    assert not (await backend.ping()).is_ok
    await store.try_again()
    await store.try_again()
    assert not backend.stats.health().is_ok
    store.refuses = False

    await until_well(backend)

    assert store.data == {}, "nothing is left of the test"
    tried = store.puts
    await asyncio.sleep(0.05)
    assert store.puts == tried, "a store that works is not tested"
    await backend.close()


async def test_health_is_well_again_when_the_store_gives_leases_again() -> None:
    store = Refusing()
    backend = on(store)
    for _ in range(3):
        await backend.guard.run("lease", lambda: store.acquire("k", 5), None)
    assert backend.stats.circuits == {"lease": "open"}
    store.refuses = False

    await until_well(backend)

    assert store.place.leases == {}
    await backend.close()


async def test_a_ping_reports_that_leases_still_fail() -> None:
    store = Refusing()
    store.refuses_writes = False
    backend = on(store)
    await backend.guard.run("lease", lambda: store.acquire("k", 5), None)

    assert "lease fails" in (await backend.ping()).reason

    store.refuses = False
    assert (await backend.ping()).is_ok
    assert backend.stats.health().is_ok
    await backend.close()


async def test_a_closed_backend_tests_its_store_no_more() -> None:
    store = Refusing()
    backend = on(store)
    await backend.ping()
    await backend.close()
    tried = store.puts
    await asyncio.sleep(0.05)
    assert store.puts == tried


async def test_a_backend_that_is_dropped_tests_its_store_no_more() -> None:
    store = Refusing()
    backend = on(store)
    await backend.ping()
    guard = weakref.ref(backend.guard)
    del backend
    gc.collect()
    assert guard() is None
    tried = store.puts
    await asyncio.sleep(0.05)
    assert store.puts == tried


async def test_a_replica_that_becomes_a_primary_is_noticed_without_a_write(own_valkey: ValkeyServer) -> None:
    backend = RedisBackend("again", own_valkey.url)
    await asyncio.to_thread(own_valkey.command, "REPLICAOF", "127.0.0.1", "1")
    assert "READONLY" in (await backend.ping()).reason
    await asyncio.to_thread(own_valkey.command, "REPLICAOF", "NO", "ONE")

    await until_well(backend)

    assert await asyncio.to_thread(own_valkey.command, "DBSIZE") == 0
    await backend.close()
