"""Writing in group commits: what is asked for while a transaction is under way shares the next one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp_cache_di.backends import sqlite_jobs as jobs
from aiohttp_cache_di.backends.sqlite_reads import LinkLostError, Port, fail, resolve
from aiohttp_cache_di.backends.sqlite_schema import Key, Table
from aiohttp_cache_di.backends.sqlite_worker import Job
from aiohttp_cache_di.errors import StorageError

__all__ = ["Put", "WriteQueue"]

MAX_GROUP: Final = 256  # writes in one transaction
MAX_GROUP_BYTES: Final = 4 * 1024 * 1024
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024  # of a file that is locked for long; the next writes are refused


@dataclass(slots=True)
class Put:
    """An item to be written; those of one table that follow each other are written by one statement.

    Args:
        until: POSIX millisecond after which it may be dropped; None for never.
        used: POSIX millisecond of its last use.
        item: for `Table.encode`.
        weight: how many bytes the item takes, as far as can be told before it is encoded.
        lease: what is given back in the same transaction.
    """

    table: Table
    key: Key
    until: int | None
    used: int
    item: object
    weight: int
    lease: jobs.LeaseOf | None
    future: asyncio.Future[int] = field(init=False)
    row: jobs.Row | Exception = field(init=False)

    def encode(self) -> None:
        """Make the row; or take note of why there is none, which concerns no other write."""
        try:
            self.row = (self.key, self.until, self.used, self.table.encode(self.item))
        except Exception as exc:
            self.row = exc


@dataclass(slots=True)
class Call:
    """Any other job within a transaction."""

    job: Job
    future: asyncio.Future[Any]


class WriteQueue:
    """The writes of one link, committed in the order in which they were asked for."""

    def __init__(self, port: Port) -> None:
        self.after_commit: Callable[[int, int], None] = _ignore
        """Called in the loop after each commit with the number of rows and of bytes written."""
        self._port = port
        self._loop = port.loop
        self._waiting: deque[Put | Call] = deque()
        self._waiting_bytes = 0
        self._committing = False
        self._idle: list[asyncio.Future[None]] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being written or waits."""
        return not (self._committing or self._waiting)

    def write(self, write: Put) -> asyncio.Future[int]:
        """Write a row; the answer is its id, after the commit that it shares with what is written meanwhile."""
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise StorageError(f"{self._waiting_bytes} bytes wait to be written already")
        write.future = self._loop.create_future()
        self._waiting_bytes += write.weight
        self._enqueue(write)
        return write.future

    def call(self, job: Job) -> asyncio.Future[Any]:
        """Run *job* in a transaction, after the writes before it and before those that follow."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._enqueue(Call(job, future))
        return future

    async def drain(self) -> None:
        """Wait until everything is written."""
        while not self.is_idle:
            idle: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(idle)
            await idle

    def give_up(self, reason: StorageError) -> None:
        """Fail what waits."""
        fail([write.future for write in self._waiting], reason)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._wake_idle()

    def _enqueue(self, write: Put | Call) -> None:
        self._waiting.append(write)
        if not self._committing:
            self._send()

    def _send(self) -> None:
        group, weight = self._next_group()
        if not group:
            self._wake_idle()
            return
        self._committing = True

        def job(connection: sqlite3.Connection) -> list[Any]:
            self._port.check_file()
            return _commit(connection, group)

        def done(results: list[Any] | None, error: BaseException | None) -> None:
            self._committing = False
            if results is None:
                reason = self._port.dealt_with(error or LinkLostError("no answer"), writing=True)
                fail([write.future for write in group], reason)
            else:
                for write, result in zip(group, results, strict=True):
                    if isinstance(result, Exception):
                        fail([write.future], result)
                    else:
                        resolve(write.future, result)
                self.after_commit(sum(isinstance(write, Put) for write in group), weight)
            if not self._committing:
                self._send()

        self._port.submit(job, done, writing=True)

    def _next_group(self) -> tuple[list[Put | Call], int]:
        group: list[Put | Call] = []
        weight = 0
        while self._waiting and len(group) < MAX_GROUP and weight < MAX_GROUP_BYTES:
            write = self._waiting.popleft()
            if isinstance(write, Put):
                weight += write.weight
            elif write.future.cancelled():
                continue  # nobody waits for a lease any more; a row is worth keeping all the same
            group.append(write)
        self._waiting_bytes -= weight
        return group, weight

    def _wake_idle(self) -> None:
        idle, self._idle = self._idle, []
        for future in idle:
            resolve(future, None)


def _commit(connection: sqlite3.Connection, group: list[Put | Call]) -> list[Any]:
    for write in group:  # before the transaction, for whose end others may wait
        if isinstance(write, Put):
            write.encode()
    results: list[Any] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        while len(results) < len(group):
            first = group[len(results)]
            if isinstance(first, Call):
                results.append(first.job(connection))
                continue
            puts: list[Put] = []
            for write in group[len(results) :]:
                if not isinstance(write, Put) or write.table is not first.table:
                    break
                puts.append(write)
            results += _put(connection, first.table, puts)
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, and says so by another.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return results


def _put(connection: sqlite3.Connection, table: Table, puts: list[Put]) -> list[int | Exception]:
    """Write what could be encoded; return the rows' ids, and the errors of the others."""
    rows = [put.row for put in puts if isinstance(put.row, tuple)]
    last = jobs.put_all(connection, table, rows)
    jobs.release(connection, [put.lease for put in puts if put.lease is not None])
    ids = iter(range(last - len(rows) + 1, last + 1))
    return [next(ids) if isinstance(put.row, tuple) else put.row for put in puts]


def _ignore(rows: int, weight: int) -> None:
    """Take no notice of commits."""
