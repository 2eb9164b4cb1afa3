"""The near tier: hot entries at the speed of memory, and changes by other processes are still seen."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator

import pytest

from aiohttp_cache_di._redis import push_type
from aiohttp_cache_di.backends.redis import RedisCache
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.wrap.loop import Failed
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.redis.opened import connection_of, store_of
from tests.programs import started
from tests.valkey import ValkeyServer

LIFETIME_S = 30.0  # far longer than the tests: changes that they see come from the server's messages
TOLD_WITHIN_S = 10

OTHER_PROCESS = """
import asyncio, sys, time
from aiohttp_cache_di.backends.redis import RedisCache
from tests.backends.entries import make_entry

async def main(url, action):
    cache = RedisCache("near", "r", url)
    if action == "delete":
        await cache.delete("k")
    elif action == "clear":
        await cache.clear()
    elif action == "write":
        await cache.write_entry(make_entry("k", b"newer"))
    await cache.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def cache(own_valkey: ValkeyServer) -> AsyncIterator[RedisCache]:
    storage = RedisCache("near", "r", own_valkey.url, near_tier_s=LIFETIME_S)
    yield storage
    await storage.close()


async def fetch(cache: RedisCache, key: str) -> StoredResponse | None:
    """Read as a request does."""
    found = await cache.stack.here().fetch(key)
    assert not isinstance(found, Failed)
    return found


async def until_gone(cache: RedisCache, within_s: float = TOLD_WITHIN_S) -> None:
    async with asyncio.timeout(within_s):
        while cache.peek("k") is not None:  # noqa: ASYNC110  # the message sets no event
            await asyncio.sleep(0.001)


async def test_what_was_read_is_at_hand_and_what_was_only_written_is_not(cache: RedisCache) -> None:
    assert cache.peek("k") is None
    await cache.write_entry(make_entry("k"))
    assert cache.peek("k") is None
    entry = await fetch(cache, "k")
    assert entry is not None
    assert cache.peek("k") is entry


async def test_without_the_setting_nothing_is_at_hand(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("near", "r", own_valkey.url)
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    assert cache.peek("k") is None
    await cache.close()


@pytest.mark.parametrize("action", ["delete", "clear", "write"])
async def test_a_change_by_another_process_is_seen_at_once(
    own_valkey: ValkeyServer, cache: RedisCache, action: str
) -> None:
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    assert cache.peek("k") is not None
    async with started(sys.executable, "-c", OTHER_PROCESS, own_valkey.url, action) as other:
        assert await other.wait() == 0
    await until_gone(cache)
    found = await fetch(cache, "k")
    assert (found.body if found is not None else None) == (b"newer" if action == "write" else None)


async def test_a_change_after_our_own_write_is_seen_too(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    for _ in range(3):
        await cache.write_entry(make_entry("k"))
        await fetch(cache, "k")
        own_valkey.command("DEL", "near:r:k")
        await until_gone(cache)


async def test_a_flush_of_the_server_is_seen(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    own_valkey.command("FLUSHALL")
    await until_gone(cache)


async def test_our_own_changes_are_seen_before_they_return(cache: RedisCache) -> None:
    for change in (cache.delete, cache.pop):
        await cache.write_entry(make_entry("k"))
        read = asyncio.create_task(fetch(cache, "k"))
        await asyncio.sleep(0)
        await change("k")
        await read
        assert cache.peek("k") is None
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    await cache.bulk_delete({"k"})
    assert cache.peek("k") is None


@pytest.mark.parametrize("action", ["delete", "write"])
async def test_a_change_that_is_not_waited_for_any_more_is_seen_too(cache: RedisCache, action: str) -> None:
    await cache.write_entry(make_entry("k", b"old"))
    store = store_of(cache)
    reading = asyncio.create_task(fetch(cache, "k"))
    await asyncio.sleep(0)  # now it is being sent
    new = Record("k", make_entry("k", b"new"), math.inf)
    changing = asyncio.create_task(store.delete(["k"]) if action == "delete" else store.put([new]))
    for _ in range(2):
        await asyncio.sleep(0)
    changing.cancel()
    assert await reading is not None, "it went out first"
    await store.get(["other"])
    assert cache.peek("k") is None
    found = await fetch(cache, "k")
    assert (found and found.body) == (None if action == "delete" else b"new"), "it was sent all the same"


async def test_losing_the_server_loses_the_copies(own_valkey: ValkeyServer, cache: RedisCache) -> None:
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    connection = await connection_of(cache)
    own_valkey.kill()
    await connection.wait_closed()
    assert cache.peek("k") is None


async def test_a_copy_is_believed_for_its_lifetime_when_the_server_falls_silent(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("near", "r", own_valkey.url, near_tier_s=0.2)
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    own_valkey.pause()
    await until_gone(cache)
    await cache.close()


async def test_a_server_that_cannot_track_leaves_the_lifetime(own_valkey: ValkeyServer) -> None:
    own_valkey.command("ACL", "SETUSER", "default", "-client|tracking")
    cache = RedisCache("near", "r", own_valkey.url, near_tier_s=0.1)
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    own_valkey.command("DEL", "near:r:k")
    await until_gone(cache)
    await cache.close()


@pytest.mark.parametrize("keys", [5, [b"other", [b"k"]], [5], {}])
async def test_a_message_that_cannot_be_understood_loses_all_copies(cache: RedisCache, keys: object) -> None:
    await cache.write_entry(make_entry("k"))
    await fetch(cache, "k")
    connection = await connection_of(cache)
    connection.replied([push_type()([b"invalidate", keys])])
    assert cache.peek("k") is None
    assert await fetch(cache, "k") is not None
    assert not connection.closed
