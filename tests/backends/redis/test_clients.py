"""Addresses, options and clients for a cluster and for sentinels: which are accepted, and which are refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode

from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.clients import topology_at, topology_of
from aiohttp_cache_di.backends.redis.servers.cluster import Cluster
from aiohttp_cache_di.backends.redis.servers.topology import SingleServer
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from aiohttp_cache_di.settings import CacheSettings
from aiohttp_cache_di.settings.build import build_backend
from tests.backends.entries import make_entry
from tests.backends.redis.opened import store_of
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import SERVICE, Sentinels


def sentinel_of(hosts: list[tuple[str, int]], **options: Any) -> Any:
    """Make a client for sentinels, as a user does."""
    made: Any = redis.asyncio.Sentinel
    return made(hosts, **options)


def arguments_of(address: str, **options: Any) -> dict[str, Any]:
    topology = topology_at(address, options)
    assert isinstance(topology, Cluster)
    return dict(topology.known.arguments)


def test_the_name_in_an_address_replaces_our_own() -> None:
    assert "driver_info" in arguments_of("redis+cluster://a")
    named = arguments_of("redis+cluster://a?lib_name=mine")
    assert (named["lib_name"], "driver_info" in named) == ("mine", False)


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("redis+cluster://a", "redis+cluster://a:6379"),
        ("redis+cluster://u:p%40ss@a:1,b,[fd00::1]:3/0", "redis+cluster://a:1,b:6379,fd00::1:3"),
        ("rediss+cluster://a/", "rediss+cluster://a:6379"),
        ("redis+sentinel://a,b:2/my.cache-1", "redis+sentinel://a:26379,b:2/my.cache-1"),
        ("rediss+sentinel://u:p@a/cache/3?socket_timeout=2", "rediss+sentinel://a:26379/cache"),
        ("rediss://:p@a/3", "rediss://a:6379/3"),
    ],
)
def test_an_address_says_where_the_servers_are(address: str, where: str) -> None:
    assert RedisCache("app", "r", address).where == where
    assert f"at {where}" in repr(RedisBackend("app", address))


async def test_a_client_without_a_host_is_of_this_machine() -> None:
    client: Any = redis.asyncio.Redis(host=None)  # type: ignore[arg-type]  # redis-py itself takes it
    assert RedisCache("app", "r", connection=client).where == "redis://localhost:6379/0"
    await client.aclose()


def test_credentials_options_and_tls_are_for_all_servers_of_a_cluster() -> None:
    arguments = arguments_of("rediss+cluster://user:p%40ss@a,b?socket_timeout=3", ssl_ca_certs="/ca.pem")
    told = {name: arguments[name] for name in ("username", "password", "socket_timeout", "ssl", "ssl_ca_certs")}
    assert told == {
        "username": "user",
        "password": "p@ss",
        "socket_timeout": 3.0,
        "ssl": True,
        "ssl_ca_certs": "/ca.pem",
    }
    topology = topology_at("redis+cluster://user:p%40ss@a", {})
    assert topology.secrets == ["p@ss"]


def test_sentinels_have_credentials_of_their_own() -> None:
    address = "rediss+sentinel://user:server@a,b/cache/2?sentinel_username=s&sentinel_password=sentinel"
    topology = topology_at(address, {"sentinel_kwargs": {"socket_timeout": 9}})
    assert set(topology.secrets or ()) == {"server", "sentinel"}
    assert "server" not in f"{topology!r} {topology.where}".replace("redis+sentinel", "").replace("SingleServer", "")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("redis+cluster://:hunter2@a/1", "no database but 0"),
        ("redis+cluster://:hunter2@a?db=2", r"redis\+cluster://:\*\*\*@a\?db=2: .* leave db=2 out"),
        ("redis+cluster://:hunter2@a,,b", "names no host"),
        ("redis+cluster://:hunter2@a:1,b:x", "a port that is not valid"),
        ("redis+cluster://:hunter2@a?speed=9", r"redis\+cluster://:\*\*\*@a.*options that do not exist: speed"),
        ("redis+cluster://", "names no host"),
        ("redis+sentinel://:hunter2@a", "/name"),
        ("redis+sentinel://:hunter2@a/name/x", "/name"),
        ("redis+sentinel://:hunter2@a/na%20me", "/name"),
        ("redis+sentinel://:hunter2@a/cache?sentinel_pasword=hunter2", "options that do not exist: sentinel_pasword"),
        ("redis+something://:hunter2@a", r"has to begin with redis://, redis\+cluster://, redis\+sentinel://"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(address: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        RedisBackend("app", address)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("address", "options", "why"),
    [
        ("redis+cluster://a", {"db": 3}, "no database but 0"),
        ("redis+cluster://a", {"unix_socket_path": "/x"}, "unix_socket_path cannot be used"),
        ("redis+cluster://a", {"service_name": "x"}, "service_name cannot be used"),
        ("redis://a", {"sentinel_kwargs": {}}, "sentinel_kwargs cannot be used"),
        ("redis://a", {"address_remap": str}, "address_remap cannot be used"),
    ],
)
def test_an_option_of_another_kind_of_server_is_refused(address: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        RedisBackend("app", address, **options)


def test_braces_in_the_name_of_a_cache_are_a_hash_tag_or_refused() -> None:
    RedisBackend("{app}:http", "redis+cluster://a")
    RedisBackend("a{b", "redis://a")
    for name in ("a{b", "a}b", "{}", "{a}{b}"):
        with pytest.raises(ConfigurationError, match="hash tag"):
            RedisBackend(name, "redis+cluster://a")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: redis.Redis(), "not a redis.client.Redis"),
        (lambda: redis.RedisCluster, "has to be a redis.asyncio.Redis, RedisCluster or Sentinel, not a"),
        (lambda: sentinel_of([("a", 1)]), "service_name="),
        (lambda: sentinel_of([("a", 1)]).slave_for("cache"), "to replicas"),
        (object, "not a builtins.object"),
    ],
)
def test_a_client_of_another_kind_is_refused(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        RedisBackend("app", connection=make())


async def test_the_settings_of_a_clusters_client_are_used_and_not_the_client(cluster: ValkeyCluster) -> None:
    made: Any = redis.asyncio.RedisCluster
    nodes = [ClusterNode("127.0.0.1", node.port) for node in cluster.nodes[:1]]
    client = made(startup_nodes=nodes, client_name="mine", decode_responses=True, socket_timeout=4)
    topology = topology_of(client, {})
    assert isinstance(topology, Cluster)
    assert topology.known.arguments["client_name"] == "mine"
    assert topology.known.arguments["socket_timeout"] == 4
    assert topology.where == f"redis+cluster://{cluster.nodes[0].address}"
    cache = RedisCache("mine", "r", connection=client)
    await cache.write_entry(make_entry("k"))
    await asyncio.to_thread(asyncio.run, read_in_another_loop(cache))
    assert client.get_nodes() == []  # it was not even opened
    await cache.clear()
    await cache.close()


async def read_in_another_loop(cache: RedisCache) -> None:
    assert await cache.read_entry("k") is not None
    await cache.close()


async def test_the_settings_of_sentinels_are_used_and_not_their_clients(sentinels: Sentinels) -> None:
    manager = sentinel_of(sentinels.hosts, socket_timeout=2)
    client = manager.master_for(SERVICE, db=3, client_name="mine")
    cache = RedisCache("mine", "r", connection=client)
    await cache.write_entry(make_entry("k"))
    await asyncio.to_thread(asyncio.run, read_in_another_loop(cache))
    assert sentinels.primary().client(db=3).dbsize() == 1
    idle = [each.connection_pool for each in (client, *manager.sentinels)]
    assert [len(pool._available_connections) for pool in idle] == [0] * 4
    await cache.clear()
    await cache.close()


async def test_a_users_client_that_would_try_again_and_again_is_not_waited_for() -> None:
    client = sentinel_of([("127.0.0.1", 1)]).master_for(SERVICE)
    cache = RedisCache("app", "r", connection=client)
    async with asyncio.timeout(20):
        with pytest.raises(StorageError, match="MasterNotFoundError"):
            await cache.read_entry("k")
    await cache.close()


async def test_a_service_that_sentinels_do_not_know_is_our_error(sentinels: Sentinels) -> None:
    cache = RedisCache("app", "r", sentinels.url.replace(f"/{SERVICE}", "/another"))
    with pytest.raises(StorageError, match="MasterNotFoundError"):
        await cache.read_entry("k")
    await cache.close()


async def test_each_sentinel_that_does_not_answer_is_told_with_its_reason() -> None:
    cache = RedisCache("app", "r", "redis+sentinel://127.0.0.1:1,127.0.0.1:2/cache?sentinel_password=hunter2")
    with pytest.raises(StorageError) as caught:
        await cache.read_entry("k")
    told = store_of(cache).told_of(caught.value.__cause__ or caught.value)
    each = r"127\.0\.0\.1:%d - \S*ConnectionError.*"  # redis-py shows errors in several ways
    assert re.fullmatch(f"No master found for 'cache' : {each % 1}, {each % 2}", told), told
    await cache.close()


async def test_a_sentinel_that_is_gone_is_passed_over(sentinels: Sentinels) -> None:
    cache = RedisCache("gone", "r", sentinels.url.replace("sentinel://", "sentinel://127.0.0.1:1,"))
    await cache.write_entry(make_entry("k"))
    assert await cache.read_entry("k") is not None
    assert isinstance(store_of(cache).topology, SingleServer)
    await cache.clear()
    await cache.close()


@pytest.mark.parametrize("kind", ["cluster", "sentinels"])
async def test_a_variable_leads_to_the_servers(
    kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    group: ValkeyCluster | Sentinels = request.getfixturevalue(kind)
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", group.url)
    backend = build_backend(await asyncio.to_thread(CacheSettings))
    try:
        health = await backend.ping()
        assert health.status == "ok", health
    finally:
        await backend.close()


def test_a_variable_that_is_wrong_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_BACKEND", "redis")
    monkeypatch.setenv("AIOHTTP_CACHE_REDIS__URL", "redis+cluster://:hunter2@a,b/4")
    with pytest.raises(ConfigurationError, match="no database but 0") as caught:
        CacheSettings()
    assert "hunter2" not in str(caught.value)
    assert "AIOHTTP_CACHE_REDIS__URL" in str(caught.value)


async def test_the_driver_is_told_of_a_server_that_it_does_not_reach(valkey: ValkeyServer) -> None:
    cache = RedisCache("app", "r", f"redis+sentinel://127.0.0.1:{valkey.port}/cache")
    with pytest.raises(StorageError, match="cannot be used"):
        await cache.read_entry("k")
    await cache.close()
