"""The tables of a SQLite cache, and how a column holds a key or a time.

A cache is a rowid table of frames with a unique index over their keys: WITHOUT ROWID is slower with blobs. Besides, the
file has one row, the *generation*: the number of the last commit that changed an entry, and the *tie* to the table in
shared memory that tells other processes of it (`shared.generation`). Each commit of ours that changes entries raises
the number. Triggers change the tie when anything else changes an entry, whichever program does: they run in its SQLite.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import math
import re
import sqlite3
import time
from typing import Final

from aiohttp_cache_di.backends.sqlite.file.files import DamagedError
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
MAX_TIE: Final = 2**63 - 2**32  # an id of 31 bits, and changes by programs that know nothing of us

MAX_KEY_BYTES: Final = 1024 * 1024  # keys of ours have 20; users may have others
HEX_DIGITS: Final = 40  # of the keys that `create_key` makes; half as long as bytes

META: Final = '"aiohttp_cache_di"'
KEPT: Final = "\0secret"  # no table's name has a NUL
LEASES: Final = '"aiohttp_cache_di:leases"'
GENERATION: Final = '"aiohttp_cache_di:generation"'


Key = bytes | str
"""A key as a column holds it: the bytes of a digest, or text."""


def pack_key(key: str) -> Key:
    """Make of a key what the column holds."""
    if len(key) == HEX_DIGITS:
        try:
            digest = bytes.fromhex(key)
        except ValueError:
            return key
        if digest.hex() == key:
            return digest
    return key


def column_key(key: str) -> Key:
    """As `pack_key`, for a key that must be found again.

    Raises:
        StorageError: it is not text that UTF-8 can express.
    """
    packed = pack_key(key)
    if isinstance(packed, str):
        try:
            size = len(packed.encode())
        except UnicodeEncodeError as exc:
            raise StorageError(f"the key {key!r} is no text that can be stored") from exc
        if size > MAX_KEY_BYTES:
            raise StorageError(f"a key of {size} bytes is longer than any that is stored")
    return packed


def column_time(until: float) -> int | None:
    """A POSIX time as milliseconds that fit the column; rounded up, so that nothing goes too early; None for never."""
    if until == math.inf:
        return None
    return math.ceil(min(max(until * 1000, -(2.0**47)), 2.0**47))


def now_used() -> int:
    """The time of a use as its column has it: POSIX microseconds, since a fast machine writes ten entries in one ms."""
    return time.time_ns() // 1000


def unpack_key(key: Key) -> str:
    """Make the key again of what the column holds.

    Raises:
        DamagedError: no key of ours.
    """
    if isinstance(key, bytes):
        return key.hex()
    if isinstance(key, str):
        return key
    raise DamagedError(f"a key is of type {type(key).__name__}")


_CAPITAL: Final = re.compile("[A-Z^]", re.ASCII)
"""What is written as ``^`` and its small letter, since SQLite takes names for the same that differ in case alone."""


class Table:
    """The table of one cache, the one of its marks, and the statements that are run all the time.

    Args:
        name: as the user calls it; any text without NUL.
    """

    def __init__(self, name: str) -> None:
        if not name or "\0" in name:
            raise ValueError(f"table_name={name!r}: give a name of at least one character, without NUL")
        self.name = name
        own = _CAPITAL.sub(lambda letter: f"^{letter[0].lower()}", name)
        quoted = own.replace('"', '""')
        # A prefix keeps clear of tables that others (or other libraries) have in the file.
        self.stored_name: str = f"cache:{own}"
        self.sql: str = f'"cache:{quoted}"'
        self.marks: str = f'"cache-softened:{quoted}"'
        self.create: tuple[str, ...] = _create(quoted, self.sql, self.marks)
        self.watch_deletions: str = _watch(quoted, "DELETE")
        self.watch_no_deletions: str = f'DROP TRIGGER IF EXISTS "cache-trigger:DELETE:{quoted}"'
        # and seven marks for each row
        self.put: str = (
            f"INSERT OR REPLACE INTO {self.sql} (key, store_until, used, leads_on, info, frame, body) VALUES "
        )
        self.any_mark: str = f"(SELECT at FROM {self.marks} WHERE row = id)"
        # One snapshot has the generation and the row; without a row, the columns after the generation are None.
        mark = f"CASE WHEN id <= softened THEN {self.any_mark} END"
        found = f"SELECT number, tie, key, frame, body, {mark} FROM {GENERATION} LEFT JOIN {self.sql} ON key"
        self.get: str = f"{found} = ?"
        self.get_many: dict[int, str] = {
            n: f"{found} IN ({', '.join('?' * n)})" for n in (2**power for power in range(MAX_BATCH.bit_length()))
        }


def _create(quoted: str, table: str, marks: str) -> tuple[str, ...]:
    """What makes the tables; `Table.watch_deletions` goes with it."""
    return (
        # The body comes last, so that a look at the other columns reads few overflow pages. AUTOINCREMENT: what is
        # written while the table is cleared must get a higher id than what is being cleared.
        f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, key NOT NULL UNIQUE, store_until INTEGER, "
        "used INTEGER NOT NULL, leads_on INTEGER, info BLOB, frame BLOB NOT NULL, body BLOB)",
        f'CREATE INDEX "cache-index:until:{quoted}" ON {table} (store_until) WHERE store_until IS NOT NULL',
        f'CREATE INDEX "cache-index:used:{quoted}" ON {table} (used)',
        f'CREATE INDEX "cache-index:leads_on:{quoted}" ON {table} (leads_on) WHERE leads_on',
        f"CREATE TABLE {marks} (row INTEGER PRIMARY KEY, at REAL NOT NULL)",
        _watch(quoted, "INSERT"),
        _watch(quoted, "UPDATE OF id, key, store_until, leads_on, info, frame, body"),
    )


def _watch(quoted: str, event: str) -> str:
    """A trigger that cuts the tie when rows are changed outside of a commit of ours."""
    name = f'"cache-trigger:{event.split()[0]}:{quoted}"'
    return (
        f'CREATE TRIGGER {name} AFTER {event} ON "cache:{quoted}" '
        f"WHEN (SELECT is_ours FROM {GENERATION}) = 0 BEGIN UPDATE {GENERATION} SET tie = tie + 1; END"
    )


def fill_schema(connection: sqlite3.Connection, table: Table, *, is_new: bool) -> None:
    """Make the table of a cache, and if the file *is_new* those of all caches."""
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
    run(f"UPDATE {GENERATION} SET tie = tie + 1")  # of rows that were dropped, others may have copies
    run(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (table.name, SCHEMA_VERSION))


def checked_state(connection: sqlite3.Connection) -> tuple[int, int]:
    """The number and the tie of the generation.

    Raises:
        DamagedError: there is none, or something else.
    """
    row = connection.execute(f"SELECT number, tie FROM {GENERATION}").fetchone()
    if row is None:
        raise DamagedError("the generation is gone")
    number, tie = row
    if type(number) is not int or type(tie) is not int or not (0 <= number < MAX_NUMBER and 0 <= tie < MAX_TIE):
        raise DamagedError("the generation is none")
    return number, tie


def kept_secret(connection: sqlite3.Connection) -> bytes | None:
    """The secret that the file keeps; None where there is none, or what is none."""
    row = connection.execute(f"SELECT version FROM {META} WHERE name = ?", (KEPT,)).fetchone()
    return row[0] if row and isinstance(row[0], bytes) and len(row[0]) == SECRET_BYTES else None


def keep_secret(connection: sqlite3.Connection, proposed: bytes) -> bytes:
    """The secret that the file keeps; *proposed* if there is none yet."""
    found = kept_secret(connection)
    if found is None:
        connection.execute(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (KEPT, proposed))
    return found or proposed
