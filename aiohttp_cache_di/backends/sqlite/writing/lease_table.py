"""The table of leases, for use where leases cannot be locks (`shared.leases`)."""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants
from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from aiohttp_cache_di.backends.sqlite.file.schema import LEASES, Key, Table
from aiohttp_cache_di.backends.sqlite.writing.statements import for_keys, stored
from aiohttp_cache_di.backends.store import Lease

__all__ = ["acquire", "drop_dead", "release", "renew"]


def acquire(connection: sqlite3.Connection, table: Table, key: Key, owner: bytes, ttl_s: float) -> Lease:
    """Take the lease on *key* for *ttl_s* seconds if it is free."""
    now = time.time()
    latest = now + max(60.0, 10 * ttl_s)  # a lease that ends later comes from a wrong clock and is ignored
    held = f"SELECT 1 FROM {LEASES} WHERE key = ? AND until > ? AND until <= ?"
    if connection.execute(held, (key, now, latest)).fetchone():
        return Lease.REFUSED
    connection.execute(f"INSERT OR REPLACE INTO {LEASES} VALUES (?, ?, ?)", (key, owner, now + ttl_s))
    return Lease.GRANTED_LATE if stored(connection, table, [key]) else Lease.GRANTED


def renew(connection: sqlite3.Connection, key: Key, owner: bytes, ttl_s: float) -> bool:
    """Extend the lease on *key* to *ttl_s* seconds from now; False if *owner* no longer holds it."""
    sql = f"UPDATE {LEASES} SET until = ? WHERE key = ? AND owner = ?"
    return connection.execute(sql, (time.time() + ttl_s, key, owner)).rowcount == 1


def release(connection: sqlite3.Connection, keys: Sequence[Key], owner: bytes) -> None:
    """Release those leases on *keys* that *owner* still holds."""
    for_keys(connection, f"DELETE FROM {LEASES} WHERE owner = ? AND key IN ", keys, owner)


def drop_dead(connection: sqlite3.Connection) -> None:
    """Delete the expired leases of processes that died."""
    connection.execute(f"DELETE FROM {LEASES} WHERE until <= ?", (time.time(),))
