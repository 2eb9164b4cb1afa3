"""Group commits: writes that arrive while a transaction is under way share the next one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, Protocol, TypeAlias, cast

from aiohttp_cache_di.backends.sqlite.file.failing import is_full
from aiohttp_cache_di.backends.sqlite.file.inspection import damage_in
from aiohttp_cache_di.backends.sqlite.file.schema import USED_LAST, Table, column_key, column_time, now_used
from aiohttp_cache_di.backends.sqlite.file.thread import Done, Job
from aiohttp_cache_di.backends.sqlite.shared.generation import Commit, Generations, UntiedError
from aiohttp_cache_di.backends.sqlite.writing import lease_table, statements
from aiohttp_cache_di.backends.sqlite.writing.room import Room
from aiohttp_cache_di.backends.store import Record, Written, is_mark
from aiohttp_cache_di.errors import StorageError

__all__ = [
    "Call",
    "Put",
    "Transaction",
    "TransactionJob",
    "Write",
    "WriteQueue",
    "WriterThread",
    "commit",
    "fail",
    "resolve",
]

MAX_GROUP: Final = 256  # writes in one transaction
MAX_GROUP_BYTES: Final = 4 * 1024 * 1024
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024  # queued while the file is locked for long; further writes are refused


class WriterThread(Protocol):
    """What a queue needs of its connections."""

    loop: asyncio.AbstractEventLoop

    def submit(self, job: Job, done: Done, *, writing: bool = False) -> None:
        """Run *job* in the thread of the reader or the writer, then ``done(result, error)`` in the loop."""

    def dealt_with(self, error: BaseException, *, writing: bool = False) -> StorageError:
        """Give the connections up if *error* calls for it; return it as a `StorageError`."""
        ...


class Transaction:
    """A transaction that holds the write lock.

    Args:
        connection: the connection that runs the transaction.
        table: the cache's table.
        generations: the file's generations.
    """

    def __init__(self, connection: sqlite3.Connection, table: Table, generations: Generations) -> None:
        self.connection = connection
        self.table = table
        self._generations = generations
        self._commit: Commit | None = None

    def changing(self) -> Commit:
        """The numbered commit, begun with the first call; call it before entries are changed."""
        if self._commit is None:
            self._commit = self._generations.begin(self.connection)
        return self._commit

    def end(self) -> None:
        """Commit, after setting the counters if entries were changed."""
        if self._commit is not None:
            self._commit.publish()
        self.connection.execute("COMMIT")


TransactionJob: TypeAlias = Callable[[Transaction], Any]


@dataclass(slots=True, kw_only=True)
class Write:
    """One unit of work in a transaction.

    Args:
        weight: how many bytes are to be written, estimated before they are encoded.
    """

    weight: int = 0
    future: asyncio.Future[Any] = field(init=False)
    result: Any = field(init=False, default=None)


@dataclass(slots=True)
class Put(Write):
    """Records to be written; the result is a list of `Written`.

    Args:
        encode: returns whether a record leads on, its info, its frame and the body beside the frame.
        owner: the owner of leases in the table, which are released with leased records; None where leases are locks.
    """

    records: Sequence[Record]
    encode: Callable[[Record], tuple[bool, bytes | None, bytes, bytes | None]]
    owner: bytes | None
    rows: list[statements.PutRow] = field(init=False, default_factory=list[statements.PutRow])
    failures: dict[int, StorageError] = field(init=False, default_factory=dict[int, StorageError])
    leased: list[str] = field(init=False, default_factory=list[str])

    def make_rows(self) -> None:
        """Encode the records; a failure concerns its own record only."""
        self.rows, self.failures, self.leased = [], {}, []  # may be called again
        used = now_used()
        for place, record in enumerate(self.records):
            try:
                key = column_key(record.key)
                encoded = self.encode(record)
            except Exception as exc:
                self.failures[place] = exc if isinstance(exc, StorageError) else _unwritable(record, exc)
                continue
            last_use = USED_LAST if is_mark(record.key) else used
            self.rows.append((key, column_time(record.until), last_use, *encoded))
            if record.leased:
                self.leased.append(record.key)

    def written(self, version: int) -> list[Written]:
        """The outcome of each record, in a commit of this *version*."""
        return [self.failures.get(place, version) for place in range(len(self.records))]


@dataclass(slots=True)
class Call(Write):
    """Any other job; the result is what it returns."""

    job: TransactionJob


class WriteQueue:
    """The writes of one loop's connections, committed in groups, in the order of their arrival.

    Args:
        thread: the connections that run the transactions.
        table: the cache's table.
        generations: the file's generations.
        room: the room on the disk.
        release: releases the lease on a key, in the thread, after the commit of a leased record.
    """

    def __init__(
        self,
        thread: WriterThread,
        table: Table,
        generations: Generations,
        room: Room,
        release: Callable[[str], object],
    ) -> None:
        self.after_commit: Callable[[int, int], None] = _ignore
        """Called in the loop after each commit with the numbers of rows and bytes written."""
        self._thread = thread
        self._table = table
        self._generations = generations
        self._room = room
        self._release = release
        self._waiting: deque[Write] = deque()
        self._waiting_bytes = 0
        self._committing = False
        self._idle: list[asyncio.Future[None]] = []

    @property
    def is_idle(self) -> bool:
        """Whether no write is under way or waits."""
        return not (self._committing or self._waiting)

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Queue *write*; the future gets its result after the commit of its group."""
        if write.weight and self._waiting_bytes > MAX_WAITING_BYTES:
            raise StorageError(f"{self._waiting_bytes} bytes wait to be written already")
        write.future = self._thread.loop.create_future()
        self._waiting_bytes += write.weight
        self._waiting.append(write)
        if not self._committing:
            self._send()
        return write.future

    async def drain(self) -> None:
        """Wait until everything is written."""
        while not self.is_idle:
            idle: asyncio.Future[None] = self._thread.loop.create_future()
            self._idle.append(idle)
            await idle

    def give_up(self, reason: StorageError) -> None:
        """Fail all waiting writes with *reason*."""
        fail([write.future for write in self._waiting], reason)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._wake_idle()

    def _send(self) -> None:
        group, weight = self._next_group()
        if not group:
            self._wake_idle()
            return
        self._committing = True

        def job(connection: sqlite3.Connection) -> sqlite3.Error | None:
            full = self._commit(connection, group, weight)
            if full is None:
                for write in group:
                    if isinstance(write, Put):
                        for key in write.leased:
                            self._release(key)
            return full

        def done(full: sqlite3.Error | None, error: BaseException | None) -> None:
            self._committing = False
            failure = error or full
            reason = None if failure is None else self._thread.dealt_with(failure, writing=True)
            for write in group:
                if reason is not None and (error is not None or isinstance(write, Put)):
                    fail([write.future], reason)
                else:
                    resolve(write.future, write.result)
            if reason is None:
                self.after_commit(sum(len(write.rows) for write in group if isinstance(write, Put)), weight)
            if not self._committing:
                self._send()

        self._thread.submit(job, done, writing=True)

    def _commit(self, connection: sqlite3.Connection, group: list[Write], weight: int) -> sqlite3.Error | None:
        """Commit *group*; if the disk is full, only what adds no entries, and return the error for what does."""
        full: sqlite3.Error | None = self._room.lack(connection, weight) if weight else None
        if full is None:
            try:
                commit(connection, group, self._table, self._generations)
            except sqlite3.Error as exc:
                if not is_full(exc) or damage_in(exc, connection, self._table):
                    raise
                full = exc
                self._room.empty_log(connection)
            else:
                return None
        if calls := _calls(group):
            commit(connection, calls, self._table, self._generations)
        return full

    def _next_group(self) -> tuple[list[Write], int]:
        group: list[Write] = []
        weight = 0
        while self._waiting and len(group) < MAX_GROUP and weight < MAX_GROUP_BYTES:
            write = self._waiting.popleft()
            self._waiting_bytes -= write.weight
            weight += write.weight
            group.append(write)
        return group, weight

    def _wake_idle(self) -> None:
        idle, self._idle = self._idle, []
        for future in idle:
            resolve(future, None)


