"""What a writing connection does within its transactions: one function per job, run on the connection's thread."""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp_cache_di.backends.sqlite.schema import DELETIONS, EXPIRED, KEPT_DELETIONS, LEASES, MAX_BATCH, Key, Table
from aiohttp_cache_di.backends.storage import Lease

__all__ = [
    "Claim",
    "Deletion",
    "Row",
    "acquire",
    "delete_keys",
    "drop_expired",
    "drop_rows",
    "drop_upto",
    "put_all",
    "release",
]

Row = tuple[Key, int | None, int, bytes]
"""Key, POSIX millisecond after which it may be dropped (None for never) and that of its last use, frame."""

LeaseOf: TypeAlias = "tuple[Key, bytes]"
"""A key and who holds the lease on it."""

ROWS_AT_ONCE: Final = 32  # per statement that inserts
CHUNK_ROWS: Final = 500  # deleted in one transaction: some ten milliseconds, after which others may write
AT_ONCE_PAGES: Final = 150_000  # a table of this size is emptied at once, in some hundred milliseconds


class Claim(NamedTuple):
    """A lease that is asked for, and the tables in which something may be stored under its key by now."""

    key: Key
    owner: bytes
    ttl_s: float
    tables: Sequence[Table]


class Deletion(NamedTuple):
    """Rows that are gone: which, and their place in the list of deletions that other processes read."""

    rows: list[tuple[int, Key]]
    first_n: int
    last_n: int


def put_all(connection: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> int:
    """Write *rows*; return the id of the last, the others having those just below it."""
    return _insert(connection, table.put, rows)


def delete_keys(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> Deletion:
    """Delete the rows of *keys* and list them as deleted."""
    rows: list[tuple[int, Key]] = _for_keys(connection, f"SELECT id, key FROM {table.sql} WHERE key IN ", keys)
    return drop_rows(connection, table, rows)


def drop_rows(connection: sqlite3.Connection, table: Table, rows: list[tuple[int, Key]]) -> Deletion:
    """Delete *rows*, ids and keys, and list them as deleted."""
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

    Not each is listed as deleted: whoever still has one in memory knows when it expires. Who has never seen the newest
    may have in memory what it replaced.
    """
    rows = connection.execute(table.expired, (int(now * 1000), CHUNK_ROWS)).fetchall()
    if rows:
        connection.execute(table.remove_expired, (int(now * 1000), CHUNK_ROWS))
        _list_deleted(connection, table, [(EXPIRED, max(row[0] for row in rows))])
    return rows


def acquire(connection: sqlite3.Connection, claims: Sequence[Claim], now: float) -> list[Lease]:
    """Take the leases that nobody holds; of two claims to one key the first succeeds."""
    keys = list(dict.fromkeys(claim.key for claim in claims))
    latest = now + max(60.0, *(10 * claim.ttl_s for claim in claims))  # one that ends later is from a wrong clock
    held = f"SELECT key FROM {LEASES} WHERE until > ? AND until <= ? AND key IN "
    taken = {key for (key,) in _for_keys(connection, held, keys, now, latest)}
    granted: dict[Key, Claim] = {}
    for claim in claims:
        if claim.key not in taken:
            granted.setdefault(claim.key, claim)
    leases = [(claim.key, claim.owner, now + claim.ttl_s) for claim in granted.values()]
    _insert(connection, f"INSERT OR REPLACE INTO {LEASES} VALUES ", leases)
    stored: set[Key] = set()
    for table in dict.fromkeys(table for claim in granted.values() for table in claim.tables):
        stored |= {key for (key,) in _for_keys(connection, table.which, list(granted))}
    return [
        (Lease.GRANTED_LATE if claim.key in stored else Lease.GRANTED)
        if granted.get(claim.key) is claim
        else Lease.REFUSED
        for claim in claims
    ]


def release(connection: sqlite3.Connection, leases: Iterable[LeaseOf]) -> None:
    """Give *leases* back, those of them that are still their owner's."""
    by_owner: dict[bytes, list[Key]] = {}
    for key, owner in leases:
        by_owner.setdefault(owner, []).append(key)
    for owner, keys in by_owner.items():
        _for_keys(connection, f"DELETE FROM {LEASES} WHERE owner = ? AND key IN ", keys, owner)


def drop_dead_leases(connection: sqlite3.Connection, now: float) -> None:
    """Delete the leases whose holders did not live to give them back."""
    connection.execute(f"DELETE FROM {LEASES} WHERE until <= ?", (now,))


# One statement for many rows: after each one, the thread has to wait for the interpreter's lock.


def _insert(connection: sqlite3.Connection, sql: str, rows: Sequence[Sequence[object]]) -> int:
    """Run *sql*, which ends in ``VALUES``, for *rows*; return the id of the last."""
    last: int | None = None
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        marks = f"({', '.join('?' * len(some[0]))})"
        values = [value for row in some for value in row]
        last = connection.execute(sql + ", ".join([marks] * len(some)), values).lastrowid
    return last or 0


def _for_keys(connection: sqlite3.Connection, sql: str, keys: Sequence[Key], *before: object) -> list[Any]:
    """Run *sql*, which ends in ``key IN`` after marks for *before*, for *keys*; return the rows that it gives."""
    rows: list[Any] = []
    for start in range(0, len(keys), MAX_BATCH):
        some = keys[start : start + MAX_BATCH]
        rows += connection.execute(f"{sql}({', '.join('?' * len(some))})", (*before, *some))
    return rows


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
