"""A Redis Cluster: batches by server, slots that migrate, copies in memory, and servers that cannot be reached."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.connections.wire import command
from aiohttp_cache_di.backends.redis.servers import cluster as module
from aiohttp_cache_di.backends.redis.servers import endpoints
from aiohttp_cache_di.backends.store import Found, Lease, PartlyReadError
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.backends.redis.opened import store_at, store_of
from tests.backends.remote_contract import entry, write
from tests.origin import Origin, answer
from tests.valkey_cluster import ClusterNode, ValkeyCluster

numbers = itertools.count()
KEYS = tuple(f"k{number}" for number in range(60))
WITHIN_S = 20.0


@pytest.fixture
def name() -> str:
    """The name of a cache; its entries are in many slots."""
    return f"cluster-{next(numbers)}"


@pytest.fixture
async def cache(cluster: ValkeyCluster, name: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(name, "responses", cluster.url)
    yield cache
    await cache.close()


def no_stream(connection: object) -> None:
    """Take over no connection."""


@pytest.fixture(params=["taken over", "driven"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How connections are used: directly by the package, or through redis-py's methods."""
    if request.param == "driven":
        monkeypatch.setattr(endpoints, "take_stream", no_stream)


@pytest.fixture
def moving(cluster: ValkeyCluster) -> Any:
    """A hash tag, its slot, the server that owns the slot and the one to migrate it to; it is moved back in the end."""
    tag = f"tag-{next(numbers)}"
    slot = cluster.slot_of(tag)
    source = cluster.owner_of(slot)
    target = next(node for node in cluster.primaries() if node is not source)
    yield tag, slot, source, target
    if cluster.owner_of(slot) is not source:
        cluster.move(slot, source)


