"""The connection beneath a storage in Redis."""

from __future__ import annotations

from typing import cast

from aiohttp_cache_di.backends.redis import RedisCache
from aiohttp_cache_di.backends.redis.connections import Connection
from aiohttp_cache_di.backends.redis.store import RedisStore

__all__ = ["connection_of", "store_of"]


def store_of(cache: RedisCache) -> RedisStore:
    """The store by itself."""
    return cast(RedisStore, cache.stack.store)


async def connection_of(cache: RedisCache) -> Connection:
    """The connection of the running loop, opened if need be."""
    (endpoint,) = store_of(cache).topology.endpoints()
    return await endpoint.connection()
