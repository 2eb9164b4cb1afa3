"""The tables of a SQLite cache and the statements on them.

A cache is a rowid table of frames with a unique index over their keys: WITHOUT ROWID is slower with blobs. Besides, the
file has one row, the *generation*: the number of the last commit that changed an entry, and the *tie* to the table in
shared memory that tells other processes of it (`generation`). Each commit of ours that changes entries raises the
number. Triggers change the tie when anything else changes an entry, whichever program it is: they run in its SQLite.
"""

# ruff: noqa: S608  # table names cannot be parameters; ours are constants, or quoted in `Table`
from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from typing import Final

from aiohttp_cache_di.backends.sqlite.files import CacheFile
from aiohttp_cache_di.backends.sqlite.thread import JobConnection
from aiohttp_cache_di.backends.store import SECRET_BYTES
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "GENERATION",
    "LEASES",
    "MAX_BATCH",
    "META",
    "Key",
    "Table",
    "column_key",
    "column_time",
    "keep_secret",
    "kept_secret",
    "now_used",
    "open_for_reading",
    "open_for_writing",
    "pack_key",
    "unpack_key",
]

SCHEMA_VERSION: Final = 2  # Raise it whenever a table changes; tables of another version are dropped and made anew.

PAGE_BYTES: Final = 2048  # Of 1, 2, 4 and 8 KiB the one that wastes least over entries of 0.5, 2 and 10 kB.
LOG_BYTES: Final = 4 * 1024 * 1024  # The write-ahead log is folded into the file at this size.
CACHE_KIB: Final = 8192  # of a connection; enough for the inner pages of the index over a million keys
READ_CACHE_KIB: Final = 16384  # of the reader, which would ask the system for each page of a frame again
MAX_BATCH: Final = 128  # keys per statement; rows of 10 kB then fit a cache of the processor until they are used

HEX_DIGITS: Final = 40  # of the keys that `create_key` makes; half as long as bytes
OPEN_PATIENCE_S: Final = 2.0  # while other processes make the same tables
RETRY_S: Final = 0.01

META: Final = '"aiohttp_cache_di"'
KEPT: Final = "\0secret"  # no table's name has a NUL
LEASES: Final = '"aiohttp_cache_di:leases"'
GENERATION: Final = '"aiohttp_cache_di:generation"'

READ_TIMEOUT_S: Final = 0.1
CANNOT_SHARE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})

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
            packed.encode()
        except UnicodeEncodeError as exc:
            raise StorageError(f"the key {key!r} is no text that can be stored") from exc
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
    """Make the key again of what the column holds."""
    return key.hex() if isinstance(key, bytes) else key


class Table:
    """The statements on the table of one cache.

    Args:
        name: as the user calls it; any text without NUL.
    """

    def __init__(self, name: str) -> None:
        if not name or "\0" in name:
            raise ValueError(f"table_name={name!r}: give a name of at least one character, without NUL")
        self.name = name
        quoted = name.replace('"', '""')
        # A prefix keeps clear of tables that others (or other libraries) have in the file.
        t = self.sql = f'"cache:{quoted}"'
        self.create = (
            # The frame comes last, so that a look at the other columns reads no overflow pages. AUTOINCREMENT: what is
            # written while the table is cleared must get a higher id than what is being cleared.
            f"CREATE TABLE IF NOT EXISTS {t} (id INTEGER PRIMARY KEY AUTOINCREMENT, key NOT NULL UNIQUE, "
            "store_until INTEGER, used INTEGER NOT NULL, leads_on INTEGER, frame BLOB NOT NULL)",
            f'CREATE INDEX IF NOT EXISTS "cache:{quoted}:until" ON {t} (store_until) WHERE store_until IS NOT NULL',
            f'CREATE INDEX IF NOT EXISTS "cache:{quoted}:used" ON {t} (used)',
            f'CREATE INDEX IF NOT EXISTS "cache:{quoted}:leads_on" ON {t} (leads_on) WHERE leads_on',
            *(_watch(quoted, event) for event in ("INSERT", "UPDATE OF id, key, store_until, leads_on, frame")),
        )
        self.watch_deletions = _watch(quoted, "DELETE")
        self.watch_no_deletions = f'DROP TRIGGER IF EXISTS "cache:{quoted}:DELETE"'
        # and five marks for each row
        self.put = f"INSERT OR REPLACE INTO {t} (key, store_until, used, leads_on, frame) VALUES "
        # One snapshot has the generation and the row; without a row, the columns after the generation are None.
        self.get = f"SELECT number, tie, key, frame FROM {GENERATION} LEFT JOIN {t} ON key = ?"
        self.which = f"SELECT key FROM {t} WHERE key IN "  # and a list of marks
        self.count = f"SELECT count(*) FROM {t}"
        self.count_kinds = f"SELECT (SELECT count(*) FROM {t}), (SELECT count(*) FROM {t} WHERE leads_on)"
        self.last_id = f"SELECT max(id) FROM {t}"
        self.touch = f"UPDATE {t} SET used = ? WHERE key = ?"
        self.keys_first = f"SELECT key, leads_on FROM {t} ORDER BY key LIMIT ?"
        self.keys_page = f"SELECT key, leads_on FROM {t} WHERE key > ? ORDER BY key LIMIT ?"
        self.rows_first = f"SELECT key, leads_on, frame FROM {t} ORDER BY key"
        self.rows_page = f"SELECT key, leads_on, frame FROM {t} WHERE key > ? ORDER BY key"
        self.expired = f"SELECT id, key FROM {t} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?"
        self.oldest = f"SELECT id, key, length(frame) FROM {t} ORDER BY used, id LIMIT ?"
        self.upto = f"SELECT id FROM {t} WHERE id <= ? ORDER BY id LIMIT ?"
        self.remove_ids = f"DELETE FROM {t} WHERE id IN "  # and a list of marks
        self.remove_keys = f"DELETE FROM {t} WHERE key IN "  # and a list of marks
        self.remove_upto = f"DELETE FROM {t} WHERE id <= ?"
        self.remove_expired = (
            f"DELETE FROM {t} WHERE id IN (SELECT id FROM {t} WHERE store_until <= ? ORDER BY store_until, id LIMIT ?)"
        )
        self.empty = f"DELETE FROM {t}"
        self.get_many = {
            n: f"SELECT number, tie, key, frame FROM {GENERATION} LEFT JOIN {t} ON key IN ({', '.join('?' * n)})"
            for n in (2**power for power in range(MAX_BATCH.bit_length()))
        }


