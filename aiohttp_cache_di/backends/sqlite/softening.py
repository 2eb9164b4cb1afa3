"""Making responses stale in the writer's thread: read, altered and written in one transaction, and in place.

What another process stores meanwhile is neither lost nor made stale. The frame keeps its size, so that SQLite writes
down the page in which its head lies, and no more.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from aiohttp_cache_di.backends.inspecting import packed_info
from aiohttp_cache_di.backends.sqlite.schema import Key, Table, unpack_key
from aiohttp_cache_di.backends.sqlite.statements import alter_all
from aiohttp_cache_di.backends.sqlite.writes import Transaction
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.entries.codec import EntryCodec, Opaque
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Softened", "soften"]

KEYS_AT_ONCE: Final = 32
STEP_S: Final = 0.01  # after which others may write
ALTERED_BYTES: Final = 2 * 1024 * 1024  # of frames that are in memory at a time

AlteredRow: TypeAlias = "tuple[int, Key, int, int | None, bytes | None, bytes]"


class Softened(NamedTuple):
    """What one step has done.

    Args:
        keys: how many it has dealt with.
        left: those of them under which there is what only its user can read.
    """

    keys: int
    left: list[str]


def soften(transaction: Transaction, keys: Sequence[Key], at: float, codec: EntryCodec) -> Softened:
    """Have the responses under the first of *keys* fresh until *at* at most."""
    connection, table = transaction.connection, transaction.table
    until = time.monotonic() + STEP_S
    left: list[str] = []
    count = 0
    while count < len(keys):
        some = keys[count : count + KEYS_AT_ONCE]
        altered: list[AlteredRow] = []
        weight = 0
        for row in _rows(connection, table, some):
            key = unpack_key(row[1])
            item = codec.unpack(row[4], key) if isinstance(row[4], bytes) else None
            if isinstance(item, StoredResponse) and item.fresh_until > at:
                altered.append(_altered(row, key, replace(item, fresh_until=at), codec))
                weight += len(row[4])
            elif isinstance(item, Opaque):
                left.append(key)
            if weight > ALTERED_BYTES:
                _write(transaction, altered)
                altered, weight = [], 0
        _write(transaction, altered)
        count += len(some)
        if time.monotonic() > until:
            break
    return Softened(count, left)


def _rows(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> sqlite3.Cursor:
    largest = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    return connection.execute(f"{table.whole_of}({', '.join('?' * len(keys))})", (largest, *keys))


def _altered(row: tuple[Any, ...], key: str, stale: StoredResponse, codec: EntryCodec) -> AlteredRow:
    row_id, column, used, leads_on, _ = row
    info = packed_info(Record(key, stale, stale.store_until))
    return row_id, column, used, leads_on, info, codec.pack(stale, key)


def _write(transaction: Transaction, rows: Sequence[AlteredRow]) -> None:
    if rows:
        transaction.changing().touch([unpack_key(row[1]) for row in rows])
        alter_all(transaction.connection, transaction.table, rows)
