"""A few threads that do what touches files, so that no event loop does."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")

THREAD_NAME: Final = "aiohttp-cache-files"
KEPT_BYTES: Final = 900 * 1024
"""That a thread takes and lets go of once, as any program does that has read as much.

Most C libraries give memory at the end of a heap back to the system where it is twice as much as the largest piece that
was let go of, and from 128 KiB on before. The bodies of a batch would lie in new pages each time, and a page takes a
thread as long as an eighth of a file. There are two batches at a time: one that is read, and one that is being used.
"""
POLL_S: Final = 0.001  # not all jobs have a caller who hears of their end


class _Job:
    """Something to do, and the future that tells what comes of it, if any does."""

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
    """Threads that begin when there is something to do, and never keep a program from ending.

    One pool serves all event loops. A job goes on when its caller has gone; one that has not begun by then is left.
    A thread is begun only when the others are busy: what is read in turn is read by one, whose memory is warm.

    Args:
        size: how many threads there are at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all threads and jobs, which are a parent process's."""
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished: set[_Job] = set()
        self._errands: deque[_Job] = deque()
        self._loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._latest: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None
        self._guard = threading.Lock()

    def run(self, call: Callable[[], T], undo: Callable[[T], object] | None = None) -> asyncio.Future[T]:
        """Do *call* in a thread; where its caller has left by the time it is done, do *undo* with its result."""
        loop = asyncio.get_running_loop()
        if self._latest() is not loop:
            self._loops.add(loop)
            self._latest = weakref.ref(loop)
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(call, future, undo)
        self._unfinished.add(job)
        self._queue.put(job)
        if len(self._threads) < min(self.size, len(self._unfinished) - len(self._errands)):
            with self._guard:
                self._start(self.size)
        return future

    def post(self, call: Callable[[], object]) -> None:
        """Do *call* in a thread some time, whatever comes of it; from anywhere, a destructor too.

        Raises:
            RuntimeError: the program is at its end.
        """
        if sys.is_finalizing():  # Before CPython 3.12 a thread that is started then is waited for without end.
            raise RuntimeError("no thread can be started while the interpreter ends")
        job = _Job(call)
        self._unfinished.add(job)
        self._errands.append(job)
        try:  # what the caller asks for next has a thread come, and the loop out of its way
            asyncio.get_running_loop().call_soon(self._wake)
        except RuntimeError:  # there is no loop
            self._wake()

    def _wake(self) -> None:
        if self._errands:
            self._queue.put(_Job(bool))
        if not self._threads and self._guard.acquire(blocking=False):  # a destructor may have interrupted a start
            try:
                with suppress(RuntimeError):  # as one more than the system allows; the next job tries again
                    self._start(1)
            finally:
                self._guard.release()

    async def finish(self, within_s: float) -> None:
        """Wait until what is asked for by now is done, *within_s* at most.

        That is the running loop's jobs, those whose callers have gone included, and all that was posted: what that
        removes would else stay, where the program ends next.
        """
        loop = asyncio.get_running_loop()
        jobs = {job for job in self._unfinished.copy() if job.future is None or job.future.get_loop() is loop}
        if jobs:  # not in the loop, whose clock a test may have stopped
            await asyncio.wait([self.run(partial(self._wait_for, jobs, within_s))], timeout=within_s)
        self._loops.discard(loop)
        self._latest = lambda: None

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
        """Whether another loop that is open has use for the threads."""
        running = asyncio.get_running_loop()
        return any(not (loop is running or loop.is_closed()) for loop in list(self._loops))

    def stop(self) -> None:
        """Let the threads end once the jobs are done."""
        with self._guard:
            queue, threads = self._queue, self._threads
            self._queue, self._threads = SimpleQueue(), []
        for _ in threads:
            queue.put(None)

    def _start(self, size: int) -> None:
        if len(self._threads) < size:
            thread = threading.Thread(target=self._serve, args=(self._queue,), name=THREAD_NAME, daemon=True)
            thread.start()
            self._threads.append(thread)  # one that cannot be started is none

    def _serve(self, queue: SimpleQueue[_Job | None]) -> None:
        bytearray(KEPT_BYTES)
        while (job := queue.get()) is not None:
            with suppress(IndexError):
                while True:
                    self._do(self._errands.popleft())
            self._do(job)
            del job  # or a body would stay in memory until the next one

    def _do(self, job: _Job) -> None:
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
