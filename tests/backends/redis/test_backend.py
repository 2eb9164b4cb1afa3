"""Entries in a real server: what is stored, for how long, and that keys of others are left alone."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import redis
import redis.asyncio

from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.connections.connection import Connection
from aiohttp_cache_di.backends.redis.connections.wire import command
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from aiohttp_cache_di.response import CachedResponse
from tests.backends.entries import make_entry
from tests.backends.redis.opened import connection_of
from tests.posix import needs_proc
from tests.stores import PATIENT_S
from tests.valkey import ValkeyServer

numbers = itertools.count()


async def all_keys(cache: RedisCache) -> set[str]:
    return {key async for key in cache.keys()}  # noqa: SIM118  # a storage is no dict


@pytest.fixture
async def cache(valkey: ValkeyServer) -> AsyncIterator[RedisCache]:
    storage = RedisCache(f"cache-{next(numbers)}", "responses", valkey.url)
    yield storage
    await storage.clear()
    await storage.close()


def names(valkey: ValkeyServer, cache: RedisCache) -> list[bytes]:
    return sorted(valkey.command("KEYS", f"{cache.namespace}:*"))


async def test_an_entry_comes_back_as_it_was(cache: RedisCache) -> None:
    entry = make_entry("k", b"\x00\r\n" * 1000)
    await cache.write_entry(entry)
    assert await cache.read_entry("k") == entry


async def test_an_entry_is_one_key_under_the_name_of_the_cache(valkey: ValkeyServer, cache: RedisCache) -> None:
    await cache.write_entry(make_entry("k"))
    assert names(valkey, cache) == [f"{cache.namespace}:responses:k".encode()]


async def test_the_server_drops_an_entry_when_its_time_has_come(valkey: ValkeyServer, cache: RedisCache) -> None:
    await cache.write_entry(make_entry("soon", store_until=time.time() + 100))
    await cache.write_entry(make_entry("never"))
    assert 90_000 < valkey.command("PTTL", f"{cache.namespace}:responses:soon") <= 100_000
    assert valkey.command("PTTL", f"{cache.namespace}:responses:never") == -1


@pytest.mark.parametrize("until", [1e15, 1e300, math.inf])
async def test_a_lifetime_that_overflows_the_servers_clock_is_for_ever(
    valkey: ValkeyServer, cache: RedisCache, until: float
) -> None:
    await cache.write_entry(make_entry("k", store_until=until))
    assert valkey.command("PTTL", names(valkey, cache)[0]) == -1


async def test_an_entry_that_is_over_replaces_the_one_before(cache: RedisCache) -> None:
    await cache.write_entry(make_entry("k"))
    await cache.write_entry(make_entry("k", store_until=time.time() - 1))
    assert await cache.read_entry("k") is None


async def test_what_expires_later_than_now_is_deleted_when_asked_for(cache: RedisCache) -> None:
    now = time.time()
    for index in range(20):
        await cache.write_entry(make_entry(f"k{index}", store_until=now + (50 if index % 2 else 500)))
    await cache.write_entry(make_entry("never"))
    assert await cache.delete_expired(now) == 0
    assert await cache.delete_expired(now + 100) == 10
    assert await cache.size() == 11


async def test_clear_leaves_keys_alone_that_its_name_would_match_as_a_pattern(valkey: ValkeyServer) -> None:
    one, other = RedisCache("a*[b]?\\", "r", valkey.url), RedisCache("axb0", "r", valkey.url)
    try:
        for storage in (one, other):
            await storage.write_entry(make_entry("k"))
        lookalike = "aXXXXbY\\:r:k"
        valkey.command("SET", lookalike, "mine")
        await one.clear()
        assert await one.size() == 0
        assert await other.size() == 1
        assert valkey.command("GET", lookalike) == b"mine"
    finally:
        await other.clear()
        await one.close()
        await other.close()


async def test_the_two_storages_of_a_backend_share_one_connection(own_valkey: ValkeyServer) -> None:
    backend = RedisBackend("app", own_valkey.url)
    await backend.responses.write_entry(make_entry("k"))
    await backend.redirects.write("r", "k")
    assert await backend.redirects.read("r") == "k"
    assert own_valkey.connections() == 1
    await backend.close()
    assert own_valkey.connections() == 0


async def test_an_alias_is_followed_to_its_entry(cache: RedisCache) -> None:
    await cache.write_entry(make_entry("target"))
    await cache.write("alias", "target")
    found = await cache.read_entry("alias")
    assert found is not None
    assert found.key == "target"


async def test_pop_hands_out_the_item_and_deletes_it(cache: RedisCache) -> None:
    await cache.write("k", "value")
    assert await cache.pop("k") == "value"
    assert await cache.pop("k", "default") == "default"


async def test_a_response_written_under_another_key_is_bound_to_that_key(cache: RedisCache) -> None:
    await cache.write("other", CachedResponse.from_stored(make_entry("k")))
    found = await cache.read_entry("other")
    assert found is not None
    assert found.key == "other"


@pytest.mark.parametrize("value", [b"", b"garbage", b"\x80\x04K\x01.", b"x" * 100_000])
async def test_bytes_that_are_not_ours_are_a_miss(valkey: ValkeyServer, cache: RedisCache, value: bytes) -> None:
    valkey.command("SET", f"{cache.namespace}:responses:k", value)
    assert await cache.read_entry("k") is None
    assert await cache.read("k") is None
    assert [item async for item in cache.values()] == []
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None


async def test_a_value_of_another_type_is_a_miss_for_its_key_alone(valkey: ValkeyServer, cache: RedisCache) -> None:
    valkey.command("HSET", f"{cache.namespace}:responses:hash", "field", "value")
    await cache.write_entry(make_entry("k"))
    found = await asyncio.gather(*(cache.read_entry(key) for key in ("k", "hash", "k", "hash", "none")))
    assert [None if entry is None else entry.key for entry in found] == ["k", None, "k", None, None]
    assert await cache.pop("hash", "default") == "default"
    valkey.command("HSET", f"{cache.namespace}:responses:hash", "field", "value")
    await cache.write_entry(make_entry("hash"))
    assert await cache.read_entry("hash") is not None


@pytest.mark.parametrize("count", [1_000, 10_000])
async def test_any_number_of_concurrent_hits_works_over_one_connection(own_valkey: ValkeyServer, count: int) -> None:
    cache = RedisCache("many", "responses", own_valkey.url, socket_timeout=PATIENT_S)
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{index}", b"x" * 10_000)) for index in range(100)))
    found = await asyncio.gather(*(cache.read_entry(f"k{index % 100}") for index in range(count)))
    assert [entry.key for entry in found if entry is not None] == [f"k{index % 100}" for index in range(count)]
    assert own_valkey.connections() == 1
    await cache.close()


async def test_only_one_of_two_processes_gets_the_lease_and_only_he_gives_it_back(valkey: ValkeyServer) -> None:
    one, other = RedisCache("lease", "r", valkey.url), RedisCache("lease", "r", valkey.url)
    assert await one.acquire_lease("k", 30)
    assert not await other.acquire_lease("k", 30)
    assert 29_000 < valkey.command("PTTL", "lease:r-lease:k") <= 30_000
    await other.release_lease("k")
    assert not await other.acquire_lease("k", 30)
    await one.release_lease("k")
    assert await other.acquire_lease("k", 0.001)
    assert await one.size() == 0
    await other.release_lease("k")
    await one.close()
    await other.close()


async def test_a_lease_that_passed_to_another_is_not_given_back(valkey: ValkeyServer) -> None:
    one = RedisCache("lease", "r", valkey.url)
    assert await one.acquire_lease("k", 30)
    valkey.command("SET", "lease:r-lease:k", "another's")
    await one.release_lease("k")
    assert valkey.command("GET", "lease:r-lease:k") == b"another's"
    valkey.command("DEL", "lease:r-lease:k")
    await one.close()


async def test_a_client_that_was_handed_in_is_used_and_not_closed(valkey: ValkeyServer) -> None:
    for options in ({}, {"decode_responses": True}, {"protocol": 2}, {"protocol": 3}):
        client: Any = cast(Any, redis.asyncio.Redis).from_url(valkey.url, db=3, **options)
        backend = RedisBackend("handed", connection=client)
        await backend.responses.write_entry(make_entry("k"))
        assert await backend.responses.read_entry("k") is not None
        await backend.responses.clear()
        await backend.close()
        assert await client.ping()
        assert await client.keys("handed:*") == []
        await client.aclose()


async def test_a_synchronous_client_is_refused(valkey: ValkeyServer) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio\.Redis"):
        RedisBackend("handed", connection=valkey.client())


async def test_a_loop_in_another_thread_is_served_too_and_closed_from_here(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("threads", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        for _ in range(20):
            there = asyncio.run_coroutine_threadsafe(cache.read_entry("k"), loop)
            assert await cache.read_entry("k") is not None
            assert await asyncio.wrap_future(there) is not None
        assert own_valkey.connections() == 2
        await cache.close()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop))
        assert own_valkey.connections() == 0
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_misspelt_option_names_its_neighbour() -> None:
    with pytest.raises(TypeError, match="did you mean 'socket_timeout'"):
        RedisBackend("app", socket_timout=1)  # type: ignore[call-arg]  # the misspelling is tested
    with pytest.raises(TypeError, match="did you mean 'expire_after'"):
        RedisBackend("app", expires_after=1)  # type: ignore[call-arg]  # the misspelling is tested
    with pytest.raises(TypeError, match="did you mean 'near_tier_s'"):
        RedisCache("app", "r", near_tier=1)  # type: ignore[call-arg]  # the misspelling is tested


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_near_tier_needs_a_lifetime(value: float) -> None:
    with pytest.raises(ConfigurationError, match="near_tier_s"):
        RedisBackend("app", near_tier_s=value)


async def test_options_of_the_driver_win_over_the_address(valkey: ValkeyServer) -> None:
    cache = RedisCache("opts", "r", "redis://nowhere.invalid:1/5", host="127.0.0.1", port=valkey.port, db=2)
    await cache.write_entry(make_entry("k"))
    with valkey.client(db=2) as client:
        assert client.keys("opts:*") == [b"opts:r:k"]
    await cache.clear()
    await cache.close()


async def test_a_database_number_in_the_address_is_used(valkey: ValkeyServer) -> None:
    cache = RedisCache("db", "r", f"{valkey.url}/7")
    await cache.write_entry(make_entry("k"))
    with valkey.client(db=7) as client:
        assert client.keys("db:*") == [b"db:r:k"]
    await cache.clear()
    await cache.close()


async def test_a_users_serializer_is_used_and_its_bytes_are_bound_to_the_key(valkey: ValkeyServer) -> None:
    class Reprs:
        def dumps(self, item: Any) -> str:
            return item if isinstance(item, str) else str(item.stored.status)

        def loads(self, payload: bytes) -> Any:
            return CachedResponse.from_stored(make_entry("k", payload))

    cache = RedisCache("ser", "r", valkey.url, serializer=Reprs())
    await cache.write_entry(make_entry("k"))
    found = await cache.read_entry("k")
    assert found is not None
    assert found.body == b"200"
    await cache.clear()
    await cache.close()


async def test_entries_of_another_secret_are_a_miss(valkey: ValkeyServer) -> None:
    ours, theirs = RedisCache("s", "r", valkey.url, secret_key="a"), RedisCache("s", "r", valkey.url, secret_key="b")
    await theirs.write_entry(make_entry("k"))
    assert await ours.read_entry("k") is None
    assert ours.stack.stats.unreadable == 1
    await ours.clear()
    await ours.close()
    await theirs.close()


def test_each_loop_opens_a_connection_of_its_own_and_leaves_none(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("loops", "r", own_valkey.url)

    async def use() -> None:
        await cache.write_entry(make_entry("k"))
        assert await cache.read_entry("k") is not None

    for _ in range(3):
        asyncio.run(use())  # not closed: a service under reload, a notebook, a test-suite
    asyncio.run(cache.close())
    deadline = time.monotonic() + 20
    while own_valkey.connections() and time.monotonic() < deadline:
        time.sleep(0.01)  # the server notices a closed socket after a delay
    assert own_valkey.connections() == 0


async def test_a_storage_that_nobody_holds_any_more_leaves_no_connection(own_valkey: ValkeyServer) -> None:
    async def use() -> Connection:
        cache = RedisCache("forgotten", "r", own_valkey.url)
        await cache.write_entry(make_entry("k"))
        return await connection_of(cache)

    connection = await use()
    gc.collect()
    await connection.wait_closed()
    assert own_valkey.connections() == 0


@pytest.mark.parametrize("near_tier_s", [None, 30.0])
def test_a_storage_that_outlives_its_loop_may_be_dropped(own_valkey: ValkeyServer, near_tier_s: float | None) -> None:
    cache = RedisCache("forgotten", "r", own_valkey.url, near_tier_s=near_tier_s)
    known = weakref.ref(cache)
    gc.collect(0)  # makes it older than its connection, which is then finalised first

    async def use(cache: RedisCache) -> None:
        await cache.write_entry(make_entry("k"))
        assert await cache.read_entry("k") is not None

    asyncio.run(use(cache))
    del cache
    gc.collect()
    assert known() is None


async def test_opening_and_closing_two_hundred_times_leaks_nothing(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("often", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    await cache.close()
    needs_proc()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        assert await cache.read_entry("k") is not None
        await cache.close()
        await cache.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_forked_child_opens_its_own_connection(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("fork", "r", own_valkey.url)

    async def use(key: str) -> bool:
        await cache.write_entry(make_entry(key))
        return await cache.read_entry(key) is not None

    async def parent() -> None:
        assert await use("parent")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio._set_running_loop(None)  # pyright: ignore[reportPrivateUsage] # what a fork hook would do
                loop = asyncio.new_event_loop()
                status = 0 if loop.run_until_complete(use("child")) else 1
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)  # noqa: ASYNC222  # nothing else runs here
        assert status == 0
        assert await use("parent again")
        assert await all_keys(cache) == {"parent", "child", "parent again"}
        await cache.close()

    asyncio.run(parent())


def test_neither_the_package_nor_its_backends_import_the_driver() -> None:
    code = "import aiohttp_cache_di, aiohttp_cache_di.backends, aiohttp_cache_di.backends.redis, sys; "
    code += "sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_writing_nothing_deletes(cache: RedisCache) -> None:
    await cache.write("k", "value")
    await cache.write("k", None)
    assert not await cache.contains("k")


async def test_a_connection_that_was_closed_refuses_and_the_storage_opens_another(cache: RedisCache) -> None:
    connection = await connection_of(cache)
    connection.abort()
    with pytest.raises(StorageError, match="closed"):
        await connection.submit(command(b"PING"))
    assert await cache.read_entry("k") is None


@pytest.mark.parametrize(
    "address", ["redis://:hunter2#x@host/0", "redis://:hunter2?x@host/0", "redis://:a@hunter2@host"]
)
def test_an_address_that_can_be_read_in_two_ways_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ConfigurationError, match="the address of the Redis server cannot be read") as caught:
        RedisBackend("api", address)

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
