"""A few threads that work on files, so that no event loop waits for the file system."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.loops import LoopLocal

__all__ = ["Pool"]

T = TypeVar("T")

THREAD_NAME: Final = "aiohttp-cache-files"
KEPT_BYTES: Final = 900 * 1024
"""The size of a block that each thread allocates and frees when it starts, so that the C library keeps more memory.

Most C libraries return the end of a heap to the system when it exceeds twice the largest block that was freed so far,
or 128 KiB before that. Without this block the bodies of each batch would lie in new pages, and getting a page takes an
eighth of the time of reading a file. Two batches are in memory at a time: one being read, and one being used.
"""
POLL_S: Final = 0.001  # polled, since not all jobs have a future


class _Job:
    """A call, and the future that gets its outcome, if there is one."""

    __slots__ = ("call", "future", "undo")

    def __init__(
        self,
        call: Callable[[], Any],
        future: asyncio.Future[Any] | None = None,
        undo: Callable[[Any], object] | None = None,
    ) -> None:
        self.call = call
        self.future = future
        self.undo = undo


class Pool:
    """Daemon threads, started when they are needed, which do not keep a program from ending.

    One pool serves all event loops. When a caller is cancelled, a job that has begun goes on, and one that has not is
    skipped. A thread is started only when the others are busy, so that jobs in sequence run in one thread, with its
    memory in the processor's cache.

    Args:
        size: the largest number of threads.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.after_fork()
        note_forks(self)

    def after_fork(self) -> None:
        """Start without threads and jobs: at first, and in a forked child, where they belong to the parent."""
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished: set[_Job] = set()
        self._posted: deque[_Job] = deque()
        self._users = LoopLocal(object)  # the loops that use it
        self._guard = threading.Lock()

    def run(self, call: Callable[[], T], undo: Callable[[T], object] | None = None) -> asyncio.Future[T]:
        """Run *call* in a thread; if its caller is cancelled before it is done, call *undo* with its result.

        Raises:
            RuntimeError: there is no thread, and none can be started.
        """
        loop = asyncio.get_running_loop()
        self._users.here(loop)
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(call, future, undo)
        self._unfinished.add(job)
        with self._guard:  # another loop may stop the threads
            self._queue.put(job)
            if len(self._threads) < min(self.size, len(self._unfinished) - len(self._posted)):
                try:
                    self._start(self.size)
                except RuntimeError:
                    self._unfinished.discard(job)
                    future.cancel()
                    raise
        return future

    def post(self, call: Callable[[], object]) -> None:
        """Run *call* in a thread later, and ignore its outcome; may be called from anywhere, even from a destructor.

        Raises:
            RuntimeError: the interpreter is shutting down.
        """
        if sys.is_finalizing():  # before CPython 3.12, starting a thread then waits for ever
            raise RuntimeError("no thread can be started while the interpreter ends")
        job = _Job(call)
        self._unfinished.add(job)
        self._posted.append(job)
        try:  # not at once: the caller's next job may wake a thread, which would compete with the loop now
            asyncio.get_running_loop().call_soon(self._wake)
        except RuntimeError:  # there is no loop
            self._wake()

    def _wake(self) -> None:
        if self._posted and self._queue.empty():  # a thread that takes a job runs what was posted first
            self._queue.put(_Job(bool))
        if not self._threads and self._guard.acquire(blocking=False):  # held if a destructor has interrupted a start
            try:
                with suppress(RuntimeError):  # the next job tries again
                    self._start(1)
            finally:
                self._guard.release()

    async def finish(self, within_s: float) -> None:
        """Wait until the jobs that were submitted so far are done, *within_s* seconds at most.

        These are the running loop's jobs, including those of cancelled callers, and all that were posted: they remove
        files, which would otherwise stay if the program ends next.
        """
        loop = asyncio.get_running_loop()
        jobs = {job for job in self._unfinished.copy() if job.future is None or job.future.get_loop() is loop}
        if jobs:
            with suppress(RuntimeError):  # there is no thread, and none can be started
                # Polled in a thread: a test may have frozen the loop's clock.
                await asyncio.wait([self.run(partial(self._wait_for, jobs, within_s))], timeout=within_s)
        self._users.pop(loop)

    def _wait_for(self, jobs: set[_Job], within_s: float) -> None:
        for _ in range(int(within_s / POLL_S)):
            if jobs.isdisjoint(self._unfinished):
                return
            time.sleep(POLL_S)

    @property
    def is_idle(self) -> bool:
        """Whether there are no threads."""
        return not self._threads

    @property
    def is_shared(self) -> bool:
        """Whether another open loop has used the threads."""
        running = asyncio.get_running_loop()
        return any(not (loop is running or loop.is_closed()) for loop, _ in self._users.items())

    def stop(self) -> None:
        """End the threads after the jobs that are queued."""
        with self._guard:
            queue, threads = self._queue, self._threads
            self._queue, self._threads = SimpleQueue(), []
        for _ in threads:
            queue.put(None)

    def _start(self, size: int) -> None:
        if len(self._threads) < size:
            thread = threading.Thread(target=self._serve, args=(self._queue,), name=THREAD_NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system allows no more threads
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)

    def _serve(self, queue: SimpleQueue[_Job | None]) -> None:
        bytearray(KEPT_BYTES)
        while (job := queue.get()) is not None:
            while self._posted:
                with suppress(IndexError):  # another thread was faster
                    self._run_job(self._posted.popleft())
            self._run_job(job)
            del job  # else a body would stay in memory until the next job

    def _run_job(self, job: _Job) -> None:
        future, result, error = job.future, None, None
        if future is not None and future.cancelled():
            job.undo = None
        else:
            try:
                result = job.call()
            except BaseException as exc:
                error, job.undo = exc, None
        self._unfinished.discard(job)
        if future is not None:
            try:
                future.get_loop().call_soon_threadsafe(self._settle, job, result, error)
            except RuntimeError:  # the loop is closed: nothing waits for the answer
                if job.undo is not None:
                    job.undo(result)

    def _settle(self, job: _Job, result: Any, error: BaseException | None) -> None:
        future, undo = job.future, job.undo
        if future is None or future.done():
            if undo is not None:
                self.run(partial(undo, result))
        elif error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
