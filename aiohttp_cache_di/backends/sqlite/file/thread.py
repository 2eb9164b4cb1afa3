"""A SQLite connection on a thread of its own: aiosqlite's thread, made to run whole jobs and to end with the program.

By itself aiosqlite makes a hop to its thread, a future and a turn of the loop for every statement, and its thread dies
if a loop is closed before the answer comes. So aiosqlite gets a single call that lasts as long as the connection is
open: `_Jobs.serve`, which takes jobs of any number of statements from a queue, and answers by a callback in the loop
that submitted them. The loop that awaits this call runs in a second thread, the *keeper*. The keeper is a daemon, and
threads inherit that from the thread which makes them, so an open cache does not keep a program from ending. Only public
names of aiosqlite are used.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import logging
import math
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, Final, cast

import aiosqlite

from aiohttp_cache_di.backends.forks import note_forks

__all__ = ["Connect", "Done", "Job", "JobConnection", "Watch", "Worker", "running_jobs"]

logger: logging.Logger = logging.getLogger(__name__)

Job = Callable[[sqlite3.Connection], Any]
"""What a worker runs in its thread: any number of statements."""
Done = Callable[[Any, BaseException | None], None]
"""Called in the loop with a job's result or the error that it raised."""

Connect = Callable[[], "JobConnection"]
"""Opens a connection."""

THREAD_NAME: Final = "aiohttp-cache-sqlite"
EXIT_PATIENCE_S: Final = 1.0  # how long a program that forgot to close waits for its connections when it ends
JOB_S: Final = 10.0  # time limit of one job, far above what ours take
STEPS: Final = 100_000  # of SQLite's virtual machine between two checks of the limit, about a millisecond
STOP_S: Final = 5.0  # time limit of the jobs that are left when a connection is stopped
END_S: Final = 1.0  # how long to wait for a connection whose job was interrupted

_live: weakref.WeakSet[Worker] = weakref.WeakSet()


class Watch:
    """The time limit of a connection's job, which SQLite checks now and then (its *progress handler*)."""

    __slots__ = ("_ends_at", "_over_at")

    def __init__(self) -> None:
        self._ends_at = math.inf
        self._over_at = math.inf
        self.begin()

    def begin(self) -> None:
        """Start the limit of the next job, in the connection's thread."""
        self._over_at = min(time.monotonic() + JOB_S, self._ends_at)

    def end(self, within_s: float) -> None:
        """Interrupt all jobs, this one and later ones, after *within_s* seconds from now."""
        self._ends_at = time.monotonic() + within_s
        self._over_at = min(self._over_at, self._ends_at)

    def is_over(self) -> bool:
        """Whether the job has to be interrupted."""
        return time.monotonic() > self._over_at


class JobConnection(sqlite3.Connection):
    """A connection whose `executescript` also runs a job, since aiosqlite passes its argument on to the thread."""

    watch: Watch
    is_abandoned: bool = False
    is_frozen = False
    """Whether the file was opened as immutable."""

    def guard(self) -> None:
        """Set the time limit of jobs, and let SQLite distrust the schema and check the pages of the file."""
        self.watch = Watch()
        self.set_progress_handler(self.watch.is_over, STEPS)
        self.execute("PRAGMA trusted_schema = OFF")
        self.execute("PRAGMA cell_size_check = ON")

    def executescript(self, sql_script: str | Job, /) -> sqlite3.Cursor:
        """Run *sql_script*, or a job."""
        if isinstance(sql_script, str):
            return super().executescript(sql_script)
        cursor = self.cursor()
        sql_script(self)
        return cursor

    def close(self) -> None:
        """Close the connection unless it was abandoned."""
        if not self.is_abandoned:
            super().close()

    def abandon(self) -> None:
        """Never close the connection, and never let it be finalised."""
        self.is_abandoned = True
        _never_finalise(self)


@lru_cache(maxsize=8)
def running_jobs(factory: type[sqlite3.Connection]) -> type[JobConnection]:
    """A subclass of *factory*, a user's class of connections, that also runs jobs."""
    if issubclass(factory, JobConnection):
        return factory
    return cast("type[JobConnection]", type(factory.__name__, (JobConnection, factory), {}))


_Task = tuple[Job, Done]


class _Jobs:
    """What a worker and its threads share.

    It does not refer to the worker, which stops the threads when it is garbage collected.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: SimpleQueue[_Task | None] = SimpleQueue()
        self.connection: JobConnection | None = None
        self.then: list[Callable[[], None]] = []
        self.ends_at = math.inf
        self.have_ended = False

    def serve(self, connection: JobConnection) -> None:
        """Run jobs, in aiosqlite's thread, until the queue yields None."""
        while (task := self.queue.get()) is not None:
            if time.monotonic() > self.ends_at:
                self.answer(task[1], None, sqlite3.ProgrammingError("the connection was given up"))
                continue
            connection.watch.begin()
            self.run(*task, connection)
            del task  # do not keep the job alive while waiting for the next one
        self.have_ended = True

    def run(self, job: Job, done: Done, connection: sqlite3.Connection) -> None:
        """Run *job* and report its outcome to *done*."""
        result, error = None, None
        try:
            result = job(connection)
        except BaseException as exc:
            error = exc
        self.answer(done, result, error)

    def answer(self, done: Done, result: Any, error: BaseException | None) -> None:
        """Call *done* in the loop."""
        try:  # noqa: SIM105  # suppress() takes a microsecond, which every look-up would pay
            self.loop.call_soon_threadsafe(done, result, error)
        except RuntimeError:  # the loop is closed: nothing waits for the answer
            pass

    def end(self, within_s: float) -> None:
        """Interrupt the running job, and refuse later ones, after *within_s* seconds from now."""
        self.ends_at = time.monotonic() + within_s
        connection = self.connection
        if connection is not None:
            connection.watch.end(within_s)

    def interrupt(self) -> None:
        """Interrupt the running job."""
        connection = self.connection
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # closed meanwhile
                connection.interrupt()

    def refuse(self, error: BaseException) -> None:
        """Fail all jobs with *error* until the queue yields None."""
        while (task := self.queue.get()) is not None:
            self.answer(task[1], None, error)


