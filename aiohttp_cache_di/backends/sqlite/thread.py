"""A SQLite connection on a thread of its own: aiosqlite's, made to end with its program and to run whole jobs."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import sqlite3
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

import aiosqlite
from aiosqlite.core import _STOP_RUNNING_SENTINEL

__all__ = ["Done", "Job", "Worker"]

Job = Callable[[sqlite3.Connection], Any]
"""What a worker runs: any number of statements, in one hop to its thread."""

Done = Callable[[Any, BaseException | None], None]
"""Is told, in the loop, a job's result or the error that it raised."""

EXIT_PATIENCE_S = 1.0  # how long a program that forgot to close waits for its connections when it ends

_live: weakref.WeakSet[Worker] = weakref.WeakSet()


class Worker(aiosqlite.Connection):
    """A connection and its thread, for one event loop.

    aiosqlite makes a hop per statement; here a hop runs a whole job, answers by a callback and so needs no task. The
    thread is a daemon, because a cache must not keep a program from ending.

    Args:
        connect: opens the connection; runs on the thread, before the first job.
        loop: where answers are delivered.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(connect, iter_chunk_size=64)
        self._loop = loop
        self._stopping = False
        self._then: Callable[[], None] | None = None
        self._jobs = cast("SimpleQueue[tuple[None, Callable[[], object]]]", self._tx)  # pyright: ignore[reportUnknownMemberType]  # aiosqlite does not say whose future
        self._thread.daemon = True
        self._thread.name = "aiohttp-cache-sqlite"
        _live.add(self)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run *job* on the thread, after those before it, and then ``done(result, error)`` in the loop."""
        loop = self._loop

        def run() -> None:
            result, error = None, None
            try:
                result = job(self._connection or self._opened())
            except BaseException as exc:
                error = exc
            try:
                loop.call_soon_threadsafe(done, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody is left who waits for the answer

        self._jobs.put((None, run))

    def stop(self, then: Callable[[], None] | None = None) -> None:
        """Close the connection after the jobs before, and end the thread; do not wait.

        Args:
            then: called in the thread once the connection is closed.
        """
        if not self._stopping:
            self._stopping = True
            self._then = then
            _live.discard(self)
            self._jobs.put((None, self._close_and_end))

    def join(self, timeout_s: float) -> bool:
        """Wait until the thread has ended; False when it has not."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    async def finish(self) -> None:
        """Close the connection after the jobs before, and wait until the thread has ended."""
        if self._stopping:
            return
        ended: asyncio.Future[None] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(None)

        self.submit(lambda connection: connection.close(), done)
        self.stop()
        await ended
        self.join(EXIT_PATIENCE_S)

    def abandon(self) -> None:
        """Never touch the connection again, and never close it.

        In a forked child its locks and its mutexes are the parent's; of a file that was replaced, see `Link`.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            keep_for_ever(connection)

    def __del__(self) -> None:
        self.stop()  # without aiosqlite's warning: forgetting to close a cache loses nothing

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._stopping:
                raise sqlite3.ProgrammingError("the connection was given up")
            self._connection = self._connector()
        return self._connection

    def _close_and_end(self) -> object:
        connection, self._connection = self._connection, None
        if connection is not None:
            # A failing close (disk full) leaves the write-ahead log to the next who opens the file.
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        then, self._then = self._then, None
        if then is not None:
            then()
        return _STOP_RUNNING_SENTINEL


def keep_for_ever(thing: object) -> None:
    """Keep *thing* from ever being finalised."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _stop_all() -> None:
    workers = list(_live)
    for worker in workers:
        worker.stop()
    patience_ends_at = time.monotonic() + EXIT_PATIENCE_S
    for worker in workers:
        worker.join(max(0.0, patience_ends_at - time.monotonic()))


def _abandon_all() -> None:
    for worker in list(_live):
        worker.abandon()
        worker._stopping = True  # its thread stayed with the parent
    _live.clear()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
