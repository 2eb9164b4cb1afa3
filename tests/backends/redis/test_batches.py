"""How many commands a server gets: concurrent operations are sent together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiohttp_cache_di.backends.redis import RedisCache
from tests.backends.entries import make_entry
from tests.backends.redis.opened import store_of
from tests.valkey import ValkeyServer


@pytest.fixture
async def cache(own_valkey: ValkeyServer) -> AsyncIterator[RedisCache]:
    storage = RedisCache("batch", "r", own_valkey.url)
    await asyncio.gather(*(storage.write_entry(make_entry(f"k{index}")) for index in range(100)))
    own_valkey.command("CONFIG", "RESETSTAT")
    yield storage
    await storage.close()


def calls(server: ValkeyServer, name: str) -> int:
    stats: dict[str, Any] = server.command("INFO", "commandstats")
    return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])


async def test_reads_that_come_together_are_few_commands(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    found = await asyncio.gather(*(cache.read_entry(f"k{index % 100}") for index in range(1000)))
    assert all(entry is not None for entry in found)
    few = store_of(cache).limits.parallel + 2
    assert calls(own_valkey, "mget") <= few
    await asyncio.gather(*(cache.read_entry("k1") for _ in range(1000)))
    assert calls(own_valkey, "mget") <= 2 * few


async def test_a_read_after_a_write_of_the_same_tick_sees_it(cache: RedisCache) -> None:
    async def write_then_read(index: int) -> bytes:
        await cache.write_entry(make_entry("k1", b"%d" % index))
        found = await cache.read_entry("k1")
        assert found is not None
        return found.body

    bodies = await asyncio.gather(*(write_then_read(index) for index in range(50)))
    assert set(bodies) == {b"49"}  # all writes were sent before the first read


async def test_a_read_after_a_deletion_joins_none_that_was_asked_for_before(cache: RedisCache) -> None:
    before = [asyncio.create_task(cache.read_entry("k1")) for _ in range(50)]
    await asyncio.sleep(0)
    await cache.delete("k1")
    assert await cache.read_entry("k1") is None
    await asyncio.gather(*before)


async def test_each_reader_may_leave_a_shared_read(cache: RedisCache) -> None:
    await cache.size()
    reads = [asyncio.create_task(cache.read_entry("k1")) for _ in range(10)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [True, False] * 5
    assert all(not isinstance(each, BaseException) and each is not None for each in found[1::2])


async def test_counting_and_clearing_take_a_command_per_page(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    assert await cache.size() == 100
    await cache.clear()
    assert calls(own_valkey, "scan") <= 4
    assert calls(own_valkey, "unlink") <= 2
    assert calls(own_valkey, "keys") == 0


async def test_keys_are_found_after_very_many_batches_in_which_nothing_is(cache: RedisCache) -> None:
    store = store_of(cache)
    for _ in range(3000):
        assert await store.get(("absent", "too")) == [None, None]
    found = await store.get(("absent", "k1"))
    assert [each is not None for each in found] == [False, True]
