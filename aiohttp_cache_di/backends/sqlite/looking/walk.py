"""A walk over a table, a page at a time: what a reading connection does for one page, on the connection's thread."""

# ruff: noqa: S608  # table names cannot be parameters; ours are quoted in `Table`
from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp_cache_di.backends.sqlite.file.schema import Key, Table, unpack_key
from aiohttp_cache_di.backends.sqlite.writing.softening import marks_between, softened, softened_info
from aiohttp_cache_di.backends.store import Item, Row, Unreadable
from aiohttp_cache_di.backends.store.inspecting import MAX_INFO_BYTES, Clue, InfoRow, Selection, Wanted
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.entries.outline import outline_apart

__all__ = ["Page", "infos_page", "items_page", "keys_page", "told_of"]

KEYS_PER_PAGE: Final = 1000
ITEMS_PER_PAGE: Final = 64
INFOS_PER_PAGE: Final = 128  # about a millisecond, in which the loop may wait for the interpreter
PASSED_PER_PAGE: Final = 512  # rows that SQLite looks at by itself, which takes it about as long
MAX_TEXTS: Final = 16  # of a clue that is looked for
MAX_HEAD_BYTES: Final = 16 * 1024  # of a frame that is read to tell of its row
WALKED_BYTES: Final = 2 * 1024 * 1024  # of items; a page ends when it has this much

_TOLD: Final = "told"
_SMALL: Final = "CAST(lower(told) AS BLOB)"

Page = tuple[list[Row], Key | None]
"""Some rows, and the last key among them, after which the walk goes on; None when there is no more."""


def keys_page(connection: sqlite3.Connection, table: Table, after: Key | None) -> Page:
    """The keys that follow *after*, None for the first ones."""
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
    """The rows that follow *after*, None for the first ones, with their items."""
    largest = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    frame, body = (f"CASE WHEN length({each}) <= ? THEN {each} END" for each in ("frame", "body"))
    which, follow = _following(after)
    sql = f"SELECT key, leads_on, {frame}, {body}, {table.any_mark} FROM {table.sql}{which} ORDER BY key"
    cursor = connection.execute(sql, (largest, largest, *follow))
    rows: list[Row] = []
    weight = 0
    last: Key | None = None
    for column, leads_on, frame, body, mark in cursor:
        key = unpack_key(column)
        item = decode(frame, key, body)
        rows.append(Row(key, bool(leads_on), item if mark is None else softened(item, mark)))
        weight += sum(len(each) for each in (frame, body) if isinstance(each, bytes))
        if weight > WALKED_BYTES or len(rows) >= ITEMS_PER_PAGE:
            last = column
            break
    cursor.close()  # ends the snapshot, so that the log can be folded into the file
    connection.execute("PRAGMA shrink_memory")  # what a walk has seen is not what will be asked for
    return rows, last


def _following(after: Key | None) -> tuple[str, tuple[Key, ...]]:
    """What selects the rows that follow *after*, None for the first ones."""
    return ("", ()) if after is None else (" WHERE key > ?", (after,))


def told_of(table: Table) -> str:
    """What selects what is told of rows: id, key, ``told``, and the length of the body if ``told`` is the frame."""
    info = f"CASE WHEN length(info) <= {MAX_INFO_BYTES} THEN info END"
    few = f"CASE WHEN length(frame) <= {MAX_HEAD_BYTES} THEN frame END"
    told = f"CASE WHEN info IS NULL AND typeof(body) = 'blob' THEN {few} ELSE {info} END"
    return f"SELECT id, key, {told} AS told, CASE WHEN info IS NULL THEN length(body) END AS bytes FROM {table.sql}"


def infos_page(
    connection: sqlite3.Connection, table: Table, after: int, wanted: Wanted
) -> tuple[list[InfoRow], int | None]:
    """What is told of the rows whose ids follow *after*, of those that are *wanted* or of which nothing is known.

    Returns:
        With the last id that was looked at; None when there is no more. Bodies are not read.
    """
    test, clues = (wanted.test, _usable(wanted.clues, connection)) if isinstance(wanted, Selection) else (wanted, [])
    if clues:
        rows, last = _rows_like(connection, table, after, clues)
    else:
        sql = f"{told_of(table)} WHERE id > ? ORDER BY id LIMIT ?"
        rows = connection.execute(sql, (after, INFOS_PER_PAGE)).fetchall()
        last = rows[-1][0] if len(rows) == INFOS_PER_PAGE else None
    marks = marks_between(connection, table, rows[0][0] - 1, rows[-1][0]) if rows else {}
    found: list[InfoRow] = []
    for row_id, column, told, body_bytes in rows:
        key = unpack_key(column)
        info = unpack_info(told, key) if body_bytes is None else outline_apart(told, body_bytes, key)
        if row_id in marks and info is not None:
            info = softened_info(info, marks[row_id])
        if info is None or test(info):
            found.append(InfoRow(key, info))
    return found, last


def _usable(clues: Sequence[Clue], connection: sqlite3.Connection) -> list[Clue]:
    """The clues that SQLite can look for."""
    few = [clue for clue in clues if len(clue.texts) <= MAX_TEXTS]
    # To make small letters of bytes, SQLite takes them for text in the encoding of the file, which is not always ours.
    if any(clue.any_case for clue in few) and connection.execute("PRAGMA encoding").fetchone() != ("UTF-8",):
        return [clue for clue in few if not clue.any_case]
    return few


def _rows_like(
    connection: sqlite3.Connection, table: Table, after: int, clues: Sequence[Clue]
) -> tuple[list[tuple[int, Any, Any, Any]], int | None]:
    """The rows whose ids follow *after* which *clues* fit; with the last id that was looked at, None for the end."""
    span = f"SELECT max(id), count(*) FROM (SELECT id FROM {table.sql} WHERE id > ? ORDER BY id LIMIT ?)"
    bound, count = connection.execute(span, (after, PASSED_PER_PAGE)).fetchone()
    fits = " AND ".join(
        f"({' OR '.join([f'instr({_SMALL if clue.any_case else _TOLD}, ?)'] * len(clue.texts))})" for clue in clues
    )
    texts = [text for clue in clues for text in clue.texts]
    # A row that says nothing is found, whatever the clues say.
    which = f"typeof(told) <> 'blob' OR {fits}"
    sql = (
        f"SELECT * FROM ({told_of(table)} WHERE id > ? AND id <= ?) WHERE ({which}) ORDER BY id LIMIT {INFOS_PER_PAGE}"
    )
    rows = connection.execute(sql, (after, bound, *texts)).fetchall()
    if len(rows) == INFOS_PER_PAGE:
        return rows, rows[-1][0]
    return rows, bound if count == PASSED_PER_PAGE else None