class Worker:
    """A connection and its thread, for one event loop.

    Args:
        connect: opens the connection; runs on the thread, before the first job. If it fails, all jobs fail.
        loop: the loop in which jobs are answered.
    """

    def __init__(self, connect: Connect, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._stopping = False
        self._jobs = _Jobs(loop)
        self._keeper = threading.Thread(
            target=_run_keeper, args=(connect, self._jobs), name=f"{THREAD_NAME}-keeper", daemon=True
        )
        _live.add(self)
        note_forks(self)
        self._keeper.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run *job* on the thread, after the jobs before it, and then ``done(result, error)`` in the loop."""
        if self._stopping:
            done(None, sqlite3.ProgrammingError("the connection was given up"))
        else:
            self._jobs.queue.put((job, done))

    def stop(self, then: Callable[[], None] | None = None, within_s: float | None = None) -> None:
        """Close the connection after the jobs that are queued, and end the thread; do not wait.

        Args:
            then: called in a thread once the connection is closed.
            within_s: time limit of these jobs; None for `STOP_S`.
        """
        if not self._stopping:
            self._stopping = True
            _live.discard(self)
            self._jobs.end(STOP_S if within_s is None else within_s)
            if then is not None:
                self._jobs.then.append(then)
            self._jobs.queue.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        self._keeper.join(timeout_s)

    async def finish(self, until: float) -> None:
        """Close the connection after the jobs that are queued, and wait for the end of the thread.

        Args:
            until: when the jobs are interrupted, by the loop's clock, but after `STOP_S` at most.
        """
        if self._stopping:
            return
        ended: asyncio.Future[None] = self._loop.create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(end)

        within_s = max(0.0, min(STOP_S, until - self._loop.time()))
        self.stop(tell, within_s)
        await asyncio.wait([ended], timeout=within_s)
        if not ended.done():
            self._jobs.interrupt()
            await asyncio.wait([ended], timeout=END_S)
        if not ended.done():  # the thread waits for a lock, or for a file system that does not answer
            logger.warning("A connection to a SQLite cache does not close; its thread is left behind")

    def abandon(self) -> None:
        """Never touch the connection again, and never close it.

        For a forked child, where locks and mutexes are the parent's, and for a replaced file (see `Connections`).
        """
        if self._jobs.connection is not None:
            self._jobs.connection.abandon()

    def after_fork(self) -> None:
        """Forget thread and connection in a forked child: both belong to the parent.

        So does the loop. Finalising it here would keep the parent's loop from waking up: both share an epoll object.
        """
        _live.discard(self)
        self.abandon()
        self._stopping = True
        _never_finalise(self._loop)

    def __del__(self) -> None:
        self.stop()  # without aiosqlite's warning: forgetting to close a cache loses nothing


def _run_keeper(connect: Connect, jobs: _Jobs) -> None:
    """Hold the connection open until its jobs end; the keeper thread's main function."""
    # Not a loop of the application's policy: this one needs no speed, and has to work in a thread.
    threads: list[threading.Thread] = []
    runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
    try:
        runner.get_loop()
    except OSError as exc:  # no file descriptors are left for a loop
        jobs.refuse(exc)
    else:
        with runner:
            runner.run(_hold_open(connect, jobs, threads))
            # Joined without the loop's timers, which stand still if a test has frozen the clock.
            for thread in threads:
                thread.join()
    for then in jobs.then:
        then()


async def _hold_open(connect: Connect, jobs: _Jobs, threads: list[threading.Thread]) -> None:
    def connector() -> JobConnection:
        thread = threading.current_thread()
        thread.name = THREAD_NAME
        threads.append(thread)
        jobs.connection = connect()
        return jobs.connection

    failure: BaseException | None = sqlite3.ProgrammingError("aiosqlite has not run the jobs")
    # A failing close (disk full) leaves the write-ahead log to the next program that opens the file.
    with contextlib.suppress(sqlite3.Error):
        try:
            async with aiosqlite.Connection(connector, iter_chunk_size=64) as connection:
                await connection.executescript(cast("Any", jobs.serve))
                if jobs.have_ended:
                    failure = None
        except BaseException as exc:
            if failure is None:
                raise
            failure = exc
    if failure is not None:
        jobs.refuse(failure)
    jobs.connection = None


def _never_finalise(thing: object) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _stop_all() -> None:
    workers = list(_live)
    for worker in workers:
        worker.stop()
    patience_ends_at = time.monotonic() + EXIT_PATIENCE_S
    for worker in workers:
        worker.join(max(0.0, patience_ends_at - time.monotonic()))


atexit.register(_stop_all)
