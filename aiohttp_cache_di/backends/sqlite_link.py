"""One event loop's connections to a cache file: reads in micro-batches, writes in group commits.

Nothing here is a task: batches go to the connections' threads and come back by callback, so that a waiter who is
cancelled takes nobody with it, and a program that forgets to close has nothing pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiohttp_cache_di.backends import sqlite_jobs as jobs
from aiohttp_cache_di.backends.sqlite_files import CacheFile, Identity, is_corruption, storage_error
from aiohttp_cache_di.backends.sqlite_near import Gate, Tier
from aiohttp_cache_di.backends.sqlite_schema import Key, Table, open_for_reading, open_for_writing, unpack_key
from aiohttp_cache_di.backends.sqlite_worker import Job, Worker
from aiohttp_cache_di.errors import StorageError

__all__ = ["Found", "Link", "LinkLostError", "Put"]

MAX_IN_FLIGHT: Final = 2  # read batches on their way; what comes meanwhile makes larger ones
FILE_CHECK_S: Final = 0.1  # how long a file that was deleted or replaced may be read and written unnoticed
MAX_GROUP: Final = 256  # writes in one transaction
MAX_GROUP_BYTES: Final = 4 * 1024 * 1024

Found: TypeAlias = "tuple[int, object] | None"
"""A row's id and what `Table.decode` made of its frame; None when there is none."""

_CANNOT_WRITE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_GONE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTFOUND})


class LinkLostError(StorageError):
    """The connections are of no more use; what was asked of them may be asked of new ones, once."""


@dataclass(slots=True)
class Put:
    """A row to be written; those of one table that follow each other are written by one statement."""

    table: Table
    row: jobs.Row
    future: asyncio.Future[int]


@dataclass(slots=True)
class Call:
    """Any other job within a transaction."""

    job: Job
    future: asyncio.Future[Any]


