"""The tables of a SQLite cache, and how a column holds a key or a time.

A cache is a rowid table of frames with a unique index over their keys: WITHOUT ROWID is slower with blobs. The file
also has one row with the *generation* (the number of the last commit that changed an entry) and the *tie* (the id of
the file of counters that tells other processes of such commits, `shared.generation`). Each of our commits that changes
entries increments the number. When any other program changes an entry, a trigger, which runs in that program's SQLite,
changes the tie.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import math
import re
import sqlite3
import time
from typing import Final

from aiohttp_cache_di.backends.sqlite.file.failing import DamagedError
from aiohttp_cache_di.backends.store import SECRET_BYTES
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "GENERATION",
    "HEX_DIGITS",
    "KEPT",
    "LEASES",
    "MAX_BATCH",
    "MAX_KEY_BYTES",
    "MAX_NUMBER",
    "META",
    "SCHEMA_VERSION",
    "USED_LAST",
    "Key",
    "Table",
    "checked_state",
    "column_key",
    "column_time",
    "fill_schema",
    "keep_secret",
    "kept_secret",
    "now_used",
    "pack_key",
    "unpack_key",
]

SCHEMA_VERSION: Final = 6  # Raise it whenever a table changes; tables of another version are dropped.

MAX_BATCH: Final = 128  # keys per statement

MAX_NUMBER: Final = 2**47  # commits of one file
MAX_TIE: Final = 2**63 - 2**32  # an id of 31 bits, then a count of changes by other programs
MAX_KEY_BYTES: Final = 1024 * 1024  # keys of `create_key` have 20; users may have others
HEX_DIGITS: Final = 40  # of the keys that `create_key` makes; stored as 20 bytes

META: Final = '"aiohttp_cache_di"'
KEPT: Final = "\0secret"  # no table's name has a NUL
LEASES: Final = '"aiohttp_cache_di:leases"'
GENERATION: Final = '"aiohttp_cache_di:generation"'


Key = bytes | str
"""A key as it is stored in a column: the bytes of a digest, or text."""


def pack_key(key: str) -> Key:
    """Convert a key for its column."""
    if len(key) == HEX_DIGITS:
        try:
            digest = bytes.fromhex(key)
        except ValueError:
            return key
        if digest.hex() == key:
            return digest
    return key


def column_key(key: str) -> Key:
    """Convert a key for its column, after checking that it can be stored.

    Raises:
        StorageError: the key is too long, or cannot be encoded in UTF-8.
    """
    packed = pack_key(key)
    if isinstance(packed, str):
        try:
            size = len(packed.encode())
        except UnicodeEncodeError as exc:
            raise StorageError(f"the key {key!r} cannot be encoded in UTF-8") from exc
        if size > MAX_KEY_BYTES:
            raise StorageError(f"a key of {size} bytes exceeds the limit of {MAX_KEY_BYTES}")
    return packed


def column_time(until: float) -> int | None:
    """A POSIX time in milliseconds, rounded up, so that no record is dropped too early; None for never."""
    if until == math.inf:
        return None
    return math.ceil(min(max(until * 1000, -(2.0**47)), 2.0**47))


USED_LAST: Final = 2**62
"""A last use after any other: that of records of purges, which eviction need not pass over to find entries."""


def now_used() -> int:
    """The time of a use: POSIX microseconds, since a fast machine writes ten entries per millisecond."""
    return time.time_ns() // 1000


def unpack_key(key: Key) -> str:
    """Convert a column back into the key.

    Raises:
        DamagedError: the column holds neither bytes nor text.
    """
    if isinstance(key, bytes):
        return key.hex()
    if isinstance(key, str):
        return key
    raise DamagedError(f"a key is of type {type(key).__name__}")


_CAPITAL: Final = re.compile("[A-Z^]", re.ASCII)
"""Letters that a table's name has as ``^`` and the small letter, since SQLite ignores case in names."""


