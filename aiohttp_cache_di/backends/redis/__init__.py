"""Storage in Redis or Valkey, shared by any number of machines."""

from __future__ import annotations

from aiohttp_cache_di.backends.redis.backend import RedisBackend, RedisCache

__all__ = ["RedisBackend", "RedisCache"]