def _watch(quoted: str, event: str) -> str:
    """A trigger that cuts the tie when rows are changed outside of a commit of ours."""
    name = f'"cache:{quoted}:{event.split()[0]}"'
    return (
        f'CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON "cache:{quoted}" '
        f"WHEN (SELECT is_ours FROM {GENERATION}) = 0 BEGIN UPDATE {GENERATION} SET tie = tie + 1; END"
    )


def prepare(connection: sqlite3.Connection, table: Table, *, fast_save: bool) -> None:
    """Set a writing connection up, and make the tables that are missing.

    Others may be doing the same: SQLite does not wait for them in all of this, so we do.
    """
    patience_ends_at = time.monotonic() + OPEN_PATIENCE_S
    while True:
        try:
            _prepare_once(connection, table, fast_save)
        except sqlite3.OperationalError as exc:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience_ends_at:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _prepare_once(connection: sqlite3.Connection, table: Table, fast_save: bool) -> None:
    run = connection.execute
    if run("PRAGMA journal_mode").fetchone()[0] != "wal":  # else others may hold the lock that these need
        run(f"PRAGMA page_size = {PAGE_BYTES}")  # these two take effect in an empty file only
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
    run(f"PRAGMA synchronous = {'OFF' if fast_save else 'NORMAL'}")
    page_bytes: int = run("PRAGMA page_size").fetchone()[0]
    run(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // page_bytes}")
    run(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    run("PRAGMA mmap_size = 0")  # a mapped file that another program truncates kills the process
    run(f"PRAGMA cache_size = -{CACHE_KIB}")
    run("PRAGMA temp_store = MEMORY")
    run("PRAGMA secure_delete = OFF")
    run("PRAGMA recursive_triggers = OFF")  # else each row that is replaced runs one
    if not _is_prepared(connection, table):
        run("BEGIN IMMEDIATE")
        _make_tables(connection, table)
        run("COMMIT")


def _is_prepared(connection: sqlite3.Connection, table: Table) -> bool:
    """Whether the file has the table, of our version."""
    try:
        versions = dict(connection.execute(f"SELECT name, version FROM {META}"))
    except sqlite3.OperationalError as exc:
        if "no such table" in str(exc):
            return False
        raise
    return versions.get("") == versions.get(table.name) == SCHEMA_VERSION


def _make_tables(connection: sqlite3.Connection, table: Table) -> None:
    run = connection.execute
    run(f"CREATE TABLE IF NOT EXISTS {META} (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    versions: dict[str, int] = dict(run(f"SELECT name, version FROM {META}"))
    if versions.get("") != SCHEMA_VERSION:
        for shared in (LEASES, GENERATION, '"aiohttp_cache_di:deletions"'):
            run(f"DROP TABLE IF EXISTS {shared}")
        for name in [name for name in versions if name and "\0" not in name]:
            _drop(connection, Table(name))
        versions = {}
        run(
            f"CREATE TABLE {LEASES} (key PRIMARY KEY, owner BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID",
        )
        run(
            f"CREATE TABLE {GENERATION} (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, "
            "tie INTEGER NOT NULL, is_ours INTEGER NOT NULL)"
        )
        run(f"INSERT INTO {GENERATION} VALUES (1, 0, 0, 0)")
        run(f"INSERT OR REPLACE INTO {META} VALUES ('', ?)", (SCHEMA_VERSION,))
    if versions.get(table.name) != SCHEMA_VERSION:
        _drop(connection, table)
        for statement in (*table.create, table.watch_deletions):
            run(statement)
        run(f"UPDATE {GENERATION} SET tie = tie + 1")  # of rows that were dropped, others may have copies
        run(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (table.name, SCHEMA_VERSION))


def _drop(connection: sqlite3.Connection, table: Table) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {table.sql}")
    connection.execute(f"DELETE FROM {META} WHERE name = ?", (table.name,))


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


def open_for_writing(file: CacheFile, table: Table, *, fast_save: bool) -> JobConnection:
    """Open the file to read and write, and make what is missing."""
    file.create()
    connection = file.connect("rw")
    try:
        prepare(connection, table, fast_save=fast_save)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(file: CacheFile) -> JobConnection:
    """Open the file to read only, if need be as one that no program changes.

    Without a right to write, SQLite cannot make the log's index, and without that a reader has no place to
    meet writers; where none can write, none is needed.
    """
    try:
        return _connect_reader(file, "ro")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF not in CANNOT_SHARE:
            raise
    connection = _connect_reader(file, "immutable")
    connection.is_frozen = True
    return connection


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
