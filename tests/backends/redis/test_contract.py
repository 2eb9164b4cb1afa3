"""Redis fulfils the contract of storages: without and with a near tier, and through a client of the user's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

import pytest
import redis.asyncio

from aiohttp_cache_di.backends.redis import RedisCache
from tests.backends.contract import MakeStorage, StorageContract
from tests.backends.redis.opened import make_store
from tests.backends.store_contract import MakeStore, StoreContract
from tests.valkey import ValkeyServer

numbers = itertools.count()


class TestRedisStore(StoreContract):
    @pytest.fixture
    def make(self, valkey: ValkeyServer) -> MakeStore:
        return partial(make_store, valkey, f"contract-{next(numbers)}")


class TestRedis(StorageContract):
    @pytest.fixture
    def make(self, valkey: ValkeyServer) -> MakeStorage:
        return partial(RedisCache, f"contract-{next(numbers)}", "responses", valkey.url)


class TestRedisWithNearTier(StorageContract):
    @pytest.fixture
    def make(self, valkey: ValkeyServer) -> MakeStorage:
        return partial(RedisCache, f"contract-{next(numbers)}", "responses", valkey.url, near_tier_s=30)


class TestRedisThroughAClient(StorageContract):
    @pytest.fixture
    async def client(self, valkey: ValkeyServer) -> AsyncIterator[Any]:
        client = cast(Any, redis.asyncio.Redis).from_url(valkey.url, decode_responses=True)
        yield client
        assert await client.ping()
        await client.aclose()

    @pytest.fixture
    def make(self, client: Any) -> MakeStorage:
        return partial(RedisCache, f"contract-{next(numbers)}", "responses", connection=client)
