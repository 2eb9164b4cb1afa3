"""Private names of redis-py that the package uses exist; without them its answers are still correct."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
import redis.asyncio.cluster
import redis.exceptions

from aiohttp_cache_di import _redis
from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.connections.driven import DrivenConnection
from aiohttp_cache_di.errors import MissingDependencyError
from tests.backends.entries import make_entry
from tests.backends.redis.opened import connection_of
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster


class Renamed:
    """A connection of the driver in which one attribute is renamed or missing."""

    def __init__(self, connection: Any, gone: str) -> None:
        self.connection = connection
        self.gone = gone

    def __getattr__(self, name: str) -> Any:
        if name == self.gone:
            raise AttributeError(name)
        return getattr(self.connection, name)


def client_without(server: ValkeyServer, gone: str) -> Any:
    """Make a client whose connections lack the attribute *gone*."""
    client: Any = redis.asyncio.Redis(host="127.0.0.1", port=server.port)
    make = client.connection_pool.make_connection
    client.connection_pool.make_connection = lambda: Renamed(make(), gone)
    return client


async def open_connection(server: ValkeyServer) -> Any:
    connection: Any = redis.asyncio.Connection(host="127.0.0.1", port=server.port)
    await connection.connect()
    return connection


async def test_an_open_connection_has_its_stream_where_we_look_for_it(valkey: ValkeyServer) -> None:
    connection = await open_connection(valkey)
    kinds: list[type[object]] = [type(getattr(connection, name)) for name in _redis.TOUCHED]
    assert kinds == [asyncio.StreamReader, asyncio.StreamWriter]
    await connection.disconnect()


async def test_a_stream_that_was_taken_is_ours_alone(valkey: ValkeyServer) -> None:
    connection = await open_connection(valkey)
    taken = _redis.take_stream(connection)
    assert taken is not None
    writer, ahead = taken
    assert ahead == b""
    await connection.disconnect()
    del connection
    assert not writer.is_closing()
    writer.close()
    await writer.wait_closed()


async def test_what_came_ahead_is_handed_over_with_the_stream(valkey: ValkeyServer) -> None:
    connection = await open_connection(valkey)
    connection._reader.feed_data(b">1\r\n+early\r\n")
    taken = _redis.take_stream(connection)
    assert taken is not None
    writer, ahead = taken
    assert ahead == b">1\r\n+early\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("name", _redis.TOUCHED)
async def test_without_a_private_name_a_storage_is_slower_and_right(own_valkey: ValkeyServer, name: str) -> None:
    client = client_without(own_valkey, name)
    cache = RedisCache("gone", "r", connection=client)
    await asyncio.gather(*(cache.write_entry(make_entry(f"k{index}", b"%d" % index)) for index in range(100)))
    found = await asyncio.gather(*(cache.read_entry(f"k{index % 100}") for index in range(1000)))
    assert [entry and entry.body for entry in found] == [b"%d" % (index % 100) for index in range(1000)]
    assert await cache.acquire_lease("k", 10)
    assert not await cache.acquire_lease("k", 10)
    assert await cache.size() == 100
    assert isinstance(await connection_of(cache), DrivenConnection)
    await cache.clear()
    await cache.close()
    await client.aclose()


def absent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)


def too_old(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(sys.modules[name], "PushNotification")


@pytest.mark.parametrize(("break_it", "name"), [(absent, "redis.asyncio"), (absent, "hiredis"), (too_old, "hiredis")])
def test_a_package_that_is_missing_or_too_old_names_the_extra_when_a_backend_is_made(
    monkeypatch: pytest.MonkeyPatch, break_it: Any, name: str
) -> None:
    RedisBackend()
    break_it(monkeypatch, name)
    with pytest.raises(MissingDependencyError, match=r"aiohttp-cache-di\[redis\]"):
        RedisBackend()


async def test_a_cluster_whose_state_was_read_is_known_though_closing_fails(
    cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node: Any = redis.asyncio.cluster.ClusterNode
    close = node.disconnect

    async def closed_late(self: Any) -> None:
        await close(self)
        raise redis.exceptions.TimeoutError

    monkeypatch.setattr(node, "disconnect", closed_late)
    found = await _redis.read_cluster([("127.0.0.1", cluster.nodes[0].port)], {})
    assert set(found.servers) == {("127.0.0.1", each.port) for each in cluster.nodes}
