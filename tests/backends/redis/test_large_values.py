"""Planted values that exceed the size limit are not transferred, and delay nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.clients import topology_at
from aiohttp_cache_di.backends.redis.store import RedisStore
from aiohttp_cache_di.backends.store import UNREADABLE, Found, Lease, Record
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.stores import PATIENT_S
from tests.times import shortest
from tests.valkey import ValkeyServer

BOUND = 100_000
PLANTED = 150_000_000
BUFFERS = 20_000_000  # what a server may send before it notices that the client does not read
NEVER = float("inf")


@pytest.fixture
async def store(own_valkey: ValkeyServer) -> AsyncIterator[RedisStore]:
    topology = topology_at(own_valkey.url, {"socket_timeout": PATIENT_S})  # some servers copy a planted value first
    store = RedisStore(topology, "app", "responses", EntryCodec(), lambda: BOUND)
    await store.put([Record(f"k{n}", make_entry(f"k{n}", b"%d" % n), NEVER) for n in range(10)])
    yield store
    await store.close()


def plant(server: ValkeyServer, key: str, size: int = PLANTED) -> None:
    server.command("SETRANGE", f"app:responses:{key}", size - 1, "x")


def sent_bytes(server: ValkeyServer) -> int:
    return int(server.command("INFO", "stats")["total_net_output_bytes"])


def connections(server: ValkeyServer) -> int:
    return int(server.command("INFO", "stats")["total_connections_received"])


def calls(server: ValkeyServer) -> dict[str, int]:
    stats = server.command("INFO", "commandstats")
    names = ("get", "mget", "getrange", "strlen", "eval")
    return {name: int(stats[f"cmdstat_{name}"]["calls"]) for name in names if f"cmdstat_{name}" in stats}


async def bodies(store: RedisStore, keys: list[str]) -> list[object]:
    found = await store.get(keys)
    return [each.item.body if each and isinstance(each.item, StoredResponse) else each for each in found]


async def test_a_large_value_is_not_taken_and_does_not_hold_up_the_loop(
    own_valkey: ValkeyServer, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    plant(own_valkey, "k1")

    async def longest() -> float:
        store._reading._careful_until = 0.0  # makes each lookup the first
        caplog.clear()
        before = sent_bytes(own_valkey)
        reading = asyncio.ensure_future(store.get(["k1"]))
        longest_s, then = 0.0, time.perf_counter()
        while not reading.done():
            await asyncio.sleep(0)
            longest_s, then = max(longest_s, time.perf_counter() - then), time.perf_counter()
        assert await reading == [Found(UNREADABLE)]
        assert sent_bytes(own_valkey) - before < BUFFERS
        return longest_s

    assert await shortest(0.1, longest) < 0.1
    assert await bodies(store, ["k2"]) == [b"2"]
    assert len(caplog.records) == 1
    assert "larger than any that is kept there" in caplog.text


async def test_it_costs_its_connection_once(own_valkey: ValkeyServer, store: RedisStore) -> None:
    for key in ("k1", "k3", "k5"):
        plant(own_valkey, key)
    before = connections(own_valkey)
    for _ in range(3):
        assert await store.get(["k1"]) == [Found(UNREADABLE)]
        assert await bodies(store, [f"k{n}" for n in range(7)]) == [
            Found(UNREADABLE) if n in (1, 3, 5) else b"%d" % n for n in range(7)
        ]
    assert connections(own_valkey) == before + 2, "a new one of ours, and the one that asks for this number"


async def test_others_that_wait_on_the_same_connection_get_what_they_asked_for(
    own_valkey: ValkeyServer, store: RedisStore
) -> None:
    plant(own_valkey, "k1")
    found = await asyncio.gather(*(store.get([f"k{n}"]) for n in range(10)))
    assert [each[0] is not None and each[0].item is not UNREADABLE for each in found] == [n != 1 for n in range(10)]


async def test_the_usual_way_has_one_round_trip_and_so_has_the_careful_one(
    own_valkey: ValkeyServer, store: RedisStore
) -> None:
    own_valkey.command("CONFIG", "RESETSTAT")
    await store.get(["k1"])
    await store.get(["k1", "k2"])
    assert calls(own_valkey) == {"get": 1, "mget": 1}
    store._reading.beware()
    own_valkey.command("CONFIG", "RESETSTAT")
    assert await bodies(store, ["k1"]) == [b"1"]
    assert await bodies(store, ["k2", "none"]) == [b"2", None]
    assert calls(own_valkey) == {"getrange": 3}
    store._reading._careful_until = time.monotonic() - 1
    own_valkey.command("CONFIG", "RESETSTAT")
    await store.get(["k1"])
    assert calls(own_valkey) == {"get": 1}


async def test_a_look_that_would_lease_takes_no_large_value_either(own_valkey: ValkeyServer, store: RedisStore) -> None:
    plant(own_valkey, "k1")
    before = sent_bytes(own_valkey)
    for _ in range(2):
        assert await store.get_or_acquire("k1", 5.0) == Found(UNREADABLE)
    assert sent_bytes(own_valkey) - before < BUFFERS
    found = await store.get_or_acquire("k2", 5.0)
    assert isinstance(found, Found)
    assert isinstance(found.item, StoredResponse)
    assert await store.get_or_acquire("none", 5.0) is Lease.GRANTED


async def test_a_large_value_is_met_on_a_walk_and_can_be_dropped(own_valkey: ValkeyServer, store: RedisStore) -> None:
    plant(own_valkey, "k1")
    rows = [row async for page in store.pages(items=True) for row in page]
    assert sorted(row.key for row in rows) == [f"k{n}" for n in range(10)]
    assert [row.key for row in rows if row.item is UNREADABLE] == ["k1"]
    await store.delete(["k1"])
    assert await store.get(["k1"]) == [None]


async def test_a_value_of_another_type_is_none_to_one_who_is_careful(
    own_valkey: ValkeyServer, store: RedisStore
) -> None:
    own_valkey.command("HSET", "app:responses:hash", "field", "value")
    store._reading.beware()
    assert await store.get(["hash"]) == [None]


async def test_what_could_not_be_read_is_not_written(store: RedisStore) -> None:
    with pytest.raises(StorageError, match="larger than what is kept here"):
        await store.put([Record("k", make_entry("k", bytes(BOUND)), NEVER)])
    fits = make_entry("k", bytes(BOUND - 1000))
    await store.put([Record("k", fits, NEVER)])
    assert await bodies(store, ["k"]) == [fits.body]


async def test_the_bound_follows_from_what_the_backend_stores(own_valkey: ValkeyServer) -> None:
    backend = RedisBackend("bounds", own_valkey.url, socket_timeout=PATIENT_S)
    large = make_entry("k", bytes(15_000_000))
    with pytest.raises(StorageError):
        await backend.responses.write_entry(large)
    backend.max_body_bytes = 15_000_000
    await backend.responses.write_entry(large)
    found = await backend.responses.read_entry("k")
    assert found is not None
    assert len(found.body) == 15_000_000
    await backend.close()


async def test_a_storage_by_itself_keeps_what_is_larger(own_valkey: ValkeyServer) -> None:
    cache = RedisCache("bounds", "alone", own_valkey.url, socket_timeout=PATIENT_S)
    await cache.write_entry(make_entry("k", bytes(30_000_000)))
    assert await cache.read_entry("k") is not None
    await cache.close()