class Link:
    """The connections of one event loop: a writer and a reader with a thread each, and a gate without one.

    Args:
        file: what to connect to.
        tables: what must be there.
        near_bytes: how much each table's near tier may hold.
        fast_save: do not wait for the disk, at the price of a damaged file after a power cut.
        on_commit: called in the writer's thread after each commit with the number of rows and bytes written.
    """

    def __init__(self, file: CacheFile, tables: list[Table], *, near_bytes: int, fast_save: bool) -> None:
        self.file = file
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closing = False
        self.closed = False
        self.writable = not file.read_only
        self.made_at = self.loop.time()
        self.tiers = {table: Tier(table, near_bytes) for table in tables}
        self.gate: Gate | None = None
        self.after_commit: Callable[[int, int], None] = _ignore
        self._tables = tables
        self._identity: Identity | None = None
        self._frozen = False
        self._checked_at = -math.inf
        self._reads: dict[Table, dict[Key, list[asyncio.Future[Found]]]] = {}
        self._reads_in_flight = 0
        self._flush_scheduled = False
        self._writes: deque[Put | Call] = deque()
        self._writing = False
        self._idle: list[asyncio.Future[None]] = []
        self._writer: Worker | None = None
        self._reader: Worker | None = None
        self._fast_save = fast_save

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
        for waiting in self._reads.values():
            for futures in waiting.values():
                _fail(futures, lost)
        self._reads.clear()
        _fail([write.future for write in self._writes], lost)
        self._writes.clear()
        self._wake_idle()

    async def close(self) -> None:
        """Finish what is under way, close the connections and end their threads."""
        if not self.opened.done():
            with contextlib.suppress(StorageError):
                await asyncio.shield(self.opened)
        if self.closed:
            return
        self.closing = True
        while self._writing or self._writes:
            idle = self.loop.create_future()
            self._idle.append(idle)
            await idle
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

        Whoever closes a file last deletes its log by name, and the log of that name may be another file's by now. So
        one connection to a file that was replaced is never closed.
        """
        workers = self._workers()
        if replaced and self.gate is None:
            for worker in workers:
                worker.abandon()
        if self.gate is not None:
            self.gate.abandon() if replaced else self.gate.close()
        for worker in workers:
            worker.stop()

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

    def _connect_reader(self) -> sqlite3.Connection:
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
        lost = LinkLostError(f"{self.file.path} was damaged")
        lost.__cause__ = error
        return lost

    # ---- the near tier

    def is_current(self) -> bool:
        """Whether what the tiers hold now is what the file has; asks the file, and never waits."""
        if self.gate is not None:
            return self.gate.is_open()
        return self.file.path is None  # in memory, nobody else can write

    def note_deletion(self, table: Table, deletion: jobs.Deletion) -> None:
        """Take note of rows that we have deleted."""
        tier = self.tiers[table]
        for row_id, key in deletion.rows:
            tier.bury(unpack_key(key), row_id)
        if self.gate is not None:
            self.gate.deleted(deletion)

    # ---- reading

    def fetch(self, table: Table, key: Key) -> asyncio.Future[Found]:
        """Read a row: at once when nobody else is reading, else together with what is asked for in this tick."""
        future: asyncio.Future[Found] = self.loop.create_future()
        if self._reads_in_flight == 0 and not self._reads:
            self._send_lone(table, key, future)
            return future
        self._reads.setdefault(table, {}).setdefault(key, []).append(future)
        if not self._flush_scheduled and self._reads_in_flight < MAX_IN_FLIGHT:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush_reads)
        return future

    def query(self, job: Job) -> asyncio.Future[Any]:
        """Run a reading *job* of another kind."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if error is None:
                _resolve(future, result)
            else:
                self._read_failed([future], error)

        def checked(connection: sqlite3.Connection) -> Any:
            self._check_file()
            return job(connection)

        self._submit(self._reader, checked, done)
        return future

    def _flush_reads(self) -> None:
        self._flush_scheduled = False
        if self._reads:
            reads, self._reads = self._reads, {}
            self._send_reads(reads)

    def _send_lone(self, table: Table, key: Key, future: asyncio.Future[Found]) -> None:
        self._reads_in_flight += 1

        def job(connection: sqlite3.Connection) -> Found:
            self._check_file()
            return table.row(connection, key)

        def done(result: Found, error: BaseException | None) -> None:
            self._reads_in_flight -= 1
            if error is not None:
                self._read_failed([future], error)
                return
            if not future.done():
                future.set_result(result)
            if self._reads and not self._flush_scheduled:
                self._flush_reads()

        self._submit(self._reader, job, done)

    def _send_reads(self, reads: dict[Table, dict[Key, list[asyncio.Future[Found]]]]) -> None:
        self._reads_in_flight += 1

        def job(connection: sqlite3.Connection) -> list[tuple[Table, list[tuple[Key, int, object]]]]:
            self._check_file()
            return [(table, table.rows(connection, list(waiting))) for table, waiting in reads.items()]

        def done(result: list[tuple[Table, list[tuple[Key, int, object]]]] | None, error: BaseException | None) -> None:
            self._reads_in_flight -= 1
            if result is None:
                futures = [f for waiting in reads.values() for some in waiting.values() for f in some]
                self._read_failed(futures, error or LinkLostError("no answer"))
                return
            for table, rows in result:
                waiting = reads[table]
                for key, row_id, frame in rows:
                    for future in waiting.pop(key, ()):
                        _resolve(future, (row_id, frame))
                for futures in waiting.values():
                    for future in futures:
                        _resolve(future, None)
            if self._reads and not self._flush_scheduled:
                self._flush_reads()

        self._submit(self._reader, job, done)

    def _check_file(self) -> None:
        """See now and then, in a connection's thread, whether the file is still the one that was opened."""
        now = time.monotonic()
        if now - self._checked_at > FILE_CHECK_S:
            if self.file.identity(frozen=self._frozen) != self._identity:
                raise LinkLostError(f"{self.file.path} was deleted or replaced")
            self._checked_at = now

    def _read_failed(self, futures: Iterable[asyncio.Future[Any]], error: BaseException) -> None:
        _fail(futures, self._dealt_with(error, reading=True))
        if self._reads and not self.closed:
            self._flush_reads()

    # ---- writing

    def write(self, table: Table, row: jobs.Row) -> asyncio.Future[int]:
        """Write a row; the answer is its id, after the commit that it shares with what is written meanwhile."""
        future: asyncio.Future[int] = self.loop.create_future()
        self._enqueue(Put(table, row, future))
        return future

    def call(self, job: Job) -> asyncio.Future[Any]:
        """Run *job* in a transaction, after the writes before it and before those that follow."""
        future: asyncio.Future[Any] = self.loop.create_future()
        self._enqueue(Call(job, future))
        return future

    def _enqueue(self, write: Put | Call) -> None:
        if not self.writable:
            raise StorageError(f"{self.file.path} cannot be written: it, or its directory, is read-only")
        self._writes.append(write)
        if not self._writing:
            self._send_writes()

    def _send_writes(self) -> None:
        group: list[Put | Call] = []
        weight = 0
        while self._writes and len(group) < MAX_GROUP and weight < MAX_GROUP_BYTES:
            write = self._writes.popleft()
            if write.future.cancelled() and isinstance(write, Call):
                continue  # nobody waits for a lease any more; a row is worth keeping all the same
            group.append(write)
            weight += len(write.row[3]) if isinstance(write, Put) else 0
        if not group:
            self._wake_idle()
            return
        self._writing = True

        def done(results: list[Any] | None, error: BaseException | None) -> None:
            self._writing = False
            if results is None:
                _fail(
                    [write.future for write in group],
                    self._dealt_with(error or LinkLostError("no answer"), reading=False),
                )
            else:
                for write, result in zip(group, results, strict=True):
                    _resolve(write.future, result)
                self.after_commit(sum(isinstance(write, Put) for write in group), weight)
            if not self.closed:
                self._send_writes()

        def job(connection: sqlite3.Connection) -> list[Any]:
            self._check_file()
            return _commit(connection, group)

        self._submit(self._writer, job, done)

    def _wake_idle(self) -> None:
        idle, self._idle = self._idle, []
        for future in idle:
            _resolve(future, None)

    # ---- both

    def _submit(self, worker: Worker | None, job: Job, done: Callable[[Any, BaseException | None], None]) -> None:
        if self.closed or worker is None:
            done(None, LinkLostError("the connection to the cache file is closed"))
        else:
            worker.submit(job, done)

    def _dealt_with(self, error: BaseException, *, reading: bool) -> StorageError:
        """Do what *error* asks for (give the connections up, set the file aside) and say what happened."""
        if is_corruption(error):
            error = self._set_aside(error) if self.writable else error
            self.retire(replaced=True)
        elif isinstance(error, LinkLostError):
            self.retire(replaced=True)
        elif (reading and getattr(error, "sqlite_errorcode", 0) & 0xFF in _GONE) or "no such table" in str(error):
            self.retire()  # a new connection may find things in order, or will say what is wrong
        return self._translated(error)

    def _translated(self, error: BaseException) -> StorageError:
        if isinstance(error, StorageError):
            return error
        translated = storage_error(error, self.file)
        translated.__cause__ = error
        return translated


def _commit(connection: sqlite3.Connection, group: list[Put | Call]) -> list[Any]:
    results: list[Any] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        start = 0
        while start < len(group):
            first = group[start]
            if isinstance(first, Call):
                results.append(first.job(connection))
                start += 1
                continue
            rows: list[jobs.Row] = []
            for write in group[start:]:
                if not isinstance(write, Put) or write.table is not first.table:
                    break
                rows.append(write.row)
            last = jobs.put_all(connection, first.table, rows)
            results += range(last - len(rows) + 1, last + 1)
            start += len(rows)
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, and says so by another.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return results


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(futures: Iterable[asyncio.Future[Any]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _ignore(rows: int, weight: int) -> None:
    """Take no notice of commits."""
