"""Settings from code, environment and files, and what they describe."""

from __future__ import annotations

from aiohttp_cache_di.settings.model import (
    DEFAULT_PREFIX,
    CacheSettings,
    ClientSettings,
    RedisSettings,
    SQLiteSettings,
    Variable,
)

__all__ = ["DEFAULT_PREFIX", "CacheSettings", "ClientSettings", "RedisSettings", "SQLiteSettings", "Variable"]
