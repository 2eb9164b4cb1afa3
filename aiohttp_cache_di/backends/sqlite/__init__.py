"""Storage in a SQLite file: the embedded default, shared by all processes of one machine."""

from __future__ import annotations

from aiohttp_cache_di.backends.sqlite.backend import SQLiteBackend, SQLitePickleCache
from aiohttp_cache_di.backends.sqlite.cache import SQLiteCache
from aiohttp_cache_di.backends.sqlite.options import DEFAULT_MAX_BYTES, DEFAULT_NEAR_BYTES

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_NEAR_BYTES", "SQLiteBackend", "SQLiteCache", "SQLitePickleCache"]
