"""Writing in group commits: what is asked for while a transaction is under way shares the next one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from aiohttp_cache_di.backends.sqlite import statements as jobs
from aiohttp_cache_di.backends.sqlite.reads import Port, fail, resolve
from aiohttp_cache_di.backends.sqlite.schema import Key, Table
from aiohttp_cache_di.backends.sqlite.thread import Job
from aiohttp_cache_di.errors import StorageError

__all__ = ["Acquire", "Put", "Release", "Write", "WriteQueue"]

MAX_GROUP: Final = 256  # writes in one transaction
MAX_GROUP_BYTES: Final = 4 * 1024 * 1024
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024  # of a file that is locked for long; the next writes are refused


@dataclass(slots=True, kw_only=True)
class Write:
    """Something to be done within a transaction.

    Args:
        weight: how many bytes are to be written, as far as can be told before they are encoded.
    """

    weight: int = 0
    future: asyncio.Future[Any] = field(init=False)
    result: Any = field(init=False, default=None)
    """What the future is to be given: an exception, or else the result."""


@dataclass(slots=True)
class Put(Write):
    """An item to be written; the answer is its row's id.

    Args:
        until: POSIX millisecond after which it may be dropped; None for never.
        used: POSIX millisecond of its last use.
        item: for `Table.encode`.
        lease: what is given back in the same transaction.
    """

    table: Table
    key: Key
    until: int | None
    used: int
    item: object
    lease: jobs.LeaseOf | None
    row: jobs.Row | None = field(init=False, default=None)

    def encode(self) -> None:
        """Make the row; or take note of why there is none, which concerns no other write."""
        try:
            self.row = (self.key, self.until, self.used, self.table.encode(self.item))
        except Exception as exc:
            self.result = exc


@dataclass(slots=True)
class Acquire(Write):
    """A lease to be taken; the answer is a `Lease`."""

    claim: jobs.Claim


@dataclass(slots=True)
class Release(Write):
    """A lease to be given back."""

    lease: jobs.LeaseOf


@dataclass(slots=True)
class Call(Write):
    """Any other job; the answer is what it returns."""

    job: Job


class WriteQueue:
    """The writes of one link, committed in groups, in the order in which they were asked for.

    Between two calls of one group, rows are written before leases are given back and taken.
    """

    def __init__(self, port: Port) -> None:
        self.after_commit: Callable[[int, int], None] = _ignore
        """Called in the loop after each commit with the number of rows and of bytes written."""
        self._port = port
        self._loop = port.loop
        self._waiting: deque[Write] = deque()
        self._waiting_bytes = 0
        self._committing = False
        self._idle: list[asyncio.Future[None]] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being written or waits."""
        return not (self._committing or self._waiting)

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Do *write* after those before it; the answer comes with the commit that it shares with others."""
        if write.weight and self._waiting_bytes > MAX_WAITING_BYTES:
            raise StorageError(f"{self._waiting_bytes} bytes wait to be written already")
        write.future = self._loop.create_future()
        self._waiting_bytes += write.weight
        self._waiting.append(write)
        if not self._committing:
            self._send()
        return write.future

    def call(self, job: Job) -> asyncio.Future[Any]:
        """Run *job* in a transaction, after the writes before it and before those that follow."""
        return self.write(Call(job))

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

    def _send(self) -> None:
        group, weight = self._next_group()
        if not group:
            self._wake_idle()
            return
        self._committing = True

        def job(connection: sqlite3.Connection) -> None:
            self._port.check_file()
            _commit(connection, group)

        def done(_: object, error: BaseException | None) -> None:
            self._committing = False
            if error is not None:
                reason = self._port.dealt_with(error, writing=True)
                fail([write.future for write in group], reason)
            else:
                for write in group:
                    if isinstance(write.result, Exception):
                        fail([write.future], write.result)
                    else:
                        resolve(write.future, write.result)
                self.after_commit(sum(isinstance(write, Put) for write in group), weight)
            if not self._committing:
                self._send()

        self._port.submit(job, done, writing=True)

    def _next_group(self) -> tuple[list[Write], int]:
        group: list[Write] = []
        weight = 0
        while self._waiting and len(group) < MAX_GROUP and weight < MAX_GROUP_BYTES:
            write = self._waiting.popleft()
            if write.future.cancelled() and not isinstance(write, Put | Release):
                continue  # nobody waits for a lease any more; a row is worth keeping all the same
            weight += write.weight
            group.append(write)
        self._waiting_bytes -= weight
        return group, weight

    def _wake_idle(self) -> None:
        idle, self._idle = self._idle, []
        for future in idle:
            resolve(future, None)


def _commit(connection: sqlite3.Connection, group: list[Write]) -> None:
    for write in group:  # before the transaction, for whose end others may wait
        if isinstance(write, Put):
            write.encode()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for is_call, some in groupby(group, lambda write: isinstance(write, Call)):
            (_run if is_call else _batch)(connection, list(some))
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, and says so by another.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _run(connection: sqlite3.Connection, calls: list[Write]) -> None:
    for call in calls:
        if isinstance(call, Call):
            call.result = call.job(connection)


def _batch(connection: sqlite3.Connection, writes: list[Write]) -> None:
    """Write the rows first and take leases last: whoever gets one learns of all that is stored by then."""
    puts = [write for write in writes if isinstance(write, Put)]
    for table, some in groupby((put for put in puts if put.row is not None), lambda put: put.table):
        _put(connection, table, list(some))
    released = [write.lease for write in writes if isinstance(write, Release)]
    jobs.release(connection, [*released, *(put.lease for put in puts if put.lease is not None)])
    acquired = [write for write in writes if isinstance(write, Acquire)]
    if acquired:
        leases = jobs.acquire(connection, [write.claim for write in acquired], time.time())
        for write, lease in zip(acquired, leases, strict=True):
            write.result = lease


def _put(connection: sqlite3.Connection, table: Table, puts: list[Put]) -> None:
    last = jobs.put_all(connection, table, [put.row for put in puts if put.row is not None])
    for put, row_id in zip(puts, range(last - len(puts) + 1, last + 1), strict=True):
        put.result = row_id


def _ignore(rows: int, weight: int) -> None:
    """Take no notice of commits."""
