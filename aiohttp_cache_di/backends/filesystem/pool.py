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
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")

THREAD_NAME: Final = "aiohttp-cache-files"
KEPT_BYTES: Final = 900 * 1024
"""That a thread takes and lets go of once, as any program does that has read as much.

Most C libraries give memory at the end of a heap back to the system where it is twice as much as the largest piece that
was let go of, and from 128 KiB on before. The bodies of a batch would lie in new pages each time, and a page takes a
thread as long as an eighth of a file. There are two batches at a time: one that is read, and one that is being used.
"""
POLL_S: Final = 0.001  # an errand comes from a destructor, and has no future that tells of its end


class _LoopJobs:
    """The jobs that one loop has asked for; changed in that loop alone."""

    __slots__ = ("finished", "loop", "unfinished")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.unfinished = 0
        self.finished: asyncio.Event | None = None

    def end(self) -> None:
        """One job is done, whether its caller has waited or not."""
        self.unfinished -= 1
        if not self.unfinished and self.finished is not None:
            self.finished.set()


_Errand: TypeAlias = partial[object]  # each is another one, though it be of the same call


class _Task(NamedTuple):
    job: Callable[[], Any]
    undo: Callable[[Any], None] | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    jobs: _LoopJobs


class _Waiting:
    """What is to be done, and the threads that wait for it, each at a lock of its own: the last to come goes first.

    One that is woken is woken for a job; a queue that all wait at would wake a second one in vain for each.
    """

    __slots__ = ("idle", "jobs")

    def __init__(self) -> None:
        self.jobs: deque[_Task | _Errand | None] = deque()
        self.idle: list[threading.Lock] = []

    def put(self, job: _Task | _Errand | None) -> bool:
        """Have *job* done; False where no thread waits for one."""
        self.jobs.append(job)
        return self.wake()

    def wake(self) -> bool:
        """Wake a thread; False where none waits. From anywhere, a destructor too."""
        try:
            self.idle.pop().release()
        except IndexError:
            return False
        return True

    def rest(self, lock: threading.Lock) -> None:
        """Wait for something to do, as one that is in `idle` or has just been taken out."""
        if self.jobs:
            with suppress(ValueError):
                self.idle.remove(lock)
                return
        lock.acquire()


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
        self._waiting = _Waiting()
        self._threads: list[threading.Thread] = []
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopJobs] = weakref.WeakKeyDictionary()
        self._latest: _LoopJobs | None = None
        self._errands: set[_Errand] = set()  # that are not done
        self._guard = threading.Lock()

    def run(self, job: Callable[[], T], undo: Callable[[T], None] | None = None) -> asyncio.Future[T]:
        """Do *job* in a thread; where its caller has left by the time it is done, do *undo* with its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        jobs = self._latest
        if jobs is None or jobs.loop() is not loop:
            self._latest = jobs = self._by_loop.setdefault(loop, _LoopJobs(loop))
        jobs.unfinished += 1
        if not self._waiting.put(_Task(job, undo, loop, future, jobs)) and len(self._threads) < self.size:
            self._grow()
        return future

    def post(self, job: Callable[[], object]) -> None:
        """Do *job* in a thread some time, whatever comes of it; from anywhere, a destructor too.

        Raises:
            RuntimeError: no thread can be started, as at the end of a program.
        """
        if sys.is_finalizing():  # Before CPython 3.12 a thread that is started then is waited for without end.
            raise RuntimeError("no thread can be started while the interpreter ends")
        if not self._threads and self._guard.acquire(blocking=False):
            try:
                self._start()
            finally:
                self._guard.release()
        errand = partial(job)
        self._errands.add(errand)
        self._waiting.jobs.append(errand)
        try:  # what the caller does next may be a job, which then goes first
            asyncio.get_running_loop().call_soon(self._waiting.wake)
        except RuntimeError:  # there is no loop
            self._waiting.wake()

    async def finish(self, within_s: float) -> None:
        """Wait until what is asked for by now is done: *within_s* at most for either kind.

        That is the running loop's jobs, those whose callers have gone included, and all errands: what an errand removes
        would else stay, where the program ends next.
        """
        await self._finish_jobs(within_s)
        if errands := self._errands.copy():
            self.run(partial(self._wait_for, errands, within_s))  # not in the loop, whose clock a test may have stopped
            await self._finish_jobs(within_s)

    def _wait_for(self, errands: set[_Errand], within_s: float) -> None:
        for _ in range(int(within_s / POLL_S)):
            if errands.isdisjoint(self._errands):
                return
            time.sleep(POLL_S)

    async def _finish_jobs(self, within_s: float) -> None:
        jobs = self._by_loop.get(loop := asyncio.get_running_loop())
        if jobs is None:
            return
        if jobs.unfinished:
            jobs.finished = jobs.finished or asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(jobs.finished.wait(), within_s)
            jobs.finished = None
        if self._by_loop.get(loop) is jobs:
            del self._by_loop[loop]
        if self._latest is jobs:
            self._latest = None

    @property
    def is_idle(self) -> bool:
        """Whether there are no threads."""
        return not self._threads

    @property
    def is_shared(self) -> bool:
        """Whether another loop that is open has use for the threads."""
        running = asyncio.get_running_loop()
        return any(not (loop is running or loop.is_closed()) for loop in list(self._by_loop))

    def stop(self) -> None:
        """Let the threads end once the jobs are done."""
        with self._guard:
            waiting, threads = self._waiting, self._threads
            self._waiting, self._threads = _Waiting(), []
        for _ in threads:
            waiting.put(None)

    def _grow(self) -> None:
        with self._guard:
            if len(self._threads) < self.size:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, args=(self._waiting,), name=THREAD_NAME, daemon=True)
        thread.start()
        self._threads.append(thread)  # one that cannot be started is none

    def _serve(self, waiting: _Waiting) -> None:
        bytearray(KEPT_BYTES)
        lock = threading.Lock()
        lock.acquire()
        while True:
            try:
                job = waiting.jobs.popleft()
            except IndexError:
                waiting.idle.append(lock)
                waiting.rest(lock)
                continue
            if job is None:
                return
            is_idle = self._do(job, waiting, lock)
            del job  # or a body would stay in memory until the next one
            if is_idle:
                waiting.rest(lock)

    def _do(self, job: _Task | _Errand, waiting: _Waiting, lock: threading.Lock) -> bool:
        """Do *job*; whether its thread counts as idle since."""
        if not isinstance(job, _Task):
            with suppress(Exception):
                job()
            self._errands.discard(job)
            return False
        result, error, is_done = None, None, False
        if not job.future.cancelled():
            is_done = True
            try:
                result = job.job()
            except BaseException as exc:
                error = exc
        is_idle = not waiting.jobs
        if is_idle:  # who is answered may ask again before this thread has come to wait
            waiting.idle.append(lock)
        self._answer(job, result, error, is_done=is_done)
        return is_idle

    def _answer(self, task: _Task, result: Any, error: BaseException | None, *, is_done: bool) -> None:
        undo = partial(task.undo, result) if task.undo is not None and is_done and error is None else None
        try:
            task.loop.call_soon_threadsafe(self._settle, task, result, error, undo)
        except RuntimeError:  # the loop is closed: nothing waits for the answer
            if undo is not None:
                with suppress(Exception):
                    undo()

    def _settle(self, task: _Task, result: Any, error: BaseException | None, undo: Callable[[], object] | None) -> None:
        future = task.future
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        elif undo is not None:
            self.run(undo)
        task.jobs.end()
