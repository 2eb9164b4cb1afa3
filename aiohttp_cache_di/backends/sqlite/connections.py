"""One event loop's connections to a cache file: how they are opened, watched, given up and closed.

There is a writer and a reader with a thread each. Nothing here is a task: jobs go to the threads and come back by
callback, so that a waiter who is cancelled takes no other with it, and a program that forgets to close has nothing
pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final, Literal

from aiohttp_cache_di.backends.sqlite.file.failing import (
    ConnectionsLostError,
    asks_for_new_connections,
    damage_in,
    damage_of,
    forbids_writing,
    is_damage,
    set_aside,
)
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile, Identity, storage_error
from aiohttp_cache_di.backends.sqlite.file.inspection import is_prepared
from aiohttp_cache_di.backends.sqlite.file.opening import open_for_reading
from aiohttp_cache_di.backends.sqlite.file.schema import MAX_KEY_BYTES, Table
from aiohttp_cache_di.backends.sqlite.file.thread import Done, Job, JobConnection, Worker
from aiohttp_cache_di.backends.sqlite.shared.generation import CHECK_EVERY_S, Generations
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.backends.sqlite.writing import lease_table
from aiohttp_cache_di.backends.sqlite.writing.writes import (
    Call,
    Transaction,
    TransactionJob,
    Write,
    WriteQueue,
    commit,
    fail,
)
from aiohttp_cache_di.backends.wrap.tasks import consume_error
from aiohttp_cache_di.errors import StorageError

__all__ = ["Connections"]

FILE_CHECK_S: Final = 0.1  # how long a file that was deleted, replaced or altered may be read and written unnoticed
BESIDE_FRAME_BYTES: Final = 2 * MAX_KEY_BYTES  # of a row: its key, and some numbers
MAX_BYTES: Final = 1_000_000_000  # SQLite's own limit
DRAIN_S: Final = 5.0  # how long closing waits for what is to be written


class Connections:
    """The connections of one event loop.

    Args:
        file: what to connect to.
        table: what must be there.
        generations: of the file.
        value_bytes: tells the size beyond which no value is read; a larger one is not even looked at.
        leases: of the store, some of which are given back with what is written.
        connect: opens the file to read and write.
    """

    def __init__(
        self,
        file: CacheFile,
        table: Table,
        generations: Generations,
        value_bytes: Callable[[], int],
        leases: Leases,
        connect: Callable[[], JobConnection],
    ) -> None:
        self.file = file
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closing: bool = False
        self.closed: bool = False
        self.writable: bool = not file.read_only
        self.made_at: float = self.loop.time()
        self.writes: WriteQueue = WriteQueue(self, table, generations, leases.release)
        self.lost: Literal["damaged", "replaced"] | None = None
        """What has become of the file (deleted counts as replaced), so that its entries are gone."""
        self._table = table
        self._value_bytes = value_bytes
        self._generations = generations
        self._leases = leases
        self._connect = connect
        self._identity: Identity | None = None
        self._sound_schema: int | None = None
        self._is_frozen = False
        self._checked_at = -math.inf
        self._bounded_at = -math.inf
        self._is_checking = False
        self._next_check: asyncio.TimerHandle | None = None
        self._writer: Worker | None = None
        self._reader: Worker | None = None

    # ---- opening and closing

    def open(self) -> None:
        """Begin to open; `opened` tells when it is done, or why it cannot be."""
        if self.writable:
            self._writer = Worker(self._connect, self.loop)
            self._writer.submit(lambda each: self._watched(self._prepare_writer, each), self._writer_opened)
        else:
            self._open_reader()

    def retire(self, *, replaced: bool = False) -> None:
        """Use these connections no more; what is under way ends, what waits fails with `ConnectionsLostError`.

        Args:
            replaced: another file has taken the place of the one that is open.
        """
        if self.closed:
            return
        self.closed = True
        self._let_go(replaced)
        if not self.loop.is_closed():
            self._stop_checking()
            self.writes.give_up(ConnectionsLostError("the connection to the cache file was given up"))

    async def close(self, *, with_leases: bool = False) -> None:
        """Finish what is under way, close the connections and end their threads.

        Args:
            with_leases: and give the leases of the store back, when all is written.
        """
        if not self.opened.done():
            await asyncio.wait([self.opened], timeout=DRAIN_S)
            if not self.opened.done():
                self.retire()
        if self.closed:
            return
        self.closing = True
        try:
            await asyncio.wait_for(self.writes.drain(), DRAIN_S)
        except TimeoutError:
            self.writes.give_up(StorageError(f"{self.file.known_path} was closed before all was written"))
        self.closed = True
        self._stop_checking()
        if with_leases and self._reader is not None:
            self._reader.submit(lambda _: self._leases.close(), _ignore)
        # The writer last: the last one to close a file folds the log into it and removes the log.
        for worker in dict.fromkeys((self._reader, self._writer)):
            if worker is not None:
                await worker.finish()

    def after_fork(self) -> None:
        """Forget the connections in a forked child: they are the parent's."""
        self.closed = True

    def _let_go(self, replaced: bool) -> None:
        """Close the connections without waiting.

        The last one to close a file, with a right to write it, deletes its log by name, and the log of that name may be
        another file's by now. So the writer of a file that was replaced is closed while the reader still has the
        file open, and if there is none, never.
        """
        writer, reader = self._writer, self._reader
        if replaced and writer is not None:
            if reader is None or reader is writer:
                writer.abandon()
            writer.stop(then=None if reader is None else reader.stop)
            return
        for worker in (reader, writer):
            if worker is not None:
                worker.stop()

    def _prepare_writer(self, connection: sqlite3.Connection) -> None:
        self._identity = self.file.identity()
        # A file that is locked just now is not held against it: these leases are void anyway, and counters can wait.
        with contextlib.suppress(sqlite3.OperationalError):
            lease_table.drop_dead(connection)
            if not self.file.is_memory and not self._generations.check(connection):
                commit(connection, [Call(Transaction.changing)], self._table, self._generations)

    def _writer_opened(self, _: object, error: BaseException | None) -> None:
        if error is None:
            self._open_reader()
            return
        if forbids_writing(error) and self._writer is not None:
            self._writer.stop()
            self._writer = None
            self.writable = False
            self._open_reader()
            return
        self._failed_to_open(error)

    def _open_reader(self) -> None:
        if self.file.is_memory:
            self._reader = self._writer
            self._reader_opened(None, None)
            return
        self._reader = Worker(partial(open_for_reading, self.file), self.loop)
        self._reader.submit(lambda each: self._watched(self._prepare_reader, each), self._reader_opened)

    def _prepare_reader(self, connection: sqlite3.Connection) -> None:
        self._is_frozen = getattr(connection, "is_frozen", False)
        identity = self.file.identity(frozen=self._is_frozen)
        if self._identity is not None and identity != self._identity:
            raise ConnectionsLostError(f"{self.file.path} was replaced while it was being opened", "replaced")
        self._identity = identity
        self._inspect(connection)
        with contextlib.suppress(sqlite3.OperationalError):
            self._generations.check(connection)

    def _inspect(self, connection: sqlite3.Connection) -> None:
        """See that the file has what we have put there, unless its schema is the one that was seen before."""
        if self.file.is_memory:
            return
        schema: int = connection.execute("PRAGMA schema_version").fetchone()[0]
        if schema == self._sound_schema:
            return
        if is_prepared(connection, self._table):
            self._sound_schema = schema
        elif self.writable:
            raise ConnectionsLostError(f"{self.file.path} has lost its tables", "replaced")
        else:
            why = "is opened to be read only" if self.file.read_only else "cannot be written"
            raise StorageError(f"{self.file.path} has no tables of this version, and {why}")

    def _reader_opened(self, _: object, error: BaseException | None) -> None:
        if error is not None:
            self._failed_to_open(error)
        elif not self.opened.done():
            self.opened.set_result(None)

    def _failed_to_open(self, error: BaseException) -> None:
        self.closed = True
        if isinstance(error, ConnectionsLostError):
            self.lost = error.reason
        self._let_go(replaced=isinstance(error, ConnectionsLostError) or is_damage(error))
        if not self.opened.done():
            self.opened.set_exception(self._translated(error))
            self.opened.exception()  # a waiter gets it, if there is one

    # ---- reading and writing

    def query(self, job: Job) -> asyncio.Future[Any]:
        """Run a reading *job*."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:
                fail([future], self.dealt_with(error))
            elif not future.done():
                future.set_result(result)

        self.ask(job, done)
        return future

    def ask(self, job: Job, done: Done) -> None:
        """Run a reading *job*, then ``done(result, error)`` in the loop; see `dealt_with`."""
        self._check_if_wanted()  # before the job, so that the copy which is made of its answer can be believed at once
        self.submit(job, done, checked=True)

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Write records, or take or release a lease; see `WriteQueue`."""
        if not self.writable:
            raise StorageError(f"{self.file.path} cannot be written: it, or its directory, is read-only")
        self._check_if_wanted()
        return self.writes.write(write)

    def call(self, job: TransactionJob) -> asyncio.Future[Any]:
        """Run *job* in a transaction, after the writes before it and before those that follow."""
        return self.write(Call(job))

    def submit(self, job: Job, done: Done, *, writing: bool = False, checked: bool = False) -> None:
        """Run *job* in the thread of the reader or the writer, then ``done(result, error)`` in the loop.

        Args:
            checked: see before it whether the file is still the one that was opened.
        """
        worker = self._writer if writing else self._reader
        if self.closed or worker is None:
            done(None, ConnectionsLostError("the connection to the cache file is closed"))
        else:
            worker.submit(partial(self._watched, job, checked=checked), done)

    def _watched(self, job: Job, connection: sqlite3.Connection, *, checked: bool = False) -> Any:
        """Run *job* in a connection's thread, and set the file aside if it turns out to be damaged."""
        try:
            now = monotonic()
            if not checked or now - self._bounded_at > FILE_CHECK_S:
                largest = min(self._value_bytes() + BESIDE_FRAME_BYTES, MAX_BYTES)
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, largest)
                self._bounded_at = now if checked else self._bounded_at
            if checked and now - self._checked_at > FILE_CHECK_S:
                self.check_file(connection)
            return job(connection)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
            damage = damage_in(exc, connection, self._table)
            if damage is not None and self.writable:
                raise set_aside(self.file, self._identity) from damage
            raise

    def check_file(self, connection: sqlite3.Connection) -> None:
        """See now and then, in its thread, whether the file of *connection* is the one that was opened, and ours."""
        now = time.monotonic()
        if now - self._checked_at > FILE_CHECK_S:
            if self.file.identity(frozen=self._is_frozen) != self._identity:
                raise ConnectionsLostError(f"{self.file.path} was deleted or replaced", "replaced")
            self._inspect(connection)
            self._checked_at = now

    def dealt_with(self, error: BaseException, *, writing: bool = False) -> StorageError:
        """Do what *error* asks for (give the connections up, forget the counters) and say what happened."""
        if isinstance(error, ConnectionsLostError):
            self.lost = self.lost or (None if self.closed else error.reason)
            self._generations.distrust()
            self.retire(replaced=True)
        elif is_damage(error):
            self._generations.distrust()
            self.retire(replaced=True)
        elif self.closed and isinstance(error, sqlite3.ProgrammingError):
            # It was with a thread, and not yet begun, when the connections were given up.
            return ConnectionsLostError("the connection to the cache file was given up")
        elif asks_for_new_connections(error, writing=writing):
            self._generations.distrust()
            self.retire()
        return self._translated(error)

    def _translated(self, error: BaseException) -> StorageError:
        if isinstance(error, StorageError):
            return error
        translated = storage_error(error, self.file)
        translated.__cause__ = damage_of(error) or error
        return translated

    # ---- the counters

    def _check_if_wanted(self) -> None:
        if self._next_check is None and self._generations.is_wanted and not self.closed:
            self._check_generations()

    def _check_generations(self) -> None:
        """Have the counters checked, and again while copies are asked about."""
        self._next_check = self.loop.call_later(CHECK_EVERY_S, self._check_again)
        if not self._is_checking and self._reader is not None and not self.file.is_memory:
            self._is_checking = True
            self.submit(self._check, self._checked)

    def _check_again(self) -> None:
        self._next_check = None
        self._check_if_wanted()

    def _check(self, connection: sqlite3.Connection) -> bool:
        if self.file.identity(frozen=self._is_frozen) != self._identity:
            raise ConnectionsLostError(f"{self.file.path} was deleted or replaced", "replaced")
        return self._generations.check(connection)

    def _checked(self, is_tied: bool | None, error: BaseException | None) -> None:
        self._is_checking = False
        if error is not None:
            self.dealt_with(error)
        elif not is_tied and self.writable and not self._generations.is_untied and not self.closing:
            self.call(Transaction.changing).add_done_callback(consume_error)  # makes the counters that are missing

    def _stop_checking(self) -> None:
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None


def _ignore(result: object, error: BaseException | None) -> None:
    """Take no notice of the end of a job."""
