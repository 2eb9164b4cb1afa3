"""A walk over a table, a page at a time: what a reading connection does for one page, on the connection's thread."""

from __future__ import annotations

import sqlite3
from typing import Final

from aiohttp_cache_di.backends.sqlite.schema import Key, Table

__all__ = ["KEYS_PER_PAGE", "keys_page", "rows_page"]

KEYS_PER_PAGE: Final = 1000
VALUES_PER_PAGE: Final = 64
WALKED_BYTES: Final = 2 * 1024 * 1024  # of values; a page ends when it has this much


def keys_page(connection: sqlite3.Connection, table: Table, after: Key | None) -> list[Key]:
    """The keys that follow *after*, None for the first ones; fewer than `KEYS_PER_PAGE` are the last."""
    if after is None:
        cursor = connection.execute(table.keys_first, (KEYS_PER_PAGE,))
    else:
        cursor = connection.execute(table.keys_page, (after, KEYS_PER_PAGE))
    return [row[0] for row in cursor]


def rows_page(connection: sqlite3.Connection, table: Table, after: Key | None) -> list[tuple[Key, object]]:
    """The rows that follow *after*, None for the first ones, decoded; none are the last."""
    sql, arguments = (table.rows_first, ()) if after is None else (table.rows_page, (after,))
    cursor = connection.execute(sql, arguments)
    page: list[tuple[Key, object]] = []
    weight = 0
    for key, frame in cursor:
        page.append((key, table.decode(key, frame)))
        weight += len(frame) if isinstance(frame, bytes) else 0
        if weight > WALKED_BYTES or len(page) >= VALUES_PER_PAGE:
            break
    cursor.close()  # ends the snapshot, so that the log can be folded into the file
    connection.execute("PRAGMA shrink_memory")  # what a walk has seen is not what will be asked for
    return page
