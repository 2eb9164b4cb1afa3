"""Iterating over a table, a page at a time: the jobs for one page, in the reader's thread."""

# ruff: noqa: S608  # table names cannot be parameters; ours are quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp_cache_di.backends.sqlite.file.schema import Key, Table, unpack_key
from aiohttp_cache_di.backends.sqlite.writing.softening import cutoffs_between, softened, softened_info
from aiohttp_cache_di.backends.store import Item, Row, Unreadable
from aiohttp_cache_di.backends.store.inspecting import MAX_INFO_BYTES, Clue, InfoRow, Selection, Wanted
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.entries.outline import outline_apart

__all__ = ["Page", "infos_page", "items_page", "keys_page", "told_of"]

KEYS_PER_PAGE: Final = 1000
ITEMS_PER_PAGE: Final = 64
INFOS_PER_PAGE: Final = 128  # takes about a millisecond, for which the loop may wait for the interpreter's lock
PASSED_PER_PAGE: Final = 512  # rows that SQLite filters by itself in about the same time
MAX_TEXTS: Final = 16  # texts of one clue that SQLite is asked to look for
MAX_HEAD_BYTES: Final = 16 * 1024  # largest frame that serves as info
WALKED_BYTES: Final = 2 * 1024 * 1024  # size of items at which a page ends

_TOLD: Final = "told"
_SMALL: Final = "CAST(lower(told) AS BLOB)"

Page = tuple[list[Row], Key | None]
"""Rows, and the key after which the next page begins; None after the last page."""


def keys_page(connection: sqlite3.Connection, table: Table, after: Key | None) -> Page:
    """A page of keys that follow *after*; None for the first page."""
    which, follow = _following(after)
    sql = f"SELECT key, leads_on FROM {table.sql}{which} ORDER BY key LIMIT ?"
    rows = connection.execute(sql, (*follow, KEYS_PER_PAGE)).fetchall()
    last = rows[-1][0] if len(rows) == KEYS_PER_PAGE else None
    return [Row(unpack_key(key), bool(leads_on)) for key, leads_on in rows], last


def items_page(
    connection: sqlite3.Connection,
    table: Table,
    after: Key | None,
    decode: Callable[[Any, str, Any], Item | Unreadable],
) -> Page:
    """A page of rows with their items that follow *after*; None for the first page."""
    largest = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    frame, body = (f"CASE WHEN length({each}) <= ? THEN {each} END" for each in ("frame", "body"))
    which, follow = _following(after)
    sql = f"SELECT key, leads_on, {frame}, {body}, {table.any_cutoff} FROM {table.sql}{which} ORDER BY key"
    cursor = connection.execute(sql, (largest, largest, *follow))
    rows: list[Row] = []
    weight = 0
    last: Key | None = None
    for column, leads_on, frame, body, cutoff in cursor:
        key = unpack_key(column)
        item = decode(frame, key, body)
        rows.append(Row(key, bool(leads_on), item if cutoff is None else softened(item, cutoff)))
        weight += sum(len(each) for each in (frame, body) if isinstance(each, bytes))
        if weight > WALKED_BYTES or len(rows) >= ITEMS_PER_PAGE:
            last = column
            break
    cursor.close()  # ends the snapshot, which would block a checkpoint of the log
    connection.execute("PRAGMA shrink_memory")  # the pages of a walk are not worth caching
    return rows, last


def _following(after: Key | None) -> tuple[str, tuple[Key, ...]]:
    """The WHERE clause, and its arguments, for the rows that follow *after*; None for all rows."""
    return ("", ()) if after is None else (" WHERE key > ?", (after,))


def told_of(table: Table) -> str:
    """The SELECT for infos: id, key, ``told`` (the info or a frame) and, if that is a frame, the body's length."""
    info = f"CASE WHEN length(info) <= {MAX_INFO_BYTES} THEN info END"
    few = f"CASE WHEN length(frame) <= {MAX_HEAD_BYTES} THEN frame END"
    told = f"CASE WHEN info IS NULL AND typeof(body) = 'blob' THEN {few} ELSE {info} END"
    return f"SELECT id, key, {told} AS told, CASE WHEN info IS NULL THEN length(body) END AS bytes FROM {table.sql}"


def infos_page(
    connection: sqlite3.Connection, table: Table, after: int, wanted: Wanted
) -> tuple[list[InfoRow], int | None]:
    """A page of infos of rows whose ids follow *after*, if they are *wanted* or have no readable info.

    Returns:
        The infos, and the id after which the next page begins; None after the last page. Bodies are not read.
    """
    test, clues = (wanted.test, _usable(wanted.clues, connection)) if isinstance(wanted, Selection) else (wanted, [])
    if clues:
        rows, last = _rows_like(connection, table, after, clues)
    else:
        sql = f"{told_of(table)} WHERE id > ? ORDER BY id LIMIT ?"
        rows = connection.execute(sql, (after, INFOS_PER_PAGE)).fetchall()
        last = rows[-1][0] if len(rows) == INFOS_PER_PAGE else None
    cutoffs = cutoffs_between(connection, table, rows[0][0] - 1, rows[-1][0]) if rows else {}
    found: list[InfoRow] = []
    for row_id, column, told, body_bytes in rows:
        key = unpack_key(column)
        info = unpack_info(told, key) if body_bytes is None else outline_apart(told, body_bytes, key)
        if row_id in cutoffs and info is not None:
            info = softened_info(info, cutoffs[row_id])
        if info is None or test(info):
            found.append(InfoRow(key, info))
    return found, last


def _usable(clues: Sequence[Clue], connection: sqlite3.Connection) -> list[Clue]:
    """The clues that SQLite can look for."""
    few = [clue for clue in clues if len(clue.texts) <= MAX_TEXTS]
    # lower() takes bytes for text in the encoding of the file, which another program may have chosen.
    if any(clue.any_case for clue in few) and connection.execute("PRAGMA encoding").fetchone() != ("UTF-8",):
        return [clue for clue in few if not clue.any_case]
    return few


def _rows_like(
    connection: sqlite3.Connection, table: Table, after: int, clues: Sequence[Clue]
) -> tuple[list[tuple[int, Any, Any, Any]], int | None]:
    """The rows whose ids follow *after* and that match *clues*, and the last id that was examined; None at the end."""
    span = f"SELECT max(id), count(*) FROM (SELECT id FROM {table.sql} WHERE id > ? ORDER BY id LIMIT ?)"
    bound, count = connection.execute(span, (after, PASSED_PER_PAGE)).fetchone()
    fits = " AND ".join(
        f"({' OR '.join([f'instr({_SMALL if clue.any_case else _TOLD}, ?)'] * len(clue.texts))})" for clue in clues
    )
    texts = [text for clue in clues for text in clue.texts]
    # A row without an info matches all clues.
    which = f"typeof(told) <> 'blob' OR {fits}"
    sql = (
        f"SELECT * FROM ({told_of(table)} WHERE id > ? AND id <= ?) WHERE ({which}) ORDER BY id LIMIT {INFOS_PER_PAGE}"
    )
    rows = connection.execute(sql, (after, bound, *texts)).fetchall()
    if len(rows) == INFOS_PER_PAGE:
        return rows, rows[-1][0]
    return rows, bound if count == PASSED_PER_PAGE else None
