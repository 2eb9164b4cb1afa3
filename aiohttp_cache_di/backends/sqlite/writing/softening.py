"""Cutoffs make responses stale, in a table beside them, so that no body is read and no frame is rewritten.

A *cutoff* has the id of a row and a time after which the row's response is stale. A row that is written later has
another id, so it has none; ids are never reused, so cutoffs of deleted rows do no harm. The generation's row has the
largest id that any cutoff has (``softened``), and rows with larger ids are read without a look for one.

Cutoffs are not signed. A program that can write the file can delete an entry, which is worse than a cutoff, or restore
an earlier entry, which is the same as deleting one. No cutoff makes a response fresher than its own frame says.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import force_setattr, replace

from aiohttp_cache_di.backends.sqlite.file.schema import GENERATION, Key, Table, unpack_key
from aiohttp_cache_di.backends.sqlite.writing.statements import for_keys
from aiohttp_cache_di.backends.sqlite.writing.writes import Transaction
from aiohttp_cache_di.entries.codec import HEAD_BYTES, is_opaque
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.entries.items import Item, Unreadable
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["cutoffs_between", "drop_idle_cutoffs", "soften", "softened", "softened_info"]


def soften(transaction: Transaction, keys: Sequence[Key], at: float) -> list[str]:
    """Make the responses under *keys* stale from *at* (POSIX time), if they are not stale earlier.

    Returns:
        The keys whose items were written with a user's serializer, and so cannot be softened.
    """
    connection, table = transaction.connection, transaction.table
    largest = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    heads = f"SELECT id, key, CASE WHEN length(frame) <= ? THEN substr(frame, 1, ?) END FROM {table.sql} WHERE key IN "
    rows = for_keys(connection, heads, keys, largest, HEAD_BYTES)
    meant = [row for row in rows if not is_opaque(row[2])]
    if meant:
        transaction.changing().invalidate([unpack_key(key) for _, key, _ in meant])
        cutoff = f"INSERT INTO {table.cutoffs} VALUES (?, ?) ON CONFLICT (row) DO UPDATE SET at = min(at, excluded.at)"
        connection.executemany(cutoff, [(row_id, at) for row_id, _, _ in meant])
        last = max(row_id for row_id, _, _ in meant)
        connection.execute(f"UPDATE {GENERATION} SET softened = max(softened, ?)", (last,))
    return [unpack_key(key) for _, key, head in rows if is_opaque(head)]


def softened(item: Item | Unreadable, cutoff: Any) -> Item | Unreadable:
    """Apply the *cutoff* of its row to *item*, in place: nothing else refers to it yet."""
    if isinstance(item, StoredResponse):
        force_setattr(item, "fresh_until", min(item.fresh_until, _time_of(cutoff)))
    return item


def softened_info(info: EntryInfo, cutoff: Any) -> EntryInfo:
    """A copy of *info* with the *cutoff* of its row applied."""
    return replace(info, fresh_until=min(info.fresh_until, _time_of(cutoff)))


def cutoffs_between(connection: sqlite3.Connection, table: Table, after: int, last: int) -> dict[int, Any]:
    """The cutoffs of the rows whose ids follow *after*, up to *last*."""
    sql = f"SELECT row, at FROM {table.cutoffs} WHERE row > ? AND row <= ?"
    return dict(connection.execute(sql, (after, last)))


def drop_idle_cutoffs(transaction: Transaction) -> None:
    """Delete the cutoffs of rows that are gone; a hundred thousand take about ten milliseconds."""
    table = transaction.table
    transaction.connection.execute(f"DELETE FROM {table.cutoffs} WHERE row NOT IN (SELECT id FROM {table.sql})")


def _time_of(cutoff: object) -> float:
    """The time in *cutoff*; long ago if it is not one of ours."""
    return cutoff if type(cutoff) is float and cutoff >= 0.0 else 0.0
