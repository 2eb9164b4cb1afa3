"""The statements on the rows of a table, in the connection's thread: one function for each job."""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from aiohttp_cache_di.backends.sqlite.file.schema import MAX_BATCH, Key, Table
from aiohttp_cache_di.backends.store import AFTER_MARKS, MARK_PREFIX

__all__ = [
    "IS_MARK",
    "PutRow",
    "begin_clear",
    "count_shown",
    "delete_keys",
    "drop_expired",
    "drop_rows",
    "drop_upto",
    "expired",
    "for_keys",
    "kinds",
    "put_all",
    "stored",
]

IS_MARK: Final = f"(key >= '{MARK_PREFIX}' AND key < '{AFTER_MARKS}')"
"""A condition: the row is the record of a purge."""

PutRow = tuple[Key, int | None, int, bool, bytes | None, bytes, bytes | None]
"""Key, expiry in POSIX milliseconds (None for never), last use in POSIX microseconds, whether it leads on, its info
unless the frame serves as such, frame, and body unless it is in the frame."""
ROWS_AT_ONCE: Final = 32  # rows per INSERT: after each statement the thread waits for the interpreter's lock
CHUNK_ROWS: Final = 500  # deleted in one transaction of about ten milliseconds, so that others can write in between
AT_ONCE_PAGES: Final = 150_000  # a file up to this size is emptied at once, in some hundred milliseconds
_PUT_MARKS: Final = "(?, ?, ?, ?, ?, ?, ?)"


def kinds(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> dict[Key, bool]:
    """For those of *keys* that are stored, whether they lead on."""
    rows = for_keys(connection, f"SELECT key, leads_on FROM {table.sql} WHERE key IN ", keys)
    return {key: bool(leads_on) for key, leads_on in rows}


def count_shown(connection: sqlite3.Connection, table: Table, *, leads_on: bool | None = None) -> int:
    """Count the rows that users see: all (None), those that lead on (True), or those that do not (False)."""
    total = f"(SELECT count(*) FROM {table.sql})"
    leading = f"{total[:-1]} WHERE leads_on)"
    marks = f"{total[:-1]} WHERE {IS_MARK})"  # by the index over keys
    wanted = leading if leads_on else f"{total} - {marks}{'' if leads_on is None else f' - {leading}'}"
    number: int = connection.execute(f"SELECT {wanted}").fetchone()[0]
    return number


def stored(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> set[Key]:
    """Those of *keys* that are stored."""
    return {key for (key,) in for_keys(connection, f"SELECT key FROM {table.sql} WHERE key IN ", keys)}


def put_all(connection: sqlite3.Connection, table: Table, rows: Sequence[PutRow]) -> None:
    """Write *rows*."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        values = [value for row in some for value in row]
        connection.execute(table.put + ", ".join([_PUT_MARKS] * len(some)), values)


def delete_keys(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> None:
    """Delete the rows of *keys*."""
    for_keys(connection, f"DELETE FROM {table.sql} WHERE key IN ", keys)


def drop_rows(connection: sqlite3.Connection, table: Table, ids: Sequence[int]) -> None:
    """Delete the rows of *ids*."""
    for_keys(connection, f"DELETE FROM {table.sql} WHERE id IN ", ids)


def begin_clear(connection: sqlite3.Connection, table: Table) -> int:
    """Begin to delete all rows that are there now; return the largest id up to which `drop_upto` has to delete.

    The table of a file that is not too large is emptied here: without a trigger SQLite does that thirty times faster
    than it deletes row by row, but no other process can write meanwhile.
    """
    bound: int | None = connection.execute(f"SELECT max(id) FROM {table.sql}").fetchone()[0]
    if connection.execute("PRAGMA page_count").fetchone()[0] <= AT_ONCE_PAGES:
        connection.execute(table.watch_no_deletions)
        connection.execute(f"DELETE FROM {table.sql}")
        connection.execute(table.watch_deletions)
    return bound or 0


def drop_upto(connection: sqlite3.Connection, table: Table, bound: int) -> int:
    """Delete up to `CHUNK_ROWS` rows with ids up to *bound*, records of purges if no other is left; return how many."""
    # In the order of an index each, so that no row is passed over twice: marks are used last.
    for wanted, order in ((f"NOT {IS_MARK}", "used"), (IS_MARK, "key")):
        sql = f"SELECT id FROM {table.sql} WHERE id <= ? AND {wanted} ORDER BY {order} LIMIT ?"
        ids = [row_id for (row_id,) in connection.execute(sql, (bound, CHUNK_ROWS))]
        if ids:
            drop_rows(connection, table, ids)
            return len(ids)
    return 0


def expired(connection: sqlite3.Connection, table: Table, now: float, most: int) -> list[tuple[int, Key]]:
    """Ids and keys of rows that have expired at *now*, the earliest first."""
    sql = f"SELECT id, key FROM {table.sql} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?"
    return connection.execute(sql, (int(now * 1000), most)).fetchall()


def drop_expired(connection: sqlite3.Connection, table: Table, now: float) -> list[Key]:
    """Delete up to `CHUNK_ROWS` rows that have expired at *now*; return their keys."""
    rows = expired(connection, table, now, CHUNK_ROWS)
    drop_rows(connection, table, [row_id for row_id, _ in rows])
    return [key for _, key in rows]


def for_keys(connection: sqlite3.Connection, sql: str, keys: Sequence[Key | int], *before: object) -> list[Any]:
    """Run *sql*, which has placeholders for *before* and ends in ``IN``, for batches of *keys*; return all rows."""
    rows: list[Any] = []
    for start in range(0, len(keys), MAX_BATCH):
        some = keys[start : start + MAX_BATCH]
        rows += connection.execute(f"{sql}({', '.join('?' * len(some))})", (*before, *some))
    return rows
