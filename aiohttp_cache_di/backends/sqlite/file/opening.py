"""How connections to a cache file are opened: SQLite's settings, and the checks before the first use.

Entries are read and written only after the file's owner (`files`) and its contents (`inspection`) have been checked.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import Final

from aiohttp_cache_di.backends.disk import byte_locks
from aiohttp_cache_di.backends.sqlite.file.failing import LocksRefusedError, is_corruption
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.inspection import is_prepared, prepare_tables
from aiohttp_cache_di.backends.sqlite.file.schema import Table
from aiohttp_cache_di.backends.sqlite.file.thread import JobConnection

__all__ = ["open_for_reading", "open_for_writing"]

PAGE_BYTES: Final = 2048  # Of 1, 2, 4 and 8 KiB the one that wastes least over entries of 0.5, 2 and 10 kB.
LOG_BYTES: Final = 2**24  # size of the write-ahead log at a checkpoint, which then writes each index page once
SMALL_LOG_BYTES: Final = 2**22  # the same for files with a small bound, so that file and log stay near it
CACHE_KIB: Final = 8192  # of the writer; enough for the inner pages of the index over a million keys
READ_CACHE_KIB: Final = 16384  # of the reader, which would otherwise read each page of a frame from the system again
OPEN_PATIENCE_S: Final = 2.0  # how long to wait for other processes that make the same tables
RETRY_S: Final = 0.01
READ_TIMEOUT_S: Final = 0.1
IN_USE_S: Final = 60.0  # a file that was changed within this time is in use; a cache that is used notes uses
CANNOT_LOCK: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR})  # what SQLite makes of refused locks
CANNOT_SHARE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


def prepare(
    connection: sqlite3.Connection,
    table: Table,
    directory: str | None,
    *,
    fast_save: bool,
    max_bytes: int | None,
    is_in_use: bool,
) -> None:
    """Set a writing connection up, and make the missing tables.

    Repeated while another process does the same: SQLite's busy timeout does not cover all of these statements.

    Args:
        directory: that of the file; None for a database in memory.

    Raises:
        LocksRefusedError: the file system of *directory* has no locks.
    """
    patience_ends_at = time.monotonic() + OPEN_PATIENCE_S
    while True:
        try:
            _prepare_once(connection, table, fast_save, max_bytes, is_in_use)
        except sqlite3.OperationalError as exc:
            with contextlib.suppress(sqlite3.Error):  # there may be no transaction to roll back
                connection.execute("ROLLBACK")
            if directory is not None and exc.sqlite_errorcode & 0xFF in CANNOT_LOCK:
                refusal, directory = byte_locks.refusal(directory), None  # it is asked once
                if refusal is not None:
                    raise LocksRefusedError(refusal) from exc
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience_ends_at:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _prepare_once(
    connection: sqlite3.Connection, table: Table, fast_save: bool, max_bytes: int | None, is_in_use: bool
) -> None:
    run = connection.execute
    if run("PRAGMA journal_mode").fetchone()[0] != "wal":  # in a file that others use, these would need a lock
        run(f"PRAGMA page_size = {PAGE_BYTES}")  # these two take effect in an empty file only
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
    run(f"PRAGMA synchronous = {'OFF' if fast_save else 'NORMAL'}")
    page_bytes: int = run("PRAGMA page_size").fetchone()[0]
    log_bytes = LOG_BYTES if max_bytes is None else min(LOG_BYTES, max(SMALL_LOG_BYTES, max_bytes))
    run(f"PRAGMA wal_autocheckpoint = {log_bytes // page_bytes}")
    run(f"PRAGMA journal_size_limit = {log_bytes}")
    run("PRAGMA mmap_size = 0")  # reading a mapped file that another program has truncated kills the process
    run(f"PRAGMA cache_size = -{CACHE_KIB}")
    run("PRAGMA temp_store = MEMORY")
    run("PRAGMA secure_delete = OFF")
    run("PRAGMA recursive_triggers = OFF")  # else each replaced row would run the deletion trigger
    if not is_prepared(connection, table):
        run("BEGIN IMMEDIATE")
        prepare_tables(connection, table, newer_are_in_use=is_in_use)
        run("COMMIT")


def open_for_writing(file: CacheFile, table: Table, *, fast_save: bool, max_bytes: int | None = None) -> JobConnection:
    """Open the file to read and write; create it and its tables if they are missing.

    Args:
        fast_save: do not wait for the disk; a power cut may then damage the file.
        max_bytes: the bound of the file's size; None for no bound.

    Raises:
        StorageError: the file was damaged, and has been set aside if that was possible; or a newer release uses it.
    """
    is_in_use = file.idle_s() < IN_USE_S  # before our own connection can change it
    file.create()
    file.secure()
    try:
        connection = file.connect("rw")
        try:
            directory = None if file.is_memory else os.path.dirname(file.path)
            prepare(connection, table, directory, fast_save=fast_save, max_bytes=max_bytes, is_in_use=is_in_use)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
        if is_corruption(exc):
            raise file.set_aside(file.identity()) from exc
        raise
    return connection


def open_for_reading(file: CacheFile) -> JobConnection:
    """Open the file to read only, if necessary as immutable.

    A reader of a file in WAL mode needs the log's index, by which it coordinates with writers. Without the right to
    write SQLite cannot make it; then the file is opened as one that does not change, which needs no index.
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
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # reads the file, so that errors are raised now
    except BaseException:
        connection.close()
        raise
    return connection
