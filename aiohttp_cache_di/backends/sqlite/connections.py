"""One event loop's connections to a cache file: how they are opened, checked, given up and closed.

There is a writer and a reader, each on a thread of its own. Jobs are sent to the threads and answered by callbacks, not
awaited in tasks: cancelling one waiter cancels no other, and a program that forgets to close leaves no pending task.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

from aiohttp_cache_di.backends.sqlite.file.checked import CheckedFile
from aiohttp_cache_di.backends.sqlite.file.failing import (
    ConnectionsLostError,
    asks_for_new_connections,
    forbids_writing,
    is_damage,
    storage_error,
)
from aiohttp_cache_di.backends.sqlite.file.files import CacheFile
from aiohttp_cache_di.backends.sqlite.file.opening import open_for_reading
from aiohttp_cache_di.backends.sqlite.file.thread import Done, Job, JobConnection, Worker
from aiohttp_cache_di.backends.sqlite.shared.generation import CHECK_EVERY_S, Generations
from aiohttp_cache_di.backends.sqlite.shared.leases import Leases
from aiohttp_cache_di.backends.sqlite.writing import lease_table
from aiohttp_cache_di.backends.sqlite.writing.room import Room
from aiohttp_cache_di.backends.sqlite.writing.writes import (
    Call,
    Transaction,
    TransactionJob,
    Write,
    WriteQueue,
    commit,
    fail,
)
from aiohttp_cache_di.backends.tasks import consume_error
from aiohttp_cache_di.errors import StorageError

__all__ = ["Connections"]

CLOSE_S: Final = 5.0  # how long closing waits for pending writes and for the jobs of both threads, together


class Connections:
    """The connections of one event loop.

    Args:
        file: the file to connect to.
        checked: the checks of that file.
        generations: the file's generations.
        leases: the store's leases; those of leased records are released after the commit.
        connect: opens the file to read and write.
    """

    def __init__(
        self,
        file: CacheFile,
        checked: CheckedFile,
        generations: Generations,
        leases: Leases,
        connect: Callable[[], JobConnection],
    ) -> None:
        self.file = file
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.closing: bool = False
        self.closed: bool = False
        self.made_at: float = self.loop.time()
        self.writes: WriteQueue = WriteQueue(self, checked.table, generations, Room(file), leases.release)
        self.lost: Literal["damaged", "replaced"] | None = None
        """Why the entries of the file are gone, if they are; deleted counts as replaced."""
        self._checked_file = checked
        self._generations = generations
        self._leases = leases
        self._connect = connect
        self._is_checking = False
        self._next_check: asyncio.TimerHandle | None = None
        self._writer: Worker | None = None
        self._reader: Worker | None = None

    @property
    def writable(self) -> bool:
        """Whether there is, or will be, a writer."""
        return self._checked_file.is_writable

    # ---- opening and closing

    def open(self) -> None:
        """Begin to open the connections; `opened` gets the outcome."""
        if self.writable:
            self._writer = Worker(self._connect, self.loop)
            self._writer.submit(
                partial(self._checked_file.run, self._prepare_writer, is_opening=True), self._writer_opened
            )
        else:
            self._open_reader()

    def retire(self, *, replaced: bool = False) -> None:
        """Give the connections up: jobs under way end, waiting writes fail with `ConnectionsLostError`.

        Args:
            replaced: another file is in the place of the open one.
        """
        if self.closed:
            return
        self.closed = True
        self._close_soon(replaced)
        if not self.loop.is_closed():
            self._stop_checking()
            self.writes.give_up(ConnectionsLostError("the connection to the cache file was given up"))

    async def close(self, *, with_leases: bool = False) -> None:
        """Finish pending writes, close the connections and end their threads.

        Args:
            with_leases: also release the store's leases, after the writes.
        """
        until = self.loop.time() + CLOSE_S
        if not self.opened.done():
            await asyncio.wait([self.opened], timeout=CLOSE_S)
            if not self.opened.done():
                self.retire()
        if self.closed:
            return
        self.closing = True
        try:
            async with asyncio.timeout_at(until):
                await self.writes.drain()
        except TimeoutError:
            self.writes.give_up(StorageError(f"{self.file.known_path} was closed before all entries were written"))
        self.closed = True
        self._stop_checking()
        if with_leases and self._reader is not None:
            self._reader.submit(lambda _: self._leases.close(), _ignore)
        # The writer last: the last connection that closes checkpoints the write-ahead log and deletes it.
        for worker in dict.fromkeys((self._reader, self._writer)):
            if worker is not None:
                await worker.finish(until)

    def after_fork(self) -> None:
        """Forget the connections in a forked child: they belong to the parent."""
        self.closed = True

    def _close_soon(self, replaced: bool) -> None:
        """Close the connections without waiting.

        The last writable connection that closes deletes the write-ahead log by name, and after a replacement that name
        may belong to the new file's log. So the writer of a replaced file is closed while the reader still has the file
        open; without a reader it is never closed.
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
        self._checked_file.note_writer()
        # A locked file is no reason to fail: dead leases are void anyway, and the counters can be checked later.
        with contextlib.suppress(sqlite3.OperationalError):
            lease_table.drop_dead(connection)
            if not self.file.is_memory and not self._generations.check(connection):
                commit(connection, [Call(Transaction.changing)], self._checked_file.table, self._generations)

    def _writer_opened(self, _: object, error: BaseException | None) -> None:
        if error is None:
            self._open_reader()
            return
        if forbids_writing(error) and self._writer is not None:
            self._writer.stop()
            self._writer = None
            self._checked_file.is_writable = False
            self._open_reader()
            return
        self._failed_to_open(error)

    def _open_reader(self) -> None:
        if self.file.is_memory:
            self._reader = self._writer
            self._reader_opened(None, None)
            return
        self._reader = Worker(partial(open_for_reading, self.file), self.loop)
        self._reader.submit(partial(self._checked_file.run, self._prepare_reader, is_opening=True), self._reader_opened)

    def _prepare_reader(self, connection: sqlite3.Connection) -> None:
        self._checked_file.note_reader(connection)
        with contextlib.suppress(sqlite3.OperationalError):  # as in `_prepare_writer`
            self._generations.check(connection)

    def _reader_opened(self, _: object, error: BaseException | None) -> None:
        if error is not None:
            self._failed_to_open(error)
        elif not self.opened.done():
            self.opened.set_result(None)

    def _failed_to_open(self, error: BaseException) -> None:
        self.closed = True
        if isinstance(error, ConnectionsLostError):
            self.lost = error.reason
        self._close_soon(replaced=isinstance(error, ConnectionsLostError) or is_damage(error))
        if not self.opened.done():
            self.opened.set_exception(self._translated(error))
            self.opened.exception()  # marks it as retrieved: there may be no waiter

    # ---- reading and writing

    def query(self, job: Job) -> asyncio.Future[Any]:
        """Run *job* in the reader's thread, unless the future is cancelled before its turn."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def run(connection: sqlite3.Connection) -> Any:
            # Else jobs that nothing waits for any more would delay the next one, after a thread that was stuck.
            return None if future.cancelled() else job(connection)

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:
                fail([future], self.dealt_with(error))
            elif not future.done():
                future.set_result(result)

        self.ask(run, done)
        return future

    def ask(self, job: Job, done: Done) -> None:
        """Run *job* in the reader's thread, then ``done(result, error)`` in the loop; see `dealt_with`."""
        self._check_if_wanted()  # before the job, so that a copy of its answer is valid at once
        self.submit(job, done)

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Queue *write*; see `WriteQueue`."""
        if not self.writable:
            raise StorageError(f"{self.file.path} cannot be written: it, or its directory, is read-only")
        self._check_if_wanted()
        return self.writes.write(write)

    def call(self, job: TransactionJob) -> asyncio.Future[Any]:
        """Run *job* in a transaction, in the order of the queue."""
        return self.write(Call(job))

    def submit(self, job: Job, done: Done, *, writing: bool = False) -> None:
        """Run *job* in the thread of the reader or the writer, then ``done(result, error)`` in the loop.

        The job fails if the file is no longer the one that was opened; see `CheckedFile`.
        """
        worker = self._writer if writing else self._reader
        if self.closed or worker is None:
            done(None, ConnectionsLostError("the connection to the cache file is closed"))
        else:
            worker.submit(partial(self._checked_file.run, job), done)

    # ---- errors

    def dealt_with(self, error: BaseException, *, writing: bool = False) -> StorageError:
        """Give the connections up and distrust the counters if *error* calls for it; return it as a `StorageError`."""
        if isinstance(error, ConnectionsLostError) and not self.closed:
            self.lost = self.lost or error.reason
        if isinstance(error, ConnectionsLostError) or is_damage(error):
            self._generations.distrust()
            self.retire(replaced=True)
        elif self.closed and isinstance(error, sqlite3.ProgrammingError):
            # The job was in a thread's queue, not yet begun, when the connections were given up.
            return ConnectionsLostError("the connection to the cache file was given up")
        elif asks_for_new_connections(error, writing=writing):
            self._generations.distrust()
            self.retire()
        return self._translated(error)

    def _translated(self, error: BaseException) -> StorageError:
        return error if isinstance(error, StorageError) else storage_error(error, self.file.label)

    # ---- the counters

    def _check_if_wanted(self) -> None:
        """Check the counters if versions are asked for, every `CHECK_EVERY_S` at most."""
        if self._next_check is None and self._generations.is_wanted and not self.closed:
            self._next_check = self.loop.call_later(CHECK_EVERY_S, self._check_again)
            if not self._is_checking and self._reader is not None and not self.file.is_memory:
                self._is_checking = True
                self.submit(self._check, self._checked)

    def _check_again(self) -> None:
        self._next_check = None
        self._check_if_wanted()

    def _check(self, connection: sqlite3.Connection) -> bool:
        self._checked_file.check_identity()
        return self._generations.check(connection)

    def _checked(self, is_tied: bool | None, error: BaseException | None) -> None:
        self._is_checking = False
        if error is not None:
            self.dealt_with(error)
        elif not is_tied and self.writable and not self._generations.is_untied and not self.closing:
            self.call(Transaction.changing).add_done_callback(consume_error)  # creates the missing counters

    def _stop_checking(self) -> None:
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None


def _ignore(result: object, error: BaseException | None) -> None:
    """Ignore the outcome of a job."""
