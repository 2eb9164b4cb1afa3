"""A few threads that do what touches files, so that no event loop does."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")

THREAD_NAME: Final = "aiohttp-cache-files"


class _Task(NamedTuple):
    job: Callable[[], Any]
    undo: Callable[[Any], None] | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class _Errand(NamedTuple):
    job: Callable[[], object]


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
        self._queue: SimpleQueue[_Task | _Errand | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle: list[None] = []  # as many as threads wait for a job, as long as there may be more of them
        self._unfinished: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()
        self._finished: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}
        self._guard = threading.Lock()

    def run(self, job: Callable[[], T], undo: Callable[[T], None] | None = None) -> asyncio.Future[T]:
        """Do *job* in a thread; where its caller has left by the time it is done, do *undo* with its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._unfinished[loop] = self._unfinished.get(loop, 0) + 1
        self._queue.put(_Task(job, undo, loop, future))
        if len(self._threads) < self.size and not self._take_idle():
            self._grow()
        return future

    def post(self, job: Callable[[], object]) -> None:
        """Do *job* in a thread some time, whatever comes of it; from anywhere, a destructor too.

        Raises:
            RuntimeError: no thread can be started, as at the end of a program.
        """
        if not self._threads and self._guard.acquire(blocking=False):
            try:
                self._start()
            finally:
                self._guard.release()
        self._take_idle()
        self._queue.put(_Errand(job))

    async def finish(self, within_s: float) -> None:
        """Wait until the running loop's jobs are done, those whose callers have gone included; *within_s* at most."""
        loop = asyncio.get_running_loop()
        if self._unfinished.get(loop):
            event = self._finished.setdefault(loop, asyncio.Event())
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), within_s)
            self._finished.pop(loop, None)
        self._unfinished.pop(loop, None)

    @property
    def is_idle(self) -> bool:
        """Whether there are no threads."""
        return not self._threads

    @property
    def is_shared(self) -> bool:
        """Whether another loop that is open has use for the threads."""
        running = asyncio.get_running_loop()
        return any(not (loop is running or loop.is_closed()) for loop in list(self._unfinished))

    def stop(self) -> None:
        """Let the threads end once the jobs are done."""
        with self._guard:
            queue, threads = self._queue, self._threads
            self._queue, self._threads, self._idle = SimpleQueue(), [], []
        for _ in threads:
            queue.put(None)

    def _grow(self) -> None:
        with self._guard:
            if len(self._threads) < self.size:
                self._start()

    def _take_idle(self) -> bool:
        """Whether a thread waits for a job, which counts as busy from now on."""
        try:
            self._idle.pop()
        except IndexError:
            return False
        return True

    def _next(self, queue: SimpleQueue[_Task | _Errand | None], idle: list[None]) -> _Task | _Errand | None:
        with suppress(Empty):
            return queue.get_nowait()
        if len(idle) < self.size:
            idle.append(None)
        return queue.get()

    def _start(self) -> None:
        jobs = self._queue, self._idle
        thread = threading.Thread(target=self._serve, args=jobs, name=THREAD_NAME, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, queue: SimpleQueue[_Task | _Errand | None], idle: list[None]) -> None:
        while (task := self._next(queue, idle)) is not None:
            if isinstance(task, _Errand):
                with suppress(Exception):
                    task.job()
                del task
                continue
            result, error, is_done = None, None, False
            if not task.future.cancelled():
                is_done = True
                try:
                    result = task.job()
                except BaseException as exc:
                    error = exc
            self._answer(task, result, error, is_done=is_done)
            del task, result, error  # or a body would stay in memory until the next job

    def _answer(self, task: _Task, result: Any, error: BaseException | None, *, is_done: bool) -> None:
        undo = partial(task.undo, result) if task.undo is not None and is_done and error is None else None

        def settle() -> None:
            if not task.future.done():
                if error is None:
                    task.future.set_result(result)
                else:
                    task.future.set_exception(error)
            elif undo is not None:
                self.run(undo)
            self._count_finished(task.loop)

        try:
            task.loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop is closed: nothing waits for the answer
            if undo is not None:
                with suppress(Exception):
                    undo()

    def _count_finished(self, loop: asyncio.AbstractEventLoop) -> None:
        left = self._unfinished.get(loop, 0)
        if left:  # or it was not waited for any longer
            self._unfinished[loop] = left - 1
        if left == 1 and (event := self._finished.get(loop)) is not None:
            event.set()
