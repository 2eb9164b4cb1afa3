"""Stores in Redis without a backend around them, and their connections."""

from __future__ import annotations

import itertools
from typing import Any, cast

from aiohttp_cache_di.backends.redis import RedisCache
from aiohttp_cache_di.backends.redis.clients import topology_at
from aiohttp_cache_di.backends.redis.connections.connection import Connection
from aiohttp_cache_di.backends.redis.store import RedisStore
from aiohttp_cache_di.entries.codec import EntryCodec
from tests.stores import PATIENT_S
from tests.valkey import ValkeyServer

__all__ = ["connection_of", "make_store", "store_at", "store_of"]

numbers = itertools.count()


def store_of(cache: RedisCache) -> RedisStore:
    """The store of *cache*, without the stack around it."""
    return cast(RedisStore, cache.stack.store)


async def connection_of(cache: RedisCache) -> Connection:
    """The connection of the running loop, opened if necessary."""
    (endpoint,) = await store_of(cache).topology.endpoints()
    return await endpoint.connection()


def make_store(
    server: ValkeyServer, namespace: str = "", *, user: str = "", codec: EntryCodec | None = None
) -> RedisStore:
    """Make a store in *namespace*, by default in a new one."""
    return store_at(server.url.replace("redis://", f"redis://{user}"), namespace, codec=codec)


def store_at(address: str, namespace: str = "", codec: EntryCodec | None = None, **options: Any) -> RedisStore:
    """Make a store at an address of any kind, with a socket timeout that is long enough for a busy machine."""
    topology = topology_at(address, {"socket_timeout": PATIENT_S, **options})
    return RedisStore(topology, namespace or f"store-{next(numbers)}", "responses", codec or EntryCodec())
