"""However much is in memory, no operation on all of it blocks other tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import pytest

from aiohttp_cache_di import CacheBackend
from aiohttp_cache_di.backends.memory import DictCache
from aiohttp_cache_di.backends.memory.store import CHUNK
from tests.backends.entries import make_entry

COUNT = 10 * CHUNK


@pytest.fixture
def storage() -> DictCache:
    storage = DictCache(max_bytes=None)
    for number in range(COUNT):
        storage.put(make_entry(f"{number}", store_until=time.time() + 60))
    return storage


async def turns_during(awaitable: Awaitable[object]) -> int:
    """How often another task runs until *awaitable* is done."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    await awaitable
    counter.cancel()
    return turns


async def walk(items: AsyncIterable[Any]) -> None:
    async for _ in items:
        pass


@pytest.mark.parametrize("what", ["keys", "values", "clear", "delete_expired"])
async def test_others_get_their_turn_meanwhile(storage: DictCache, what: str) -> None:
    whole: dict[str, Callable[[], Awaitable[object]]] = {
        "keys": lambda: walk(storage.keys()),
        "values": lambda: walk(storage.values()),
        "clear": storage.clear,
        "delete_expired": lambda: storage.delete_expired(time.time() + 61),
    }
    assert await turns_during(whole[what]()) >= COUNT // CHUNK
    assert (await storage.size() == 0) is (what in ("clear", "delete_expired"))


async def test_others_get_their_turn_while_urls_are_shown() -> None:
    backend = CacheBackend()
    for number in range(COUNT):
        await backend.responses.write_entry(make_entry(f"{number}"))
    assert await turns_during(walk(backend.get_urls())) >= COUNT // CHUNK


async def test_what_is_cleared_is_gone_at_once_and_what_comes_meanwhile_stays(storage: DictCache) -> None:
    clearing = asyncio.create_task(storage.clear())
    await asyncio.sleep(0)
    assert not clearing.done()
    assert (await storage.size(), storage.total_bytes) == (0, 0)
    entry = make_entry("1")
    storage.put(entry)
    await clearing
    assert storage.peek("1") == entry
    assert await storage.size() == 1


async def test_entries_that_were_deleted_while_the_keys_are_walked_over_are_no_items(storage: DictCache) -> None:
    seen = 0
    async for _ in storage.values():
        seen += 1
        await storage.clear()
    assert seen == 1


async def test_the_expiry_queue_stays_small_and_loses_nobody_however_often_entries_are_replaced() -> None:
    storage = DictCache(max_bytes=None)
    now = time.time()
    for round_number in range(50):
        for number in range(CHUNK):
            storage.put(make_entry(f"{number}", store_until=now + 10 + (round_number * 7 + number) % 50))
        assert len(storage._store._expiry) <= 5 * CHUNK
    storage.put(make_entry("later", store_until=now + 1000))
    assert await storage.delete_expired(now + 9) == 0
    for after_s in (20, 40, 60):
        expected = sum(item.stored.store_until <= now + after_s for item in storage.data.values())
        assert await storage.delete_expired(now + after_s) == expected
    assert list(storage.data) == ["later"]
