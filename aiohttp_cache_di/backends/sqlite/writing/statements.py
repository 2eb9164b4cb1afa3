"""What a connection does within a transaction: one function per job, run on the connection's thread."""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp_cache_di.backends.sqlite.file.schema import LEASES, MAX_BATCH, Key, Table
from aiohttp_cache_di.backends.store import Lease

__all__ = [
    "Claim",
    "LeaseOf",
    "acquire",
    "begin_clear",
    "delete_keys",
    "drop_dead_leases",
    "drop_expired",
    "drop_rows",
    "drop_upto",
    "for_keys",
    "put_all",
    "release",
    "renew",
    "stored",
]

PutRow = tuple[Key, int | None, int, bool, bytes | None, bytes, bytes | None]
"""Key, POSIX millisecond after which it may be dropped (None for never), microsecond of its last use, whether it leads
on, what can be told of it if the frame does not say, frame, body if that is apart."""

LeaseOf: TypeAlias = "tuple[Key, bytes]"
"""A key and who holds the lease on it."""

ROWS_AT_ONCE: Final = 32  # per statement that inserts
CHUNK_ROWS: Final = 500  # deleted in one transaction: some ten milliseconds, after which others may write
AT_ONCE_PAGES: Final = 150_000  # a table of this size is emptied at once, in some hundred milliseconds


class Claim(NamedTuple):
    """A lease that is asked for."""

    key: Key
    owner: bytes
    ttl_s: float


def kinds(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> dict[Key, bool]:
    """Whether those of *keys* that there are lead on."""
    return {key: bool(leads_on) for key, leads_on in for_keys(connection, table.kinds_of, keys)}


def stored(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> set[Key]:
    """Those of *keys* that there are."""
    return {key for (key,) in for_keys(connection, table.which, keys)}


def put_all(connection: sqlite3.Connection, table: Table, rows: Sequence[PutRow]) -> None:
    """Write *rows*."""
    _insert(connection, table.put, rows)


def delete_keys(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> None:
    """Delete the rows of *keys*."""
    for_keys(connection, table.remove_keys, keys)


def drop_rows(connection: sqlite3.Connection, table: Table, ids: Sequence[int]) -> None:
    """Delete the rows of *ids*."""
    for_keys(connection, table.remove_ids, ids)


def begin_clear(connection: sqlite3.Connection, table: Table) -> int:
    """Begin to delete what has been written so far; return the id up to which `drop_upto` must go.

    SQLite empties a whole table thirty times faster than it deletes its rows, if no trigger looks at them; but no other
    process can write meanwhile.
    """
    bound: int | None = connection.execute(table.last_id).fetchone()[0]
    if connection.execute("PRAGMA page_count").fetchone()[0] <= AT_ONCE_PAGES:
        connection.execute(table.watch_no_deletions)
        connection.execute(table.empty)
        connection.execute(table.watch_deletions)
    return bound or 0


def drop_upto(connection: sqlite3.Connection, table: Table, bound: int) -> int:
    """Delete some of the rows up to the id *bound*; return how many."""
    rows = connection.execute(table.upto, (bound, CHUNK_ROWS)).fetchall()
    if rows:
        connection.execute(table.remove_upto, rows[-1])
    return len(rows)


def drop_expired(connection: sqlite3.Connection, table: Table, now: float) -> list[Key]:
    """Delete some of the rows that may be dropped at *now*; return their keys."""
    which = (int(now * 1000), CHUNK_ROWS)
    rows = connection.execute(table.expired, which).fetchall()
    if rows:
        connection.execute(table.remove_expired, which)
    return [key for _, key in rows]


def acquire(connection: sqlite3.Connection, table: Table, claims: Sequence[Claim], now: float) -> list[Lease]:
    """Take the leases that are free; of two claims to one key the first succeeds."""
    keys = list(dict.fromkeys(claim.key for claim in claims))
    latest = now + max(60.0, *(10 * claim.ttl_s for claim in claims))  # one that ends later is from a wrong clock
    held = f"SELECT key FROM {LEASES} WHERE until > ? AND until <= ? AND key IN "
    taken = {key for (key,) in for_keys(connection, held, keys, now, latest)}
    granted: dict[Key, Claim] = {}
    for claim in claims:
        if claim.key not in taken:
            granted.setdefault(claim.key, claim)
    leases = [(claim.key, claim.owner, now + claim.ttl_s) for claim in granted.values()]
    _insert(connection, f"INSERT OR REPLACE INTO {LEASES} VALUES ", leases)
    there = stored(connection, table, list(granted))
    return [
        (Lease.GRANTED_LATE if claim.key in there else Lease.GRANTED)
        if granted.get(claim.key) is claim
        else Lease.REFUSED
        for claim in claims
    ]


def renew(connection: sqlite3.Connection, lease: LeaseOf, until: float) -> bool:
    """Let *lease* hold until then (POSIX time), if it is still its owner's."""
    found = connection.execute(f"UPDATE {LEASES} SET until = ? WHERE key = ? AND owner = ?", (until, *lease))
    return found.rowcount == 1


def release(connection: sqlite3.Connection, leases: Iterable[LeaseOf]) -> None:
    """Give *leases* back, those of them that are still their owner's."""
    by_owner: dict[bytes, list[Key]] = {}
    for key, owner in leases:
        by_owner.setdefault(owner, []).append(key)
    for owner, keys in by_owner.items():
        for_keys(connection, f"DELETE FROM {LEASES} WHERE owner = ? AND key IN ", keys, owner)


def drop_dead_leases(connection: sqlite3.Connection, now: float) -> None:
    """Delete the leases whose holders did not live to give them back."""
    connection.execute(f"DELETE FROM {LEASES} WHERE until <= ?", (now,))


# One statement for many rows: after each one, the thread has to wait for the interpreter's lock.


def _insert(connection: sqlite3.Connection, sql: str, rows: Sequence[Sequence[object]]) -> None:
    """Run *sql*, which ends in ``VALUES``, for *rows*."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        marks = f"({', '.join('?' * len(some[0]))})"
        values = [value for row in some for value in row]
        connection.execute(sql + ", ".join([marks] * len(some)), values)


def for_keys(connection: sqlite3.Connection, sql: str, keys: Sequence[Key | int], *before: object) -> list[Any]:
    """Run *sql*, which ends in ``key IN`` after marks for *before*, for *keys*; return the rows that it gives."""
    rows: list[Any] = []
    for start in range(0, len(keys), MAX_BATCH):
        some = keys[start : start + MAX_BATCH]
        rows += connection.execute(f"{sql}({', '.join('?' * len(some))})", (*before, *some))
    return rows
