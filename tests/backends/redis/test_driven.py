"""Clients whose connections have no asyncio socket, such as in-memory fakes of a server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import redis.asyncio

from aiohttp_cache_di.backends.redis import RedisCache
from aiohttp_cache_di.errors import StorageError
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry
from tests.backends.redis.opened import connection_of
from tests.valkey import ValkeyServer

numbers = itertools.count()


class Stream:
    """A writer that hides its transport."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writelines = writer.writelines
        self.drain = writer.drain
        self.close = writer.close
        self.wait_closed = writer.wait_closed


class FakeConnection(redis.asyncio.Connection):
    """A connection whose writer is no asyncio stream."""

    async def _connect(self) -> None:
        driver: Any = super()
        await driver._connect()
        self._writer: Any = Stream(self._writer)


def make_client(server: ValkeyServer, **options: Any) -> Any:
    pool = redis.asyncio.ConnectionPool(
        connection_class=FakeConnection, host="127.0.0.1", port=server.port, decode_responses=True, **options
    )
    return redis.asyncio.Redis(connection_pool=pool)


@pytest.fixture
async def cache(own_valkey: ValkeyServer) -> AsyncIterator[RedisCache]:
    storage = RedisCache("driven", "r", connection=make_client(own_valkey, socket_timeout=0.3), near_tier_s=10)
    yield storage
    await storage.close()


class TestDriven(StorageContract):
    @pytest.fixture
    def make(self, valkey: ValkeyServer) -> MakeStorage:
        return partial(RedisCache, f"driven-{next(numbers)}", "responses", connection=make_client(valkey))


async def test_many_tasks_share_the_one_connection(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{index}", b"x" * 10_000)) for index in range(50)))
    found = await asyncio.gather(*(cache.read_entry(f"k{index % 50}") for index in range(1000)))
    assert all(entry is not None for entry in found)
    assert own_valkey.connections() == 1
    assert cache.peek("k1") is None


async def test_refusals_and_foreign_values_are_told_apart(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    own_valkey.command("HSET", "driven:r:k", "field", "value")
    assert await cache.read_entry("k") is None
    own_valkey.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StorageError, match="READONLY"):
        await cache.write_entry(make_entry("k"))
    own_valkey.command("REPLICAOF", "NO", "ONE")
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None


async def test_a_server_that_is_killed_or_frozen_is_our_error_until_it_is_back(
    own_valkey: ValkeyServer, cache: RedisCache
) -> None:
    await cache.write_entry(make_entry("k"))
    own_valkey.pause()
    with pytest.raises(StorageError):
        await cache.read_entry("k")
    own_valkey.resume()
    assert await cache.read_entry("k") is not None
    own_valkey.restart(kill=True)
    connection = await connection_of(cache)
    if not connection.closed:
        with pytest.raises(StorageError):
            await cache.read_entry("k")
    assert await cache.read_entry("k") is None


async def test_closing_with_reads_under_way_fails_them_and_leaves_nothing(
    own_valkey: ValkeyServer, cache: RedisCache
) -> None:
    await cache.size()
    reads = [asyncio.create_task(cache.read_entry(f"k{index}")) for index in range(10)]
    await asyncio.sleep(0)
    await cache.close()
    assert {type(each) for each in await asyncio.gather(*reads, return_exceptions=True)} == {StorageError}
    assert own_valkey.connections() == 0


def test_each_loop_has_a_connection_of_its_own(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("driven", "r", connection=make_client(own_valkey))
    for _ in range(3):
        assert asyncio.run(cache.read_entry("k")) is None
    asyncio.run(cache.close())
    assert own_valkey.connections() == 0
