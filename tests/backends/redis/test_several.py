"""A cluster, and a server with sentinels, fulfil the contract of stores."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.cluster import ClusterNode

from aiohttp_cache_di.backends.redis import RedisCache
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.entries import make_entry
from tests.backends.redis.opened import store_at
from tests.backends.remote_contract import MakeStore as MakeRemote
from tests.backends.remote_contract import RemoteContract
from tests.backends.store_contract import MakeStore, StoreContract
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import SERVICE, Sentinels

numbers = itertools.count()


class TestClusterStore(RemoteContract):
    @pytest.fixture
    def make(self, cluster: ValkeyCluster) -> MakeRemote:
        self.cluster = cluster
        self.namespace = f"contract-{next(numbers)}"
        return partial(store_at, cluster.url, self.namespace)

    async def meddle(self, key: str, change: Callable[[bytes], Any]) -> None:
        name = f"{self.namespace}:responses:{{{key}}}"
        with self.cluster.owner_of(self.cluster.slot_of(name)).client() as client:
            changed = change(client.get(name))
            client.set(name, changed if isinstance(changed, bytes) else str(changed))


class TestClusterThroughAClientWithNearTier(StorageContract):
    @pytest.fixture
    async def client(self, cluster: ValkeyCluster) -> AsyncIterator[Any]:
        client: Any = redis.asyncio.RedisCluster(
            startup_nodes=[ClusterNode("127.0.0.1", cluster.nodes[2].port)], decode_responses=True
        )
        yield client
        assert await client.ping()
        await client.aclose()

    @pytest.fixture
    def make(self, client: Any) -> MakeStorage:
        return partial(RedisCache, f"contract-{next(numbers)}", "responses", connection=client, near_tier_s=30)


class TestSentinelStore(StoreContract):
    @pytest.fixture
    def make(self, sentinels: Sentinels) -> MakeStore:
        return partial(store_at, sentinels.url, f"contract-{next(numbers)}")


class TestSentinelThroughAClient(StorageContract):
    @pytest.fixture
    async def sentinel(self, sentinels: Sentinels) -> AsyncIterator[Any]:
        made: Any = redis.asyncio.Sentinel
        sentinel = made(sentinels.hosts, socket_timeout=1.0)
        yield sentinel
        for each in sentinel.sentinels:
            await each.aclose()

    @pytest.fixture
    def make(self, sentinel: Any) -> MakeStorage:
        made = f"contract-{next(numbers)}", "responses"
        return partial(RedisCache, *made, connection=sentinel, service_name=SERVICE, near_tier_s=30)

    async def test_a_client_of_the_primary_shares_with_it_what_it_stores(self, sentinel: Any) -> None:
        client, name = sentinel.master_for(SERVICE), f"contract-{next(numbers)}"
        storages = [
            RedisCache(name, "responses", connection=client),
            RedisCache(name, "responses", connection=sentinel, service_name=SERVICE),
        ]
        for one, other in (storages, storages[::-1]):
            await one.write_entry(make_entry("k", body := uuid.uuid4().bytes))
            entry = await other.read_entry("k")
            assert entry is not None
            assert entry.body == body
        for storage in storages:
            await storage.close()
        assert await client.ping()
        await client.aclose()
