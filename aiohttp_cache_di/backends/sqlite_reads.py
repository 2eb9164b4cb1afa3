"""Reading in micro-batches: a lone read goes straight to the reader's thread, concurrent ones share a statement."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeAlias

from aiohttp_cache_di.backends.sqlite_schema import Key, Table
from aiohttp_cache_di.backends.sqlite_worker import Done, Job
from aiohttp_cache_di.errors import StorageError

__all__ = ["Found", "LinkLostError", "Port", "ReadQueue", "fail", "resolve"]

MAX_IN_FLIGHT: Final = 2  # read batches on their way; what comes meanwhile makes larger ones

Found: TypeAlias = "tuple[int, object] | None"
"""A row's id and what `Table.decode` made of its frame; None when there is none."""

Rows: TypeAlias = "list[tuple[Table, list[tuple[Key, int, object]]]]"
Waiting: TypeAlias = "dict[Table, dict[Key, list[asyncio.Future[Found]]]]"


class LinkLostError(StorageError):
    """The connections are of no more use; what was asked of them may be asked of new ones, once."""


class Port(Protocol):
    """What a queue needs of the link that it belongs to."""

    loop: asyncio.AbstractEventLoop

    def submit(self, job: Job, done: Done, *, writing: bool = False) -> None:
        """Run *job* in the thread of the reader or the writer, then ``done(result, error)`` in the loop."""

    def check_file(self) -> None:
        """In such a thread: raise `LinkLostError` if the file is another one by now."""

    def dealt_with(self, error: BaseException, *, writing: bool = False) -> StorageError:
        """Do what *error* asks for, and say what happened."""
        ...


class ReadQueue:
    """The reads of one link."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._loop = port.loop
        self._waiting: Waiting = {}
        self._in_flight = 0
        self._flush_scheduled = False

    def fetch(self, table: Table, key: Key) -> asyncio.Future[Found]:
        """Read a row: at once when nobody else is reading, else together with what is asked for in this tick."""
        future: asyncio.Future[Found] = self._loop.create_future()
        if self._in_flight == 0 and not self._waiting:
            self._send_lone(table, key, future)
            return future
        self._waiting.setdefault(table, {}).setdefault(key, []).append(future)
        if not self._flush_scheduled and self._in_flight < MAX_IN_FLIGHT:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def query(self, job: Job) -> asyncio.Future[Any]:
        """Run a reading *job* of another kind."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def checked(connection: sqlite3.Connection) -> Any:
            self._port.check_file()
            return job(connection)

        def done(result: Any, error: BaseException | None) -> None:
            if error is None:
                resolve(future, result)
            else:
                fail([future], self._port.dealt_with(error))

        self._port.submit(checked, done)
        return future

    def give_up(self, reason: StorageError) -> None:
        """Fail what waits."""
        waiting, self._waiting = self._waiting, {}
        fail(_futures(waiting), reason)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._send(waiting)

    def _send_lone(self, table: Table, key: Key, future: asyncio.Future[Found]) -> None:
        self._in_flight += 1

        def job(connection: sqlite3.Connection) -> Found:
            self._port.check_file()
            return table.row(connection, key)

        def done(result: Found, error: BaseException | None) -> None:
            self._in_flight -= 1
            if error is not None:
                fail([future], self._port.dealt_with(error))
            elif not future.done():
                future.set_result(result)
            self._next()

        self._port.submit(job, done)

    def _send(self, waiting: Waiting) -> None:
        self._in_flight += 1

        def job(connection: sqlite3.Connection) -> Rows:
            self._port.check_file()
            return [(table, table.rows(connection, list(keys))) for table, keys in waiting.items()]

        def done(result: Rows | None, error: BaseException | None) -> None:
            self._in_flight -= 1
            if result is None:
                fail(_futures(waiting), self._port.dealt_with(error or LinkLostError("no answer")))
            else:
                _hand_out(result, waiting)
            self._next()

        self._port.submit(job, done)

    def _next(self) -> None:
        if self._waiting and not self._flush_scheduled:
            self._flush()


def _hand_out(result: Rows, waiting: Waiting) -> None:
    for table, rows in result:
        keys = waiting[table]
        for key, row_id, item in rows:
            for future in keys.pop(key, ()):
                resolve(future, (row_id, item))
        for futures in keys.values():
            for future in futures:
                resolve(future, None)


def _futures(waiting: Waiting) -> list[asyncio.Future[Found]]:
    return [future for keys in waiting.values() for futures in keys.values() for future in futures]


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    """Give *future* its result unless its waiter was cancelled."""
    if not future.done():
        future.set_result(result)


def fail(futures: Iterable[asyncio.Future[Any]], error: BaseException) -> None:
    """Give *futures* an error, but those whose waiters were cancelled."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
