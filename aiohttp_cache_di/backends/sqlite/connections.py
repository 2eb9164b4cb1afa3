"""One event loop's connections to a cache file: how they are opened, watched, given up and closed.

Nothing here is a task: batches go to the connections' threads and come back by callback, so that a waiter who is
cancelled takes nobody with it, and a program that forgets to close has nothing pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from typing import Any, Final, Literal

from aiohttp_cache_di.backends.sqlite import statements as jobs
from aiohttp_cache_di.backends.sqlite.files import CacheFile, Identity, is_corruption, storage_error
from aiohttp_cache_di.backends.sqlite.generation import Gate, Tier
from aiohttp_cache_di.backends.sqlite.reads import LinkLostError, ReadQueue, Tables
from aiohttp_cache_di.backends.sqlite.schema import Found, Key, Table, open_for_reading, open_for_writing, unpack_key
from aiohttp_cache_di.backends.sqlite.thread import Done, Job, JobConnection, Worker
from aiohttp_cache_di.backends.sqlite.writes import Write, WriteQueue
from aiohttp_cache_di.errors import StorageError

__all__ = ["Link", "LinkLostError"]

FILE_CHECK_S: Final = 0.1  # how long a file that was deleted or replaced may be read and written unnoticed

_CANNOT_WRITE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_GONE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTFOUND})


class Link:
    """The connections of one event loop: a writer and a reader with a thread each, and a gate without one.

    Args:
        file: what to connect to.
        tables: what must be there.
        near_bytes: how much each table's near tier may hold.
        fast_save: do not wait for the disk, at the price of a damaged file after a power cut.
    """

    def __init__(self, file: CacheFile, tables: list[Table], *, near_bytes: int, fast_save: bool) -> None:
        self.file = file
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closing = False
        self.closed = False
        self.writable = not file.read_only
        self.made_at = self.loop.time()
        # Without a file there is no gate, which alone hears of writes whose callers wait no more.
        self.tiers = {table: Tier(table, near_bytes if file.path else 0) for table in tables}
        self.gate: Gate | None = None
        self._tables = tables
        self._identity: Identity | None = None
        self._frozen = False
        self._checked_at = -math.inf
        self.writes = WriteQueue(self)
        self._reads = ReadQueue(self)
        self._writer: Worker | None = None
        self._reader: Worker | None = None
        self._fast_save = fast_save
        self.lost: Literal["damaged", "replaced"] | None = None
        """What has become of the file (deleted counts as replaced), so that its entries are gone."""

    # ---- opening and closing

    def open(self) -> None:
        """Begin to open; `opened` tells when it is done, or why it cannot be."""
        if self.writable:
            self._writer = Worker(
                lambda: open_for_writing(self.file, self._tables, fast_save=self._fast_save), self.loop
            )
            self._writer.submit(self._prepare_writer, self._writer_opened)
        else:
            self._open_reader()

    def retire(self, *, replaced: bool = False) -> None:
        """Use these connections no more; what is under way ends, what waits fails with `LinkLostError`.

        Args:
            replaced: another file has taken the place of the one that is open.
        """
        if self.closed:
            return
        self.closed = True
        self._let_go(replaced)
        if self.loop.is_closed():
            return  # nobody is left who could be told
        lost = LinkLostError("the connection to the cache file was given up")
        self._reads.give_up(lost)
        self.writes.give_up(lost)

    async def close(self) -> None:
        """Finish what is under way, close the connections and end their threads."""
        if not self.opened.done():
            with contextlib.suppress(StorageError):
                await asyncio.shield(self.opened)
        if self.closed:
            return
        self.closing = True
        await self.writes.drain()
        self.closed = True
        if self.gate is not None:
            self.gate.close()
        # The writer last: whoever closes a file last folds the log into it and removes the log.
        for worker in sorted(self._workers(), key=lambda worker: worker is self._writer):
            await worker.finish()

    def abandon(self) -> None:
        """Never touch the connections again, in a forked child."""
        self.closed = True
        if self.gate is not None:
            self.gate.abandon()

    def _let_go(self, replaced: bool) -> None:
        """Close the connections without waiting.

        Whoever closes a file last, with a right to write it, deletes its log by name, and the log of that name may be
        another file's by now. So the writer of a file that was replaced is closed while the others still have the
        file open, and if there are no others, never.
        """
        if not replaced or self._writer is None:
            self._close_readers()
        elif self.gate is None and self._reader is None:
            self._writer.abandon()
        else:
            self._writer.stop(then=self._close_readers)
        if self._writer is not None:
            self._writer.stop()

    def _close_readers(self) -> None:
        if self.gate is not None:
            self.gate.close()
        if self._reader is not None:
            self._reader.stop()

    def _workers(self) -> list[Worker]:
        return [worker for worker in dict.fromkeys((self._reader, self._writer)) if worker is not None]

    def _prepare_writer(self, connection: sqlite3.Connection) -> None:
        self._identity = self.file.identity()
        # A file that is locked just now is not held against it: these leases are void anyway.
        with contextlib.suppress(sqlite3.OperationalError):
            jobs.drop_dead_leases(connection, time.time())

    def _writer_opened(self, _: object, error: BaseException | None) -> None:
        if error is None:
            self._open_reader()
            return
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        if isinstance(error, PermissionError | OSError) and not isinstance(error, sqlite3.Error):
            code = sqlite3.SQLITE_CANTOPEN
        if code in _CANNOT_WRITE and self._writer is not None:
            self._writer.stop()
            self._writer = None
            self.writable = False
            self._open_reader()
            return
        self._failed_to_open(error)

    def _open_reader(self) -> None:
        if self.file.path is None:
            self._reader = self._writer
            self._reader_opened(None, None)
            return
        self._reader = Worker(self._connect_reader, self.loop)
        self._reader.submit(self._note_identity, self._reader_opened)

    def _connect_reader(self) -> JobConnection:
        connection, self._frozen = open_for_reading(self.file)
        return connection

    def _note_identity(self, connection: sqlite3.Connection) -> None:
        identity = self.file.identity(frozen=self._frozen)
        if self._identity is not None and identity != self._identity:
            raise LinkLostError(f"{self.file.path} was replaced while it was being opened")
        self._identity = identity

    def _reader_opened(self, _: object, error: BaseException | None) -> None:
        if error is None and self.file.path is not None and not self.closed:
            try:
                self.gate = Gate(self.file, list(self.tiers.values()))
            except sqlite3.Error:
                self.gate = None  # no near tier then; every read asks the file
        if error is not None:
            self._failed_to_open(error)
        elif not self.opened.done():
            self.opened.set_result(None)

    def _failed_to_open(self, error: BaseException) -> None:
        self.closed = True
        damaged = is_corruption(error) and self.writable
        if damaged:
            error = self._set_aside(error)
        self._let_go(replaced=damaged or isinstance(error, LinkLostError))
        if not self.opened.done():
            self.opened.set_exception(self._translated(error))
            self.opened.exception()  # whoever waits gets it; nobody need

    def _set_aside(self, error: BaseException) -> BaseException:
        try:
            self.file.set_aside(self._identity or self.file.identity())
        except StorageError as exc:
            return exc
        self.lost = "damaged"
        lost = LinkLostError(f"{self.file.path} was damaged")
        lost.__cause__ = error
        return lost

    # ---- the near tier

    def is_current(self) -> bool:
        """Whether what the tiers hold now is what the file has; asks the file, and never waits."""
        return self.gate is not None and self.gate.is_open()

    def note_deletion(self, table: Table, deletion: jobs.Deletion) -> None:
        """Take note of rows that we have deleted."""
        tier = self.tiers[table]
        for row_id, key in deletion.rows:
            tier.bury(unpack_key(key), row_id)
        if self.gate is not None:
            self.gate.deleted(deletion)

    # ---- reading and writing

    def fetch(self, tables: Tables, key: Key) -> asyncio.Future[Found | None]:
        """Read a row; see `ReadQueue`."""
        return self._reads.fetch(tables, key)

    def query(self, job: Job) -> asyncio.Future[Any]:
        """Run a reading *job*."""
        return self._reads.query(job)

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Write a row, or take or release a lease; see `WriteQueue`."""
        self._refuse_if_read_only()
        return self.writes.write(write)

    def call(self, job: Job) -> asyncio.Future[Any]:
        """Run *job* in a transaction, after the writes before it and before those that follow."""
        self._refuse_if_read_only()
        return self.writes.call(job)

    def submit(self, job: Job, done: Done, *, writing: bool = False) -> None:
        """Run *job* in the thread of the reader or the writer, then ``done(result, error)`` in the loop."""
        worker = self._writer if writing else self._reader
        if self.closed or worker is None:
            done(None, LinkLostError("the connection to the cache file is closed"))
        else:
            worker.submit(job, done)

    def check_file(self) -> None:
        """See now and then, in a connection's thread, whether the file is still the one that was opened."""
        now = time.monotonic()
        if now - self._checked_at > FILE_CHECK_S:
            if self.file.identity(frozen=self._frozen) != self._identity:
                raise LinkLostError(f"{self.file.path} was deleted or replaced")
            self._checked_at = now

    def dealt_with(self, error: BaseException, *, writing: bool = False) -> StorageError:
        """Do what *error* asks for (give the connections up, set the file aside) and say what happened."""
        if is_corruption(error):
            error = self._set_aside(error) if self.writable else error
            self.retire(replaced=True)
        elif isinstance(error, LinkLostError):
            self.lost = self.lost or (None if self.closed else "replaced")
            self.retire(replaced=True)
        elif self.closed and isinstance(error, sqlite3.ProgrammingError):
            # It was with a thread, and not yet begun, when the connections were given up.
            return LinkLostError("the connection to the cache file was given up")
        elif (not writing and getattr(error, "sqlite_errorcode", 0) & 0xFF in _GONE) or "no such table" in str(error):
            self.retire()  # a new connection may find things in order, or will say what is wrong
        return self._translated(error)

    def _refuse_if_read_only(self) -> None:
        if not self.writable:
            raise StorageError(f"{self.file.path} cannot be written: it, or its directory, is read-only")

    def _translated(self, error: BaseException) -> StorageError:
        if isinstance(error, StorageError):
            return error
        translated = storage_error(error, self.file)
        translated.__cause__ = error
        return translated
