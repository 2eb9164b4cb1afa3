"""What a writing connection does within its transactions: one function per job, run on the connection's thread."""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from aiohttp_cache_di.backends.sqlite_schema import DELETIONS, KEPT_DELETIONS, LEASES, MAX_BATCH, Key, Table

__all__ = ["Deletion", "Row", "acquire", "delete_keys", "drop_expired", "drop_upto", "put_all", "release"]

Row = tuple[Key, int | None, int, bytes]
"""Key, POSIX millisecond after which it may be dropped (None for never) and that of its last use, frame."""

LeaseOf: TypeAlias = "tuple[Key, bytes]"
"""A key and who holds the lease on it."""

PUTS_AT_ONCE: Final = 32  # rows per statement
CHUNK_ROWS: Final = 500  # deleted in one transaction: some ten milliseconds, after which others may write
AT_ONCE_PAGES: Final = 150_000  # a table of this size is emptied at once, in some hundred milliseconds


class Deletion(NamedTuple):
    """Rows that are gone: which, and their place in the list of deletions that other processes read."""

    rows: list[tuple[int, Key]]
    first_n: int
    last_n: int


def put_all(connection: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> int:
    """Write *rows*; return the id of the last, the others having those just below it."""
    last: int | None = None
    for start in range(0, len(rows), PUTS_AT_ONCE):
        some = rows[start : start + PUTS_AT_ONCE]
        # One statement for all of them: after each one, the thread has to wait for the interpreter's lock.
        marks = ", ".join(["(?, ?, ?, ?)"] * len(some))
        last = connection.execute(table.put + marks, [value for row in some for value in row]).lastrowid
    return last or 0


def delete_keys(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> Deletion:
    """Delete the rows of *keys* and list them as deleted."""
    rows: list[tuple[int, Key]] = []
    for start in range(0, len(keys), MAX_BATCH):
        chunk = keys[start : start + MAX_BATCH]
        marks = ", ".join("?" * len(chunk))
        rows += connection.execute(f"SELECT id, key FROM {table.sql} WHERE key IN ({marks})", chunk)
    connection.executemany(table.remove, [(row[0],) for row in rows])
    if len(rows) <= KEPT_DELETIONS // 4:
        first, last = _list_deleted(connection, table, [(key, row_id) for row_id, key in rows])
    else:
        first, last = _list_deleted(connection, table, [(None, max(row[0] for row in rows))])
    return Deletion(rows, first, last)


def last_id(connection: sqlite3.Connection, table: Table) -> int:
    """The highest id in use, 0 for none."""
    found: int | None = connection.execute(table.last_id).fetchone()[0]
    return found or 0


def begin_clear(connection: sqlite3.Connection, table: Table) -> tuple[int, Deletion]:
    """List everything as deleted that has been written so far; return the id up to which `drop_upto` must go.

    SQLite empties a whole table thirty times faster than it deletes its rows, but nobody else can write meanwhile.
    """
    bound = last_id(connection, table)
    if connection.execute("PRAGMA page_count").fetchone()[0] <= AT_ONCE_PAGES:
        connection.execute(table.empty)
    return bound, Deletion([], *_list_deleted(connection, table, [(None, bound)]))


def drop_upto(connection: sqlite3.Connection, table: Table, bound: int) -> int:
    """Delete some of the rows up to the id *bound*; return how many."""
    rows = connection.execute(table.upto, (bound, CHUNK_ROWS)).fetchall()
    if rows:
        connection.execute(table.remove_upto, rows[-1])
    return len(rows)


def drop_expired(connection: sqlite3.Connection, table: Table, now: float) -> list[tuple[int, Key]]:
    """Delete some of the rows that may be dropped at *now*; return their ids and keys.

    Not listed as deleted: whoever still has one in memory knows when it expires.
    """
    rows = connection.execute(table.expired, (int(now * 1000), CHUNK_ROWS)).fetchall()
    if rows:
        connection.execute(table.remove_expired, (int(now * 1000), CHUNK_ROWS))
    return rows


def acquire(connection: sqlite3.Connection, key: Key, owner: bytes, now: float, ttl_s: float) -> bool:
    """Take the lease on *key* unless another holds it; one that ends later than any could is from a wrong clock."""
    cursor = connection.execute(
        f"INSERT INTO {LEASES} VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
        "SET owner = excluded.owner, until = excluded.until WHERE until <= ? OR until > ?",
        (key, owner, now + ttl_s, now, now + max(60.0, 10 * ttl_s)),
    )
    return cursor.rowcount > 0


def is_there(connection: sqlite3.Connection, tables: Sequence[Table], key: Key) -> bool:
    """Whether one of *tables* has *key*."""
    sql = " UNION ALL ".join(table.has for table in tables)
    return connection.execute(sql, (key,) * len(tables)).fetchone() is not None


def release(connection: sqlite3.Connection, leases: Sequence[LeaseOf]) -> None:
    """Give *leases* back, those of them that are still their owner's."""
    if leases:
        connection.executemany(f"DELETE FROM {LEASES} WHERE key = ? AND owner = ?", leases)


def drop_dead_leases(connection: sqlite3.Connection, now: float) -> None:
    """Delete the leases whose holders did not live to give them back."""
    connection.execute(f"DELETE FROM {LEASES} WHERE until <= ?", (now,))


def _list_deleted(
    connection: sqlite3.Connection, table: Table, entries: Sequence[tuple[Key | None, int]]
) -> tuple[int, int]:
    if not entries:
        return 0, -1
    connection.executemany(
        f"INSERT INTO {DELETIONS} (cache, key, id) VALUES (?, ?, ?)",
        [(table.name, key, row_id) for key, row_id in entries],
    )
    last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
    connection.execute(f"DELETE FROM {DELETIONS} WHERE n <= ?", (last - KEPT_DELETIONS,))
    return last - len(entries) + 1, last
