"""TLS to a cluster, and to sentinels and their server: through relays, because the servers of the tests have no TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.cluster import ClusterNode

from aiohttp_cache_di.backends.loops import is_in_a_loop
from aiohttp_cache_di.backends.redis import RedisCache
from aiohttp_cache_di.errors import StorageError
from tests.backends.entries import make_entry
from tests.tls_relay import TlsRelay, make_certificate
from tests.valkey import ValkeyServer
from tests.valkey_cluster import ValkeyCluster, wait_until
from tests.valkey_sentinels import SERVICE, SentinelProcess

KEYS = tuple(f"k{number}" for number in range(60))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    made = make_certificate(tmp_path_factory.mktemp("tls"))
    if made is None:
        pytest.skip("openssl is not installed")
    return made


@pytest.fixture
async def relays(cluster: ValkeyCluster, certificate: tuple[Path, Path]) -> AsyncIterator[dict[int, TlsRelay]]:
    """A relay in front of each server of the cluster, by the server's port."""
    async with AsyncExitStack() as running:
        yield {node.port: await running.enter_async_context(TlsRelay(node.port, certificate)) for node in cluster.nodes}


def cluster_options(relays: dict[int, TlsRelay]) -> dict[str, Any]:
    """The address of two relays, and a function that maps the cluster's ports to those of the relays."""
    ports = [relay.port for relay in relays.values()]
    own = {relay.port for relay in relays.values()}

    def remapped(where: tuple[str, int]) -> tuple[str, int]:
        return where if where[1] in own else (where[0], relays[where[1]].port)

    hosts = ",".join(f"127.0.0.1:{port}" for port in ports[:2])
    return {"address": f"rediss+cluster://{hosts}", "address_remap": remapped}


async def kept_and_found(cache: RedisCache) -> bool:
    """Whether all entries that are written are found again, and none after clearing."""
    await asyncio.gather(*(cache.write_entry(make_entry(key, b"x" * 20_000)) for key in KEYS))
    found = await asyncio.gather(*(cache.read_entry(key) for key in KEYS))
    is_whole = all(entry is not None and len(entry.body) == 20_000 for entry in found)
    await cache.clear()
    return is_whole and await cache.size() == 0


async def test_entries_travel_over_tls_to_all_servers_of_a_cluster(
    relays: dict[int, TlsRelay], cluster: ValkeyCluster, certificate: tuple[Path, Path]
) -> None:
    cache = RedisCache("tls-cluster", "r", ssl_ca_certs=str(certificate[0]), **cluster_options(relays))
    try:
        assert await kept_and_found(cache)
    finally:
        await cache.close()
    assert all(relays[node.port].secure for node in cluster.primaries())
    assert not any(relay.plain for relay in relays.values())


@pytest.fixture
def read_in_loop(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each time that the system's certificates are read, whether that is done in an event loop."""
    found: list[bool] = []
    read = ssl.create_default_context

    def noting(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        found.append(is_in_a_loop())
        return read(*args, **kwargs)

    monkeypatch.setattr(ssl, "create_default_context", noting)
    return found


@pytest.mark.skipif(not hasattr(ClusterNode, "release"), reason="this redis-py lends no connections of a cluster")
async def test_certificates_for_a_cluster_are_read_in_a_thread(
    relays: dict[int, TlsRelay], certificate: tuple[Path, Path], read_in_loop: list[bool]
) -> None:
    cache = RedisCache("tls-cluster", "r", ssl_ca_certs=str(certificate[0]), **cluster_options(relays))
    await cache.write_entry(make_entry("k"))
    await cache.close()
    assert read_in_loop
    assert not any(read_in_loop)


async def test_a_cluster_for_which_no_one_vouches_is_refused(relays: dict[int, TlsRelay]) -> None:
    cache = RedisCache("tls-cluster", "r", **cluster_options(relays))
    try:
        with pytest.raises(StorageError):
            await cache.read_entry("k")
    finally:
        await cache.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """The server that a sentinel monitors."""
    (tmp_path / "server").mkdir()
    with ValkeyServer(tmp_path / "server") as running:
        yield running


async def test_entries_travel_over_tls_to_a_sentinel_and_to_the_server_that_it_names(
    tmp_path: Path, server: ValkeyServer, certificate: tuple[Path, Path], read_in_loop: list[bool]
) -> None:
    (tmp_path / "sentinel").mkdir()
    sentinel = SentinelProcess(tmp_path / "sentinel")
    async with AsyncExitStack() as running:
        to_server = await running.enter_async_context(TlsRelay(server.port, certificate))
        sentinel.monitored = f"sentinel monitor {SERVICE} 127.0.0.1 {to_server.port} 1\n"
        running.callback(sentinel.kill)
        await asyncio.to_thread(sentinel.start)
        await asyncio.to_thread(wait_until, "the sentinel has found the server", lambda: _is_known(sentinel))
        to_sentinel = await running.enter_async_context(TlsRelay(sentinel.port, certificate))
        address = f"rediss+sentinel://127.0.0.1:{to_sentinel.port}/{SERVICE}"
        refused = RedisCache("tls-sentinel", "r", address)
        with pytest.raises(StorageError):
            await refused.read_entry("k")
        await refused.close()
        cache = RedisCache("tls-sentinel", "r", address, ssl_ca_certs=str(certificate[0]))
        try:
            assert await kept_and_found(cache)
        finally:
            await cache.close()
        assert read_in_loop
        assert not any(read_in_loop)
        assert to_sentinel.secure
        assert not to_sentinel.plain
        assert to_server.secure, "by TLS, though the sentinel comes without"


def _is_known(sentinel: SentinelProcess) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_master(SERVICE)
    return not (state["is_odown"] or state["is_sdown"] or state["is_disconnected"])