def commit(connection: sqlite3.Connection, group: Sequence[Write], table: Table, generations: Generations) -> None:
    """Run all writes of *group* in one transaction, in the writer's thread."""
    for write in group:  # encoded before the transaction, so that the write lock is held for a shorter time
        if isinstance(write, Put):
            write.make_rows()
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            transaction = Transaction(connection, table, generations)
            for is_put, some in groupby(group, lambda write: isinstance(write, Put)):
                (_put if is_put else _run)(transaction, list(some))
            transaction.end()
        except BaseException as exc:
            # After some errors SQLite has rolled back by itself, and ROLLBACK fails.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if not isinstance(exc, UntiedError):
                raise
            generations.untie(connection)
        else:
            return


def _calls(group: Sequence[Write]) -> list[Write]:
    return [write for write in group if not isinstance(write, Put)]


def _run(transaction: Transaction, calls: list[Write]) -> None:
    for call in calls:
        call.result = cast("Call", call).job(transaction)


def _put(transaction: Transaction, writes: list[Write]) -> None:
    puts = cast("list[Put]", writes)
    rows = [row for put in puts for row in put.rows]
    version = 0
    if rows:
        change = transaction.changing()
        version = change.version
        change.invalidate(record.key for put in puts for record in put.records)
        statements.put_all(transaction.connection, transaction.table, rows)
    for put in puts:
        put.result = put.written(version)
        if put.owner is not None:
            lease_table.release(transaction.connection, [column_key(key) for key in put.leased], put.owner)


def _unwritable(record: Record, error: Exception) -> StorageError:
    failure = StorageError(f"the entry {record.key!r} cannot be written: {type(error).__name__}")
    failure.__cause__ = error
    return failure


def _ignore(rows: int, weight: int) -> None:
    """Ignore commits."""


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    """Set the result of *future* unless it is done or cancelled."""
    if not future.done():
        future.set_result(result)


def fail(futures: Iterable[asyncio.Future[Any]], error: BaseException) -> None:
    """Set the error of those *futures* that are not done or cancelled."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
