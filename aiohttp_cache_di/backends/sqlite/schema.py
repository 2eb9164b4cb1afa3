"""The tables of a SQLite cache and the statements on them.

A cache is a rowid table of frames with a unique index over their keys: WITHOUT ROWID is slower with blobs. A row's
``id`` grows with every write and is never used twice, so that whoever knows the highest one can ask for what has
been written since; what was deleted or evicted is listed in ``deletions`` for a while, for the same reason.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from aiohttp_cache_di.backends.sqlite.files import CacheFile
from aiohttp_cache_di.backends.sqlite.thread import JobConnection
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "EXPIRED",
    "LEASES",
    "MAX_BATCH",
    "Found",
    "Key",
    "Table",
    "column_key",
    "column_time",
    "pack_key",
    "prepare",
    "unpack_key",
]

SCHEMA_VERSION: Final = 1  # Raise it whenever a table changes; tables of another version are dropped and made anew.

PAGE_BYTES: Final = 2048  # Of 1, 2, 4 and 8 KiB the one that wastes least over entries of 0.5, 2 and 10 kB.
LOG_BYTES: Final = 4 * 1024 * 1024  # The write-ahead log is folded into the file at this size.
CACHE_KIB: Final = 8192  # of a connection; enough for the inner pages of the index over a million keys
READ_CACHE_KIB: Final = 16384  # of the reader, which would ask the system for each page of a frame again
MAX_BATCH: Final = 128  # keys per statement; rows of 10 kB then fit a cache of the processor until they are used

HEX_DIGITS: Final = 40  # of the keys that `create_key` makes; half as long as bytes
OPEN_PATIENCE_S: Final = 2.0  # while other processes make the same tables
RETRY_S: Final = 0.01

META: Final = '"aiohttp_cache_di"'
LEASES: Final = '"aiohttp_cache_di:leases"'
DELETIONS: Final = '"aiohttp_cache_di:deletions"'
KEPT_DELETIONS: Final = 1024
EXPIRED: Final = b""
"""In place of a key, which is never without bytes, in the list of deletions: up to this id, rows that had expired."""

READ_TIMEOUT_S: Final = 0.1
CANNOT_SHARE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})

Key = bytes | str
"""A key as a column holds it: the bytes of a digest, or text."""

Found: TypeAlias = "tuple[Table, int, object]"
"""The table that has a row, the row's id, and what `Table.decode` made of its frame."""


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
    """As `pack_key`, for a key that shall be found again.

    Raises:
        StorageError: it is not text that UTF-8 can express.
    """
    packed = pack_key(key)
    if isinstance(packed, str):
        try:
            packed.encode()
        except UnicodeEncodeError as exc:
            raise StorageError(f"the key {key!r} is no text that can be stored") from exc
    return packed


def column_time(until: float) -> int | None:
    """A POSIX time as milliseconds that fit the column; rounded up, so that nothing goes too early; None for never."""
    if until == math.inf:
        return None
    return math.ceil(min(max(until * 1000, -(2.0**47)), 2.0**47))


def unpack_key(key: Key) -> str:
    """Make the key again of what the column holds."""
    return key.hex() if isinstance(key, bytes) else key


class Table:
    """The statements on the table of one cache.

    Args:
        name: as the user calls it; any text without NUL.
        decode: what is made, in the reader's thread, of a row's key and frame.
        encode: what is made, in the writer's thread, of an item: its frame.
    """

    def __init__(self, name: str, decode: Callable[[Key, object], object], encode: Callable[[object], bytes]) -> None:
        if not name or "\0" in name:
            raise ValueError(f"table_name={name!r}: give a name of at least one character, without NUL")
        self.name = name
        self.decode = decode
        self.encode = encode
        quoted = name.replace('"', '""')
        # A prefix keeps clear of tables that others (or other libraries) have in the file.
        t = self.sql = f'"cache:{quoted}"'
        self.create = (
            # The frame comes last, so that a look at the other columns reads no overflow pages. AUTOINCREMENT,
            # because a row id that is used twice would hide a change from those who look for higher ones.
            f"CREATE TABLE IF NOT EXISTS {t} (id INTEGER PRIMARY KEY AUTOINCREMENT, key NOT NULL UNIQUE, "
            "store_until INTEGER, used INTEGER NOT NULL, frame BLOB NOT NULL)",
            f'CREATE INDEX IF NOT EXISTS "cache:{quoted}:until" ON {t} (store_until) WHERE store_until IS NOT NULL',
            f'CREATE INDEX IF NOT EXISTS "cache:{quoted}:used" ON {t} (used)',
        )
        self.put = f"INSERT OR REPLACE INTO {t} (key, store_until, used, frame) VALUES "  # and four marks for each row
        self.get = f"SELECT id, frame FROM {t} WHERE key = ?"
        self.has = f"SELECT 1 FROM {t} WHERE key = ?"
        self.which = f"SELECT key FROM {t} WHERE key IN "  # and a list of marks
        self.count = f"SELECT count(*) FROM {t}"
        self.last_id = f"SELECT max(id) FROM {t}"
        self.touch = f"UPDATE {t} SET used = ? WHERE key = ?"
        self.since = f"SELECT id, key FROM {t} WHERE id > ? ORDER BY id LIMIT ?"
        self.keys_first = f"SELECT key FROM {t} ORDER BY key LIMIT ?"
        self.keys_page = f"SELECT key FROM {t} WHERE key > ? ORDER BY key LIMIT ?"
        self.rows_first = f"SELECT key, frame FROM {t} ORDER BY key"
        self.rows_page = f"SELECT key, frame FROM {t} WHERE key > ? ORDER BY key"
        self.expired = f"SELECT id, key FROM {t} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?"
        self.oldest = f"SELECT used, id, key, length(frame) FROM {t} ORDER BY used, id LIMIT ?"
        self.upto = f"SELECT id FROM {t} WHERE id <= ? ORDER BY id LIMIT ?"
        self.remove = f"DELETE FROM {t} WHERE id = ?"
        self.remove_upto = f"DELETE FROM {t} WHERE id <= ?"
        self.remove_expired = (
            f"DELETE FROM {t} WHERE id IN (SELECT id FROM {t} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?)"
        )
        self.empty = f"DELETE FROM {t}"
        self._get_many = {
            n: f"SELECT key, id, frame FROM {t} WHERE key IN ({', '.join('?' * n)})"
            for n in (2**power for power in range(MAX_BATCH.bit_length()))
        }

    def row(self, connection: sqlite3.Connection, key: Key) -> Found | None:
        """Read the row of *key*."""
        found = connection.execute(self.get, (key,)).fetchone()
        return None if found is None else (self, found[0], self.decode(key, found[1]))

    def rows(self, connection: sqlite3.Connection, keys: list[Key]) -> dict[Key, Found]:
        """Read the rows of those of *keys*, `MAX_BATCH` at most, that there are."""
        if not keys:
            return {}
        # Few different lengths, so that each statement is prepared once; a repeated key costs next to nothing.
        width = 1 << (len(keys) - 1).bit_length()
        cursor = connection.execute(self._get_many[width], keys + keys[-1:] * (width - len(keys)))
        decode = self.decode
        return {key: (self, row_id, decode(key, frame)) for key, row_id, frame in cursor}


