"""Marks that make responses stale, in a table beside them, so that no body is read and no frame is rewritten.

A mark has the id of a row and a time after which the row's response is stale. A row that is written later has another
id, so it is not marked; ids are never reused, so marks of deleted rows do no harm. The generation's row has the largest
id that any mark has, and rows with larger ids are read without a look at the marks.

Marks are not signed. A program that can write the file can delete an entry, which is worse than a mark, or restore an
earlier entry, which is the same as deleting a mark. No mark makes a response fresher than its own frame says.
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

__all__ = ["drop_idle_marks", "marks_between", "soften", "softened", "softened_info"]


def soften(transaction: Transaction, keys: Sequence[Key], at: float) -> list[str]:
    """Make the responses under *keys* stale from *at* (POSIX time), if they are not stale earlier.

    Returns:
        The keys whose items were written with a user's serializer, and so cannot be marked.
    """
    connection, table = transaction.connection, transaction.table
    largest = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    heads = f"SELECT id, key, CASE WHEN length(frame) <= ? THEN substr(frame, 1, ?) END FROM {table.sql} WHERE key IN "
    rows = for_keys(connection, heads, keys, largest, HEAD_BYTES)
    meant = [row for row in rows if not is_opaque(row[2])]
    if meant:
        transaction.changing().touch([unpack_key(key) for _, key, _ in meant])
        mark = f"INSERT INTO {table.marks} VALUES (?, ?) ON CONFLICT (row) DO UPDATE SET at = min(at, excluded.at)"
        connection.executemany(mark, [(row_id, at) for row_id, _, _ in meant])
        last = max(row_id for row_id, _, _ in meant)
        connection.execute(f"UPDATE {GENERATION} SET softened = max(softened, ?)", (last,))
    return [unpack_key(key) for _, key, head in rows if is_opaque(head)]


def softened(item: Item | Unreadable, mark: Any) -> Item | Unreadable:
    """Apply the *mark* of its row to *item*, in place: nothing else refers to it yet."""
    if isinstance(item, StoredResponse):
        force_setattr(item, "fresh_until", min(item.fresh_until, _time_of(mark)))
    return item


def softened_info(info: EntryInfo, mark: Any) -> EntryInfo:
    """A copy of *info* with the *mark* of its row applied."""
    return replace(info, fresh_until=min(info.fresh_until, _time_of(mark)))


def marks_between(connection: sqlite3.Connection, table: Table, after: int, last: int) -> dict[int, Any]:
    """The marks of the rows whose ids follow *after*, up to *last*."""
    sql = f"SELECT row, at FROM {table.marks} WHERE row > ? AND row <= ?"
    return dict(connection.execute(sql, (after, last)))


def drop_idle_marks(transaction: Transaction) -> None:
    """Delete the marks of rows that are gone; a hundred thousand take about ten milliseconds."""
    table = transaction.table
    transaction.connection.execute(f"DELETE FROM {table.marks} WHERE row NOT IN (SELECT id FROM {table.sql})")


def _time_of(mark: object) -> float:
    """The time in *mark*; long ago if it is not one of ours."""
    return mark if type(mark) is float and mark >= 0.0 else 0.0
