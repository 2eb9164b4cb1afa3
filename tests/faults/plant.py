"""Bytes put straight into a store, behind the back of the cache."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from aiohttp_cache_di.backends.filesystem.records import read_head
from aiohttp_cache_di.backends.sqlite.schema import pack_key
from tests.backends.filesystem.places import entry_file
from tests.faults.stores import Store

__all__ = ["kept", "plant"]


def plant(store: Store, key: str, data: bytes) -> None:
    """Replace what is kept under *key* by *data*."""
    if store.server is not None:
        store.server.command("SET", f"{store.options['cache_name']}:responses:{key}", data)
        return
    if store.kind == "filesystem":
        path = entry_file(Path(store.options["cache_name"]), key)
        path.write_bytes(path.read_bytes()[: _frame_at(path)] + data)
        return
    with closing(sqlite3.connect(Path(store.options["cache_name"]))) as connection, connection:
        connection.execute(f"UPDATE {_table(connection)} SET frame = ? WHERE key = ?", (data, pack_key(key)))  # noqa: S608


def kept(store: Store, key: str) -> bytes:
    """What is kept under *key*."""
    if store.server is not None:
        found: bytes = store.server.command("GET", f"{store.options['cache_name']}:responses:{key}")
        return found
    if store.kind == "filesystem":
        path = entry_file(Path(store.options["cache_name"]), key)
        return path.read_bytes()[_frame_at(path) :]
    with closing(sqlite3.connect(Path(store.options["cache_name"]))) as connection:
        row = connection.execute(f"SELECT frame FROM {_table(connection)} WHERE key = ?", (pack_key(key),))  # noqa: S608
        return bytes(row.fetchone()[0])


def _frame_at(path: Path) -> int:
    head = read_head(path.read_bytes())
    assert head is not None
    return head.frame_at


def _table(connection: sqlite3.Connection) -> str:
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return next(f'"{name}"' for name in names if name.startswith("cache:") and name.endswith("responses"))
