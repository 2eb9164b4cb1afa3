"""The options of SQLite storages, and the database that they describe."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypedDict

from aiohttp_cache_di.backends.options import BackendOptions
from aiohttp_cache_di.backends.sqlite.database import Database
from aiohttp_cache_di.backends.sqlite.eviction import Bounds
from aiohttp_cache_di.backends.sqlite.files import CONNECT_OPTIONS, CacheFile
from aiohttp_cache_di.backends.sqlite.schema import Table

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_NEAR_BYTES",
    "OWN_OPTIONS",
    "ConnectOptions",
    "SQLiteOptions",
    "near_bytes",
    "open_database",
]

DEFAULT_MAX_BYTES: Final = 1024 * 1024 * 1024
DEFAULT_NEAR_BYTES: Final = 32 * 1024 * 1024


class ConnectOptions(TypedDict, total=False):
    """Arguments of ``sqlite3.connect``, and what only this storage has."""

    timeout: float
    uri: bool | str
    detect_types: int
    factory: Any
    cached_statements: int
    isolation_level: Any
    check_same_thread: bool
    autocommit: Any
    near_tier: bool
    near_tier_bytes: int


class SQLiteOptions(BackendOptions, ConnectOptions, total=False):
    """Options of a SQLite storage or backend beside those that their classes name."""


OWN_OPTIONS: Final = frozenset(ConnectOptions.__annotations__)


def open_database(
    filename: str | os.PathLike[str],
    table_name: str,
    use_temp: bool,
    fast_save: bool,
    options: SQLiteOptions,
    value_bytes: Callable[[], int],
) -> Database:
    """Make the database of *filename*; nothing is opened yet."""
    connect = {name: value for name, value in options.items() if name in CONNECT_OPTIONS}
    bounds = Bounds(options.get("max_bytes", DEFAULT_MAX_BYTES), options.get("max_entries"))
    file = CacheFile.resolve(filename, use_temp, connect)
    return Database(file, Table(table_name), bounds, fast_save=fast_save, value_bytes=value_bytes)


def near_bytes(options: SQLiteOptions) -> int:
    """What may be kept in memory in front of the file."""
    return options.get("near_tier_bytes", DEFAULT_NEAR_BYTES) if options.get("near_tier", True) else 0
