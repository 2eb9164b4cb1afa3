"""A cluster, and a server with sentinels, fulfil the contract of stores."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.cluster import ClusterNode

from aiohttp_cache_di.backends.redis import RedisCache
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.redis.opened import store_at
from tests.backends.remote_contract import MakeStore as MakeRemote
from tests.backends.remote_contract import RemoteContract
from tests.backends.store_contract import MakeStore, StoreContract
from tests.valkey_cluster import ValkeyCluster
from tests.valkey_sentinels import SERVICE, Sentinels

numbers = itertools.count()


class TestClusterStore(StoreContract):
    @pytest.fixture
    def make(self, cluster: ValkeyCluster) -> MakeStore:
        return partial(store_at, cluster.url, f"contract-{next(numbers)}")


class TestClusterFromAfar(RemoteContract):
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


class TestCluster(StorageContract):
    @pytest.fixture
    def make(self, cluster: ValkeyCluster) -> MakeStorage:
        return partial(RedisCache, f"contract-{next(numbers)}", "responses", cluster.url)


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

    @pytest.fixture(params=["sentinel", "primary"])
    async def options(self, sentinel: Any, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
        if request.param == "sentinel":
            yield {"connection": sentinel, "service_name": SERVICE, "near_tier_s": 30}
        else:
            client = sentinel.master_for(SERVICE)
            yield {"connection": client}
            assert await client.ping()
            await client.aclose()

    @pytest.fixture
    def make(self, options: dict[str, Any]) -> MakeStorage:
        return partial(RedisCache, f"contract-{next(numbers)}", "responses", **options)
