"""The options of SQLite storages."""

from __future__ import annotations

from typing import Any, Final, TypedDict

from aiohttp_cache_di.backends.options.typed import CacheOptions, SigningOptions, StorageOptions
from aiohttp_cache_di.backends.store.sizes import DEFAULT_MAX_BYTES

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_NEAR_BYTES",
    "OWN_OPTIONS",
    "ConnectOptions",
    "SQLiteBackendOptions",
    "SQLiteOptions",
]

DEFAULT_NEAR_BYTES: Final = 32 * 1024 * 1024


class ConnectOptions(TypedDict, total=False):
    """Arguments of ``sqlite3.connect``, and options of this storage alone."""

    timeout: float
    """Seconds to wait for another process's lock. Default: 0.15."""
    uri: bool | str
    """A ``file:`` URI to use in place of the path, or True if the path is one. Default: False."""
    detect_types: int
    """Passed to ``sqlite3.connect``; of no use here. Default: 0."""
    factory: Any
    """The class of connections, a ``sqlite3.Connection``. Default: ``sqlite3.Connection``."""
    cached_statements: int
    """The number of prepared statements that a connection caches. Default: 128."""
    isolation_level: Any
    """Of no effect: the storage manages its transactions."""
    check_same_thread: bool
    """Of no effect: the storage manages its threads."""
    autocommit: Any
    """Of no effect: the storage manages its transactions."""
    near_tier: bool
    """Keep copies in memory of entries read, and use each until any process changes its entry. Default: True."""
    near_tier_bytes: int
    """The total size of the copies in memory, in bytes. Default: 33554432 (32 MiB)."""


class SQLiteOptions(StorageOptions, SigningOptions, ConnectOptions, total=False):
    """Options of `SQLiteCache` in addition to its named arguments."""


class SQLiteBackendOptions(CacheOptions, ConnectOptions, total=False):
    """Options of `SQLiteBackend` in addition to its named arguments."""


OWN_OPTIONS: Final = frozenset(ConnectOptions.__annotations__)