class Table:
    """The table of one cache, that of its cutoffs, and the most frequent statements.

    Args:
        name: the user's name for the table; any text without NUL.
    """

    def __init__(self, name: str) -> None:
        if not name or "\0" in name:
            raise ValueError(f"table_name={name!r}: give a name of at least one character, without NUL")
        self.name = name
        own = _CAPITAL.sub(lambda letter: f"^{letter[0].lower()}", name)
        quoted = own.replace('"', '""')
        # The prefix avoids collisions with tables of other programs in the file.
        self.stored_name: str = f"cache:{own}"
        self.sql: str = f'"cache:{quoted}"'
        self.cutoffs: str = f'"cache-softened:{quoted}"'
        self.create: tuple[str, ...] = _create(quoted, self.sql, self.cutoffs)
        self.watch_deletions: str = _watch(quoted, "DELETE")
        self.watch_no_deletions: str = f'DROP TRIGGER IF EXISTS "cache-trigger:DELETE:{quoted}"'
        # Followed by seven placeholders for each row.
        self.put: str = (
            f"INSERT OR REPLACE INTO {self.sql} (key, store_until, used, leads_on, info, frame, body) VALUES "
        )
        self.any_cutoff: str = f"(SELECT at FROM {self.cutoffs} WHERE row = id)"
        # One statement, so one snapshot, for generation and rows; without a row, the columns after the tie are NULL.
        cutoff = f"CASE WHEN id <= softened THEN {self.any_cutoff} END"
        found = f"SELECT number, tie, key, frame, body, {cutoff} FROM {GENERATION} LEFT JOIN {self.sql} ON key"
        self.get: str = f"{found} = ?"
        self.get_many: dict[int, str] = {
            n: f"{found} IN ({', '.join('?' * n)})" for n in (2**power for power in range(MAX_BATCH.bit_length()))
        }


def _create(quoted: str, table: str, cutoffs: str) -> tuple[str, ...]:
    """The statements that make the tables, apart from `Table.watch_deletions`."""
    return (
        # The body comes last, so that reading the other columns reads few overflow pages. AUTOINCREMENT: rows that are
        # written while the table is being cleared must get higher ids than those that are being deleted.
        f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, key NOT NULL UNIQUE, store_until INTEGER, "
        "used INTEGER NOT NULL, leads_on INTEGER, info BLOB, frame BLOB NOT NULL, body BLOB)",
        f'CREATE INDEX "cache-index:until:{quoted}" ON {table} (store_until) WHERE store_until IS NOT NULL',
        f'CREATE INDEX "cache-index:used:{quoted}" ON {table} (used)',
        f'CREATE INDEX "cache-index:leads_on:{quoted}" ON {table} (leads_on) WHERE leads_on',
        f"CREATE TABLE {cutoffs} (row INTEGER PRIMARY KEY, at REAL NOT NULL)",
        _watch(quoted, "INSERT"),
        _watch(quoted, "UPDATE OF id, key, store_until, leads_on, info, frame, body"),
    )


def _watch(quoted: str, event: str) -> str:
    """A trigger that changes the tie when rows are changed by anything but our own commits."""
    name = f'"cache-trigger:{event.split()[0]}:{quoted}"'
    return (
        f'CREATE TRIGGER {name} AFTER {event} ON "cache:{quoted}" '
        f"WHEN (SELECT is_ours FROM {GENERATION}) = 0 BEGIN UPDATE {GENERATION} SET tie = tie + 1; END"
    )


def fill_schema(connection: sqlite3.Connection, table: Table, *, is_new: bool) -> None:
    """Make the tables of a cache and, if the file *is_new*, those that all caches share."""
    run = connection.execute
    if is_new:
        run(f"CREATE TABLE {META} (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        run(f"CREATE TABLE {LEASES} (key PRIMARY KEY, owner BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID")
        run(
            f"CREATE TABLE {GENERATION} (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, "
            "tie INTEGER NOT NULL, is_ours INTEGER NOT NULL, softened INTEGER NOT NULL)"
        )
        run(f"INSERT INTO {GENERATION} VALUES (1, 0, 0, 0, 0)")
        run(f"INSERT INTO {META} VALUES ('', ?)", (SCHEMA_VERSION,))
    for statement in (*table.create, table.watch_deletions):
        run(statement)
    run(f"UPDATE {GENERATION} SET tie = tie + 1")  # invalidates other processes' copies of dropped rows
    run(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (table.name, SCHEMA_VERSION))


def checked_state(connection: sqlite3.Connection) -> tuple[int, int]:
    """The number and the tie of the generation.

    Raises:
        DamagedError: the row is missing or holds something else.
    """
    row = connection.execute(f"SELECT number, tie FROM {GENERATION}").fetchone()
    if row is None:
        raise DamagedError("the row of the generation is missing")
    number, tie = row
    if type(number) is not int or type(tie) is not int or not (0 <= number < MAX_NUMBER and 0 <= tie < MAX_TIE):
        raise DamagedError("the generation has invalid values")
    return number, tie


def kept_secret(connection: sqlite3.Connection) -> bytes | None:
    """The secret that the file keeps; None if there is none, or something else."""
    row = connection.execute(f"SELECT version FROM {META} WHERE name = ?", (KEPT,)).fetchone()
    return row[0] if row and isinstance(row[0], bytes) and len(row[0]) == SECRET_BYTES else None


def keep_secret(connection: sqlite3.Connection, proposed: bytes) -> bytes:
    """The secret that the file keeps, after storing *proposed* if there was none."""
    found = kept_secret(connection)
    if found is None:
        connection.execute(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (KEPT, proposed))
    return found or proposed
