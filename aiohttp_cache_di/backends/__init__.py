"""Where responses are kept.

This room may import `response` and what lies below it: policy, keys, entries, telemetry, rfc9111, errors. It knows no
request on its way: that is the engine's. A backend that needs a driver is imported when it is asked for.

- `base` has `CacheBackend`: settings, and the methods that users call and override; `stacked` is its hold on the store,
  `revision` tells those who remember answers that a setting has changed, `options` says what may be set to what.
- `store` is the contract of a store; `memory/`, `sqlite/`, `redis/`, `filesystem/`, `mongodb/` and `dynamodb/` keep it
  and do no more.
- `wrap/` is what every store gets around it: the stack that the engine asks, and the item face that users see.
- `loops` gives each event loop a driver's client of its own, `near_options` says what copies in memory may be.
- `storage` is `BaseCache`, the API of that face, and of storages that users write.

How a backend is put together::

    CacheBackend ── stack ──────────── StoreStack ── LoopStack, one per event loop ── Store   (one per backend)
         │                                 ▲
         ├── responses ── StackCache ──────┤   shows what is an end in itself
         └── redirects ── StackCache ──────┘   shows redirects and aliases

A URL has a response or a redirect, so both share one namespace and a look-up asks once. Where a user sets `responses`
or `redirects` to a `BaseCache` of their own, the two become a store through `wrap.foreign`, and a new stack is built
around it. A look straight into such a storage sees what has been written so far; ``await backend.settle()`` first waits
for what is on its way. Looks through our own faces wait by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import BaseCache, BaseStorage, CacheBackend, DictCache, ResponseOrKey

if TYPE_CHECKING:
    from aiohttp_cache_di.backends.dynamodb.backend import DynamoDBBackend, DynamoDbCache
    from aiohttp_cache_di.backends.filesystem.backend import FileBackend, FileCache
    from aiohttp_cache_di.backends.mongodb.backend import MongoDBBackend, MongoDBCache
    from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache
    from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLiteCache

_LAZY = {
    "DynamoDBBackend": "dynamodb",
    "DynamoDbCache": "dynamodb",
    "FileBackend": "filesystem",
    "FileCache": "filesystem",
    "MongoDBBackend": "mongodb",
    "MongoDBCache": "mongodb",
    "RedisBackend": "redis",
    "RedisCache": "redis",
    "SQLiteBackend": "sqlite",
    "SQLiteCache": "sqlite",
}

__all__ = [
    "BaseCache",
    "BaseStorage",
    "CacheActions",
    "CacheBackend",
    "DictCache",
    "DynamoDBBackend",
    "DynamoDbCache",
    "FileBackend",
    "FileCache",
    "MongoDBBackend",
    "MongoDBCache",
    "RedisBackend",
    "RedisCache",
    "ResponseOrKey",
    "SQLiteBackend",
    "SQLiteCache",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
