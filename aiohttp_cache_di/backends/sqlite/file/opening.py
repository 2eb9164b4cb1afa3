"""How connections to a cache file are opened: the settings of SQLite, and what is made sure of before.

Nothing of ours is read or written before it is known whose file it is (`files`) and what is in it (`inspection`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import Final

from aiohttp_cache_di.backends.sqlite.file.failing import is_corruption
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.inspection import is_prepared, prepare_tables
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.file.thread import JobConnection

__all__ = ["open_for_reading", "open_for_writing"]

PAGE_BYTES: Final = 2048  # Of 1, 2, 4 and 8 KiB the one that wastes least over entries of 0.5, 2 and 10 kB.
LOG_BYTES: Final = 2**24  # of the write-ahead log when it is folded into the file: a page of an index goes there once
SMALL_LOG_BYTES: Final = 2**22  # of that of a file that is smaller, so that the two stay near its bound
CACHE_KIB: Final = 8192  # of a connection; enough for the inner pages of the index over a million keys
READ_CACHE_KIB: Final = 16384  # of the reader, which would ask the system for each page of a frame again

OPEN_PATIENCE_S: Final = 2.0  # while other processes make the same tables
RETRY_S: Final = 0.01
READ_TIMEOUT_S: Final = 0.1
CANNOT_SHARE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


def prepare(connection: sqlite3.Connection, table: Table, *, fast_save: bool, max_bytes: int | None) -> None:
    """Set a writing connection up, and make the tables that are missing.

    Others may be doing the same: SQLite does not wait for them in all of this, so we do.
    """
    patience_ends_at = time.monotonic() + OPEN_PATIENCE_S
    while True:
        try:
            _prepare_once(connection, table, fast_save, max_bytes)
        except sqlite3.OperationalError as exc:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience_ends_at:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _prepare_once(connection: sqlite3.Connection, table: Table, fast_save: bool, max_bytes: int | None) -> None:
    run = connection.execute
    if run("PRAGMA journal_mode").fetchone()[0] != "wal":  # else others may hold the lock that these need
        run(f"PRAGMA page_size = {PAGE_BYTES}")  # these two take effect in an empty file only
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
    run(f"PRAGMA synchronous = {'OFF' if fast_save else 'NORMAL'}")
    page_bytes: int = run("PRAGMA page_size").fetchone()[0]
    log_bytes = LOG_BYTES if max_bytes is None else min(LOG_BYTES, max(SMALL_LOG_BYTES, max_bytes))
    run(f"PRAGMA wal_autocheckpoint = {log_bytes // page_bytes}")
    run(f"PRAGMA journal_size_limit = {log_bytes}")
    run("PRAGMA mmap_size = 0")  # a mapped file that another program truncates kills the process
    run(f"PRAGMA cache_size = -{CACHE_KIB}")
    run("PRAGMA temp_store = MEMORY")
    run("PRAGMA secure_delete = OFF")
    run("PRAGMA recursive_triggers = OFF")  # else each row that is replaced runs one
    if not is_prepared(connection, table):
        run("BEGIN IMMEDIATE")
        prepare_tables(connection, table)
        run("COMMIT")


def open_for_writing(file: CacheFile, table: Table, *, fast_save: bool, max_bytes: int | None = None) -> JobConnection:
    """Open the file to read and write, and make what is missing.

    Args:
        fast_save: do not wait for the disk, at the price of a damaged file after a power cut.
        max_bytes: of all that the file may hold; None for no bound.

    Raises:
        StorageError: it was damaged, and is set aside if that can be.
    """
    file.create()
    file.secure()
    try:
        connection = file.connect("rw")
        try:
            prepare(connection, table, fast_save=fast_save, max_bytes=max_bytes)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
        if is_corruption(exc):
            raise file.set_aside(file.identity()) from exc
        raise
    return connection


def open_for_reading(file: CacheFile) -> JobConnection:
    """Open the file to read only, if need be as one that no program changes.

    Without a right to write, SQLite cannot make the log's index, and without that a reader has no place to
    meet writers; where none can write, none is needed.
    """
    file.secure()
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
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # what is wrong with the file is said now
    except BaseException:
        connection.close()
        raise
    return connection
