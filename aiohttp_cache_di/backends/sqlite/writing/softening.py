"""Marks of rows whose responses are stale, in a table beside them: no body is read, and no frame is written anew.

A mark names the id of a row. A row that is written later has another id, so that it is fresh again, and ids are never
used twice, so that a mark which is left over concerns nothing. The row of the generation has the largest id that any
mark names, and rows with a larger one are not looked up among the marks.

A mark is not signed. Who can write the file can drop an entry, which is more than a mark does, or put an earlier
one back, which is what dropping a mark does. No mark makes anything fresher than its own frame says.
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
from aiohttp_cache_di.entries.codec import HEAD_BYTES, Item, Unreadable, is_opaque
from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["drop_idle_marks", "marks_between", "soften", "softened", "softened_info"]


def soften(transaction: Transaction, keys: Sequence[Key], at: float) -> list[str]:
    """Have the responses under *keys* fresh until *at* (POSIX time) at most.

    Returns:
        The keys under which there is what only its user can read.
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
    """*item* of a row that has that *mark*; it is not shared yet."""
    if isinstance(item, StoredResponse):
        force_setattr(item, "fresh_until", min(item.fresh_until, _time_of(mark)))
    return item


def softened_info(info: EntryInfo, mark: Any) -> EntryInfo:
    """What is told of a row that has that *mark*."""
    return replace(info, fresh_until=min(info.fresh_until, _time_of(mark)))


def marks_between(connection: sqlite3.Connection, table: Table, after: int, last: int) -> dict[int, Any]:
    """The marks of the rows whose ids follow *after*, up to *last*."""
    sql = f"SELECT row, at FROM {table.marks} WHERE row > ? AND row <= ?"
    return dict(connection.execute(sql, (after, last)))


def drop_idle_marks(transaction: Transaction) -> None:
    """Drop the marks of rows that are gone; some hundred thousand take some ten milliseconds."""
    table = transaction.table
    transaction.connection.execute(f"DELETE FROM {table.marks} WHERE row NOT IN (SELECT id FROM {table.sql})")


def _time_of(mark: object) -> float:
    """The time in *mark*; of what is none of ours, one that is long over."""
    return mark if type(mark) is float and mark >= 0.0 else 0.0
