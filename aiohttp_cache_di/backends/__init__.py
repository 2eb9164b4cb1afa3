"""Where responses are kept; a backend that needs a driver is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiohttp_cache_di.backends.actions import CacheActions
from aiohttp_cache_di.backends.base import BaseCache, BaseStorage, CacheBackend, DictCache, ResponseOrKey

if TYPE_CHECKING:
    from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache
    from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLiteCache

_LAZY = {"RedisBackend": "redis", "RedisCache": "redis", "SQLiteBackend": "sqlite", "SQLiteCache": "sqlite"}

__all__ = [
    "BaseCache",
    "BaseStorage",
    "CacheActions",
    "CacheBackend",
    "DictCache",
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
