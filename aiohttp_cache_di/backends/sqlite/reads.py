"""Reading in micro-batches: a lone read goes straight to the reader's thread, concurrent ones share a statement."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

from aiohttp_cache_di.backends.sqlite.schema import MAX_BATCH, Found, Key, Table
from aiohttp_cache_di.backends.sqlite.thread import Done, Job
from aiohttp_cache_di.errors import StorageError

__all__ = ["LinkLostError", "Port", "ReadQueue", "Tables", "fail", "resolve"]

Tables: TypeAlias = "tuple[Table, ...]"
"""Where a key is looked for: in one table after the other, until it is found."""

Asked: TypeAlias = "list[tuple[Tables, Key, asyncio.Future[Found | None]]]"


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
    """The reads of one link.

    One batch at a time is with the thread: while the loop waits for it, thread and loop do not fight for the
    interpreter's lock, and what is asked for meanwhile makes the next batch larger.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._loop = port.loop
        self._waiting: Asked = []
        self._in_flight = False
        self._is_crowded = False  # the last batch had several keys, so that it is worth while to wait for others
        self._flush_scheduled = False

    def fetch(self, tables: Tables, key: Key) -> asyncio.Future[Found | None]:
        """Read a row: at once when nobody else is reading, else together with what is asked for in this tick."""
        future: asyncio.Future[Found | None] = self._loop.create_future()
        self._waiting.append((tables, key, future))
        if not (self._in_flight or self._flush_scheduled):
            if self._is_crowded:
                self._flush_soon()
            else:
                self._flush()
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
        waiting, self._waiting = self._waiting, []
        fail([future for _, _, future in waiting], reason)

    def _flush_soon(self) -> None:
        """Send the next batch after those who run in this tick of the loop, and may ask for more."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        asked, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        if not asked:
            return
        self._in_flight = True
        self._is_crowded = len(asked) > 1

        def job(connection: sqlite3.Connection) -> list[Found | None]:
            self._port.check_file()
            return _look_up(connection, asked)

        def done(answers: list[Found | None] | None, error: BaseException | None) -> None:
            self._in_flight = False
            if answers is None:
                reason = self._port.dealt_with(error or LinkLostError("no answer"))
                fail([future for _, _, future in asked], reason)
            else:
                for (_, _, future), found in zip(asked, answers, strict=True):
                    if not future.done():
                        future.set_result(found)
            if self._waiting:
                self._flush_soon()

        self._port.submit(job, done)


def _look_up(connection: sqlite3.Connection, asked: Asked) -> list[Found | None]:
    """In a reader's thread: find each key in the first of its tables that has it."""
    if len(asked) == 1:
        tables, key, _ = asked[0]
        for table in tables:
            row = table.row(connection, key)
            if row is not None:
                return [row]
        return [None]
    found: dict[Tables, dict[Key, Found]] = {tables: {} for tables, _, _ in asked}
    for tables, rows in found.items():
        keys = {key for each, key, _ in asked if each == tables}
        for table in tables:
            rows |= table.rows(connection, [key for key in keys if key not in rows])
    return [found[tables].get(key) for tables, key, _ in asked]


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    """Give *future* its result unless its waiter was cancelled."""
    if not future.done():
        future.set_result(result)


def fail(futures: Iterable[asyncio.Future[Any]], error: BaseException) -> None:
    """Give *futures* an error, but those whose waiters were cancelled."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