def owner_of(cluster: ValkeyCluster, name: str, key: str) -> ClusterNode:
    return cluster.owner_of(cluster.slot_of(f"{name}:responses:{{{key}}}"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110  # a server's messages set no event
            await asyncio.sleep(0.005)


async def test_all_tasks_share_one_connection_to_each_primary_and_none_goes_to_a_replica(
    cluster: ValkeyCluster, name: str
) -> None:
    cache = RedisCache(name, "responses", cluster.url, client_name=name)
    await asyncio.gather(*(cache.write_entry(make_entry(key)) for key in KEYS))
    assert None not in await asyncio.gather(*(cache.read_entry(key) for key in KEYS))
    assert await cache.size() == len(KEYS)
    primaries = cluster.primaries()
    counts = {
        node.address: str(node.command("CLIENT", "LIST"), "ascii").count(f"name={name}") for node in cluster.nodes
    }
    assert counts == {node.address: int(node in primaries) for node in cluster.nodes}
    await cache.close()


async def test_clearing_reaches_all_servers_and_leaves_what_is_others(
    cache: RedisCache, cluster: ValkeyCluster
) -> None:
    other = RedisCache(f"{cache.namespace}-other", "responses", cluster.url)
    await asyncio.gather(*(each.write_entry(make_entry(key)) for each in (cache, other) for key in KEYS))
    holders = [owner_of(cluster, cache.namespace, key) for key in KEYS]
    assert all(node in holders for node in cluster.primaries())
    await cache.clear()
    assert (await cache.size(), await other.size()) == (0, len(KEYS))
    await other.clear()
    await other.close()


@pytest.mark.usefixtures("way")
async def test_what_has_moved_is_found_where_it_is_now(cluster: ValkeyCluster, moving: Any) -> None:
    tag, slot, _, target = moving
    cache = RedisCache(f"{{{tag}}}", "responses", cluster.url)
    await asyncio.gather(*(cache.write_entry(make_entry(key)) for key in KEYS))
    cluster.move(slot, target)
    assert None not in await asyncio.gather(*(cache.read_entry(key) for key in KEYS))
    await cache.write_entry(make_entry("new"))
    await cache.delete(KEYS[0])
    assert await cache.size() == len(KEYS)
    assert len(target.command("KEYS", f"{{{tag}}}*")) == len(KEYS)
    await cache.clear()
    await cache.close()


@pytest.mark.usefixtures("way")
async def test_what_is_on_its_way_is_found_on_either_side(cluster: ValkeyCluster, moving: Any) -> None:
    tag, slot, source, target = moving
    one, two = (store_at(cluster.url, f"{{{tag}}}") for _ in range(2))
    await write(one, *(entry(key) for key in KEYS[:30]))
    cluster.begin_moving(slot, source, target)
    cluster.move_keys(slot, source, target)
    await write(one, *(entry(key) for key in KEYS[30:]))
    found = await two.get(KEYS)
    assert None not in found
    assert len(target.command("KEYS", f"{{{tag}}}*")) == len(KEYS)

    # Its names are on two servers: the lookup does not acquire the lease, which takes a call of its own.
    assert await one.get_or_acquire("leased", 20) is None
    assert isinstance(await one.get_or_acquire(KEYS[0], 20), Found)
    assert await one.acquire("leased", 20) == Lease.GRANTED
    assert await two.acquire("leased", 20) == Lease.REFUSED
    assert await one.renew("leased", 20)
    await one.release("leased")
    assert await two.acquire("leased", 20) == Lease.GRANTED
    await write(two, replace(entry("leased"), leased=True))
    assert await one.acquire("leased", 20) == Lease.GRANTED_LATE

    await one.delete(KEYS)
    assert await two.get(KEYS) == [None] * len(KEYS)
    cluster.end_moving(slot, target)
    await one.release("leased")
    await one.clear()
    for store in (one, two):
        await store.close()


async def test_a_walk_during_which_a_slot_moves_misses_nothing(cluster: ValkeyCluster, cache: RedisCache) -> None:
    await asyncio.gather(*(cache.write_entry(make_entry(key)) for key in KEYS))
    (first, *_, last) = await store_of(cache).topology.endpoints()
    (there,) = [node for node in cluster.nodes if node.address in first.where]
    key = next(key for key in KEYS if owner_of(cluster, cache.namespace, key).address in last.where)
    slot = cluster.slot_of(f"{cache.namespace}:responses:{{{key}}}")
    source = cluster.owner_of(slot)
    seen: set[str] = set()
    async for page in store_of(cache).pages(items=False):
        seen |= {row.key for row in page}
        if cluster.owner_of(slot) is source and len(seen) < len(KEYS):
            cluster.move(slot, there)
    assert seen == set(KEYS)
    cluster.move(slot, source)


async def test_changes_are_told_by_every_primary(cluster: ValkeyCluster, cache: RedisCache) -> None:
    near = RedisCache(cache.namespace, "responses", cluster.url, near_tier_s=30)
    await asyncio.gather(*(cache.write_entry(make_entry(key)) for key in KEYS))
    await asyncio.gather(*(near.stack.here().fetch(key) for key in KEYS))
    assert all(near.peek(key) is not None for key in KEYS)
    await cache.bulk_delete(set(KEYS[:-1]))
    await until(lambda: all(near.peek(key) is None for key in KEYS[:-1]))
    assert near.peek(KEYS[-1]) is not None
    await near.close()


async def test_copies_of_what_has_moved_are_given_up(cluster: ValkeyCluster, moving: Any) -> None:
    tag, slot, _, target = moving
    cache, near = (RedisCache(f"{{{tag}}}", "responses", cluster.url, near_tier_s=each) for each in (None, 30))
    await cache.write_entry(make_entry("k"))
    await near.stack.here().fetch("k")
    assert near.peek("k") is not None
    cluster.move(slot, target)
    await until(lambda: near.peek("k") is None)
    async with asyncio.timeout(WITHIN_S):
        while not slot_is_at(near, slot, target):  # the slot's owner is looked up again after a moment
            assert await near.read_entry("k") is not None
        while near.peek("k") is None:  # a read that overlaps with the change is not kept
            await near.stack.here().fetch("k")
    await cache.delete("k")
    await until(lambda: near.peek("k") is None)
    for each in (cache, near):
        await each.close()


def slot_is_at(cache: RedisCache, slot: int, node: ClusterNode) -> bool:
    topology = store_of(cache).topology
    assert isinstance(topology, module.Cluster)
    endpoint = topology.endpoint_of_slot(slot)
    return endpoint is not None and node.address in endpoint.where


# ---- a server that cannot be reached


@pytest.fixture
def astray(cluster: ValkeyCluster) -> dict[str, Any]:
    """Options that map the first primary to an address where nothing listens."""
    lost = cluster.primaries()[0].port

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        return ("127.0.0.1", 1) if address[1] == lost else address

    return {"address_remap": remap}


def at_the_first(cluster: ValkeyCluster, name: str, key: str) -> bool:
    return owner_of(cluster, name, key) is cluster.primaries()[0]


async def test_a_server_that_is_gone_costs_its_own_keys_alone(
    cluster: ValkeyCluster, cache: RedisCache, astray: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    lost = {key for key in KEYS if at_the_first(cluster, cache.namespace, key)}
    await asyncio.gather(*(cache.write_entry(make_entry(key)) for key in KEYS))
    store = store_at(cluster.url, cache.namespace, **astray)
    with pytest.raises(PartlyReadError, match=f"{len(lost)} of {len(KEYS)} keys could not be looked up") as caught:
        await store.get(KEYS)
    assert {
        key for key, found in zip(KEYS, caught.value.answers, strict=True) if isinstance(found, StorageError)
    } == lost
    with pytest.raises(StorageError, match="cannot be used"):
        await store.get(sorted(lost))
    written = await store.put([entry(key) for key in KEYS])
    assert {key for key, each in zip(KEYS, written, strict=True) if isinstance(each, StorageError)} == lost
    with pytest.raises(StorageError):
        await store.delete(KEYS)
    with pytest.raises(StorageError):
        await store.clear()
    await store.close()

    partly = RedisCache(cache.namespace, "responses", cluster.url, **astray)
    with caplog.at_level(logging.WARNING):
        results = await asyncio.gather(*(partly.read_entry(key) for key in KEYS), return_exceptions=True)
    assert {key for key, found in zip(KEYS, results, strict=True) if isinstance(found, StorageError)} == lost
    await partly.close()


async def test_requests_hit_what_the_servers_have_that_are_left(
    cluster: ValkeyCluster, name: str, origin: Origin, astray: dict[str, Any]
) -> None:
    urls = [origin.on(f"/{key}", answer(key)) for key in KEYS]

    async def ask(options: dict[str, Any]) -> list[tuple[int, bool]]:
        async def one(url: str) -> tuple[int, bool]:
            async with session.get(url) as response:
                return response.status, response.from_cache

        backend = RedisBackend(name, cluster.url, storage_deadline=WITHIN_S, **options)
        async with CachedSession(cache=backend) as session:
            return await asyncio.gather(*map(one, urls))

    assert await ask({}) == [(200, False)] * len(urls)
    partly = await ask(astray)
    assert {status for status, _ in partly} == {200}
    hits = sum(is_hit for _, is_hit in partly)
    assert len(urls) // 3 < hits < len(urls)
    assert origin.hits == 2 * len(urls) - hits


async def test_a_server_that_is_gone_is_found_by_a_check(
    cluster: ValkeyCluster, name: str, astray: dict[str, Any]
) -> None:
    whole, partly = RedisBackend(name, cluster.url), RedisBackend(name, cluster.url, **astray)
    assert (await whole.ping()).status == "ok"
    health = await partly.ping()
    assert health.status == "degraded"
    assert "ConnectionError" in health.reason
    for backend in (whole, partly):
        await backend.close()


async def test_a_store_that_is_dropped_lets_go_of_its_connections(cluster: ValkeyCluster, name: str) -> None:
    cache = RedisCache(name, "responses", cluster.url, client_name=name)
    await cache.write_entry(make_entry("k"))
    node = owner_of(cluster, name, "k")

    def is_connected() -> bool:
        return f"name={name}" in str(node.command("CLIENT", "LIST"), "ascii")

    assert is_connected()
    await cache.clear()
    del cache

    def is_let_go() -> bool:
        gc.collect()  # repeatedly: ending tasks may hold the store for a moment
        return not is_connected()

    await until(is_let_go)


async def test_a_cluster_that_is_not_there_is_our_error_without_the_password() -> None:
    cache = RedisCache("app", "r", "redis+cluster://:geheim@127.0.0.1:1,127.0.0.1:2")
    for operation in (cache.read_entry("k"), cache.write_entry(make_entry("k")), cache.delete("k"), cache.size()):
        with pytest.raises(
            StorageError, match=r"redis\+cluster://127\.0\.0\.1:1,127\.0\.0\.1:2 cannot be used"
        ) as caught:
            await operation
        assert "geheim" not in f"{caught.value!r} {caught.value.__cause__!r} {cache!r} {store_of(cache)!r}"
    await cache.close()


async def test_a_server_that_is_no_cluster_is_our_error(valkey: Any) -> None:
    cache = RedisCache("app", "r", f"redis+cluster://127.0.0.1:{valkey.port}")
    with pytest.raises(StorageError, match="cannot be used"):
        await cache.read_entry("k")
    await cache.close()


async def test_a_command_that_is_sent_to_and_fro_ends_in_an_error(
    cluster: ValkeyCluster, cache: RedisCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache.write_entry(make_entry("k"))
    monkeypatch.setattr(module, "MAX_HOPS", 0)
    topology = store_of(cache).topology
    assert isinstance(topology, module.Cluster)
    others = [each for each in await topology.endpoints() if each is not topology.endpoint_of_slot(0)]
    connection = await others[0].connection()
    slot_0 = b"{fHh}"
    assert cluster.slot_of(slot_0) == 0
    with pytest.raises(StorageError, match="redis refused the command: MOVED"):
        await connection.submit(command(b"GET", slot_0))
