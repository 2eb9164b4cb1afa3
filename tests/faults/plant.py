"""Bytes put straight into a store, behind the back of the cache."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from aiohttp_cache_di.backends.sqlite.schema import pack_key
from tests.faults.stores import Store

__all__ = ["kept", "plant"]


def plant(store: Store, key: str, data: bytes) -> None:
    """Replace what is kept under *key* by *data*."""
    if store.server is not None:
        store.server.command("SET", f"{store.options['cache_name']}:responses:{key}", data)
        return
    with closing(sqlite3.connect(Path(store.options["cache_name"]))) as connection, connection:
        connection.execute(f"UPDATE {_table(connection)} SET frame = ? WHERE key = ?", (data, pack_key(key)))  # noqa: S608


def kept(store: Store, key: str) -> bytes:
    """What is kept under *key*."""
    if store.server is not None:
        found: bytes = store.server.command("GET", f"{store.options['cache_name']}:responses:{key}")
        return found
    with closing(sqlite3.connect(Path(store.options["cache_name"]))) as connection:
        row = connection.execute(f"SELECT frame FROM {_table(connection)} WHERE key = ?", (pack_key(key),))  # noqa: S608
        return bytes(row.fetchone()[0])


def _table(connection: sqlite3.Connection) -> str:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return next(f'"{name}"' for name in names if name.startswith("cache:") and name.endswith("responses"))
