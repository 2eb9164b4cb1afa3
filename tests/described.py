"""Backends in other processes: made of what a test says of a store, without importing the drivers of all stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp_cache_di
from aiohttp_cache_di import CacheBackend

__all__ = ["class_of", "described"]

CLASSES: Final[Mapping[str, str]] = {
    "memory": "CacheBackend",
    "sqlite": "SQLiteBackend",
    "filesystem": "FileBackend",
    "redis": "RedisBackend",
    "cluster": "RedisBackend",
    "sentinel": "RedisBackend",
    "mongodb": "MongoDBBackend",
    "dynamodb": "DynamoDBBackend",
}
"""The name of the backend class of each kind of store in `tests.stores`."""


def described(kind: str, store_options: Mapping[str, Any], **more: Any) -> CacheBackend:
    """A backend on the store of this *kind* and with these options, as `tests.stores.Store.backend` makes it.

    Args:
        more: further options of the backend.
    """
    return class_of(kind)(**{**store_options, **more})


def class_of(kind: str) -> type[CacheBackend]:
    """The backend class of a *kind* of store, imported if necessary with its driver."""
    found: type[CacheBackend] = getattr(aiohttp_cache_di, CLASSES[kind])
    return found
