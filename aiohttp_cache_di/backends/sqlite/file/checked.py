"""`CheckedFile`: whether the file is still the one that was opened, has our tables, and is not damaged."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from aiohttp_cache_di.backends.sqlite.file.failing import ConnectionsLostError
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile, Identity
from aiohttp_cache_di.backends.sqlite.file.inspection import damage_in, is_prepared
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_KEY_BYTES, Table
from aiohttp_cache_di.backends.sqlite.file.thread import Job
from aiohttp_cache_di.errors import StorageError

__all__ = ["CheckedFile"]

FILE_CHECK_S: Final = 0.1  # how long it may go unnoticed that the file was deleted, replaced or altered
BESIDE_FRAME_BYTES: Final = 2 * MAX_KEY_BYTES  # the rest of a row: its key, and some numbers
MAX_BYTES: Final = 1_000_000_000  # SQLite's own limit


class CheckedFile:
    """The file that the connections of one event loop have opened; its methods run in their threads.

    Args:
        file: where it is.
        table: the cache's table, which must be in it.
        value_bytes: returns the size of the largest value; SQLite is told not to read larger ones.
    """

    def __init__(self, file: CacheFile, table: Table, value_bytes: Callable[[], int]) -> None:
        self.is_writable: bool = not file.read_only
        """Whether the file can be written, as far as is known."""
        self.table = table
        self._file = file
        self._value_bytes = value_bytes
        self._identity: Identity | None = None
        self._is_frozen = False
        self._checked_schema: int | None = None
        self._checked_at = -math.inf

    def note_writer(self) -> None:
        """Note that the writer has opened the file."""
        self._identity = self._file.identity()

    def note_reader(self, connection: sqlite3.Connection) -> None:
        """Note that the reader has opened the file by *connection*, and check its tables.

        Raises:
            ConnectionsLostError: it is not the file that the writer has opened.
            StorageError: it has no tables of ours, and cannot be written.
        """
        self._is_frozen = getattr(connection, "is_frozen", False)
        identity = self._file.identity(frozen=self._is_frozen)
        if self._identity is not None and identity != self._identity:
            raise ConnectionsLostError(f"{self._file.path} was replaced while it was being opened", "replaced")
        self._identity = identity
        self._inspect(connection)

    def run(self, job: Job, connection: sqlite3.Connection, *, is_opening: bool = False) -> Any:
        """Run *job*, after checking the file and its tables if that was not done for `FILE_CHECK_S`.

        If the file is found to be damaged, it is set aside.

        Args:
            is_opening: *job* opens the file, so that there is nothing to check yet.

        Raises:
            ConnectionsLostError: the file was deleted, replaced, altered or set aside.
        """
        try:
            if not is_opening:
                self._check(connection)
            return job(connection)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
            damage = damage_in(exc, connection, self.table)
            if damage is not None and self.is_writable:
                raise self._file.set_aside(self._identity) from damage
            raise

    def check_identity(self) -> None:
        """Raise ConnectionsLostError if the file is not the one that was opened."""
        if self._file.identity(frozen=self._is_frozen) != self._identity:
            raise ConnectionsLostError(f"{self._file.path} was deleted or replaced", "replaced")

    def _check(self, connection: sqlite3.Connection) -> None:
        largest = min(self._value_bytes() + BESIDE_FRAME_BYTES, MAX_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, largest)
        now = monotonic()
        if now - self._checked_at > FILE_CHECK_S:
            self.check_identity()
            self._inspect(connection)
            self._checked_at = now

    def _inspect(self, connection: sqlite3.Connection) -> None:
        """Check that the file has our tables, unless its schema has not changed since the last check."""
        if self._file.is_memory:
            return
        schema: int = connection.execute("PRAGMA schema_version").fetchone()[0]
        if schema == self._checked_schema:
            return
        if is_prepared(connection, self.table):
            self._checked_schema = schema
        elif self.is_writable:
            raise ConnectionsLostError(f"{self._file.path} has lost its tables", "replaced")
        else:
            why = "is opened to be read only" if self._file.read_only else "cannot be written"
            raise StorageError(f"{self._file.path} has no tables of this version, and {why}")