def prepare(connection: sqlite3.Connection, tables: list[Table], *, fast_save: bool) -> None:
    """Set a writing connection up, and make the tables that are missing.

    Others may be doing the same: SQLite does not wait for them in all of this, so we do.
    """
    patience_ends_at = time.monotonic() + OPEN_PATIENCE_S
    while True:
        try:
            _prepare_once(connection, tables, fast_save)
        except sqlite3.OperationalError as exc:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience_ends_at:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _prepare_once(connection: sqlite3.Connection, tables: list[Table], fast_save: bool) -> None:
    run = connection.execute
    if run("PRAGMA journal_mode").fetchone()[0] != "wal":  # else others may hold the lock that these need
        run(f"PRAGMA page_size = {PAGE_BYTES}")  # these two take effect in an empty file only
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
    run(f"PRAGMA synchronous = {'OFF' if fast_save else 'NORMAL'}")
    page_bytes: int = run("PRAGMA page_size").fetchone()[0]
    run(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // page_bytes}")
    run(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    run("PRAGMA mmap_size = 0")  # a mapped file that somebody truncates kills the process
    run(f"PRAGMA cache_size = -{CACHE_KIB}")
    run("PRAGMA temp_store = MEMORY")
    run("PRAGMA secure_delete = OFF")
    if not is_prepared(connection, tables):
        run("BEGIN IMMEDIATE")
        _make_tables(connection, tables)
        run("COMMIT")


def is_prepared(connection: sqlite3.Connection, tables: list[Table]) -> bool:
    """Whether the file has all the tables, of our version."""
    try:
        versions = dict(connection.execute(f"SELECT name, version FROM {META}"))
    except sqlite3.OperationalError as exc:
        if "no such table" in str(exc):
            return False
        raise
    return all(versions.get(name) == SCHEMA_VERSION for name in ("", *(table.name for table in tables)))


def _make_tables(connection: sqlite3.Connection, tables: list[Table]) -> None:
    run = connection.execute
    run(f"CREATE TABLE IF NOT EXISTS {META} (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    versions = dict(run(f"SELECT name, version FROM {META}"))
    shared = (
        f"CREATE TABLE IF NOT EXISTS {LEASES} "
        "(key PRIMARY KEY, owner BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID",
        f"CREATE TABLE IF NOT EXISTS {DELETIONS} "
        "(n INTEGER PRIMARY KEY AUTOINCREMENT, cache TEXT NOT NULL, key, id INTEGER NOT NULL)",
    )
    wanted = [("", (LEASES, DELETIONS), shared), *((table.name, (table.sql,), table.create) for table in tables)]
    for name, named, statements in wanted:
        if versions.get(name) == SCHEMA_VERSION:
            continue
        for each in named if name in versions else ():
            run(f"DROP TABLE IF EXISTS {each}")
        for statement in statements:
            run(statement)
        run(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (name, SCHEMA_VERSION))


def open_for_writing(file: CacheFile, tables: list[Table], *, fast_save: bool) -> JobConnection:
    """Open the file to read and write, and make what is missing."""
    file.create()
    connection = file.connect("rw")
    try:
        prepare(connection, tables, fast_save=fast_save)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(file: CacheFile) -> tuple[JobConnection, bool]:
    """Open the file to read only; tell whether it had to be opened as one that nobody changes.

    Without a right to write, SQLite cannot make the log's index, and without that a reader has no place to
    meet writers; where nobody can write, none is needed.
    """
    try:
        return _connect_reader(file, "ro"), False
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF not in CANNOT_SHARE:
            raise
    return _connect_reader(file, "immutable"), True


def _connect_reader(file: CacheFile, mode: str) -> JobConnection:
    connection = file.connect(mode, timeout_s=READ_TIMEOUT_S)
    try:
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute(f"PRAGMA cache_size = -{READ_CACHE_KIB}")
        connection.execute(f"SELECT count(*) FROM {META}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
