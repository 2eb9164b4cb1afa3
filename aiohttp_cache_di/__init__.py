"""A persistent HTTP cache for aiohttp clients, wired for FastAPI and aiohttp.web services.

`CachedSession` is a drop-in for `aiohttp.ClientSession`; `CacheContainer` builds one from environment variables and
owns its lifecycle. Names that need a driver or a framework are imported when they are first used.

PYTEST_DONT_REWRITE: there is no assert here, and pytest would warn of a package that is imported before it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp_cache_di.backends.base import BaseCache, BaseStorage, CacheBackend, DictCache
from aiohttp_cache_di.errors import (
    CacheError,
    ConfigurationError,
    LifecycleError,
    MissingDependencyError,
    StorageError,
    StorageTimeoutError,
    UnreadableEntryError,
)
from aiohttp_cache_di.lazy import imported_later
from aiohttp_cache_di.middleware import CacheMiddleware
from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlExpiration, UrlExpirationOptions, UrlLifetime
from aiohttp_cache_di.response import AnyResponse, CachedResponse
from aiohttp_cache_di.session import CachedSession, CacheMixin

if TYPE_CHECKING:
    from aiohttp_cache_di.backends.dynamodb.backend import DynamoDBBackend, DynamoDbCache
    from aiohttp_cache_di.backends.filesystem.backend import FileBackend, FileCache
    from aiohttp_cache_di.backends.mongodb.backend import MongoDBBackend, MongoDBCache
    from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache
    from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLiteCache
    from aiohttp_cache_di.containers import CacheContainer, open_container
    from aiohttp_cache_di.settings.model import CacheSettings

# Imported when they are first used; `backends` knows which of its modules has each.
_LAZY = {
    "CacheContainer": "containers",
    "CacheSettings": "settings",
    "DynamoDBBackend": "backends",
    "DynamoDbCache": "backends",
    "FileBackend": "backends",
    "FileCache": "backends",
    "MongoDBBackend": "backends",
    "MongoDBCache": "backends",
    "RedisBackend": "backends",
    "RedisCache": "backends",
    "SQLiteBackend": "backends",
    "SQLiteCache": "backends",
    "open_container": "containers",
}

__version__ = "1.0.0rc1"

__all__ = [
    "AnyResponse",
    "BaseCache",
    "BaseStorage",
    "CacheBackend",
    "CacheContainer",
    "CacheError",
    "CacheMiddleware",
    "CacheMixin",
    "CacheSettings",
    "CachedResponse",
    "CachedSession",
    "ConfigurationError",
    "DictCache",
    "DynamoDBBackend",
    "DynamoDbCache",
    "ExpirationTime",
    "FileBackend",
    "FileCache",
    "LifecycleError",
    "MissingDependencyError",
    "MongoDBBackend",
    "MongoDBCache",
    "RedisBackend",
    "RedisCache",
    "SQLiteBackend",
    "SQLiteCache",
    "StorageError",
    "StorageTimeoutError",
    "UnreadableEntryError",
    "UrlExpiration",
    "UrlExpirationOptions",
    "UrlLifetime",
    "open_container",
]

if not TYPE_CHECKING:  # type checkers see the imports above
    __getattr__ = imported_later(globals(), _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
