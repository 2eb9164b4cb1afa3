"""Pending writes: callers do not wait for them, reads are answered from them, and failed ones are tried again.

Workers put what is ready in the `Backlog`, as many at a time as the store allows. While the store's circuit is open,
there is one worker, which probes whether the store has recovered, when the guard allows it. If the limits of the store
have a delay (``linger_s``), few writes wait that long for more.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Collection
from typing import Final, cast

from aiohttp_cache_di.backends.store import Limits
from aiohttp_cache_di.backends.tasks import background
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.writing.backlog import MAX_BATCH_BYTES
from aiohttp_cache_di.backends.wrap.writing.puts import Puts
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten, State, Write
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["PendingWrites"]

RETRY_AT_CLOSE_S: Final = 0.1


class PendingWrites:
    """The writes of one event loop into one store.

    Args:
        puts: puts them, a batch at a time.
        limits: those of the store.
    """

    def __init__(self, puts: Puts, limits: Limits, guard: StoreGuard) -> None:
        self._puts = puts
        self._limits = limits
        self._guard = guard
        self._backlog = puts.backlog
        self._backlog.when_ready = self._start_workers
        self.entries: dict[str, StoredResponse] = self._backlog.entries
        """By key, the entries to read instead of what is stored. Others keep references to this dict."""
        self._workers: set[asyncio.Task[None]] = set()
        self._is_starting = False
        self._pause: asyncio.TimerHandle | None = None  # until the next probe of an open circuit
        self._delay: asyncio.TimerHandle | None = None  # of few writes, which wait for more
        self._waiters: list[asyncio.Future[None]] = []

    def add(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """Write *entry* in the background, in place of a pending write of its key.

        Args:
            outcome: see `OnWritten`.
            counts: see `LoopStack.store`.
        """
        write = Write(entry, outcome, counts=counts)
        for dropped in self._backlog.add(write):
            self._guard.stats.count_error("write", "backlog")
            self._puts.note_unwritten(dropped)
        if write.state is not State.OVER and not self._must_wait():
            self._start_workers()

    def release_with(self, key: str) -> bool:
        """Have the write of *key* release the lease, too; False if none is about to begin."""
        write = self._backlog.ready.get(key)
        if write is None or write.failures or self._pause is not None:
            return False
        write.is_leased = True
        return True

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop the writes of *keys* (None: all); busy ones only stop answering reads."""
        for write in self._backlog.forget(keys):
            if write.state is State.OVER:
                self._puts.note_unwritten(write)
        self._wake_waiters()  # no worker may be left to do so

    def delete_again(self, keys: Collection[str] | None) -> None:
        """Delete those of *keys* (None: all) that are being put now, when that has ended."""
        self._backlog.delete_again(keys)

    # ---- waiting

    async def settle(self, keys: Collection[str] | None = None, within_s: float | None = None) -> None:
        """Wait until the pending writes of *keys* (None: all) are written, or have failed once.

        Args:
            within_s: most seconds to wait; None for no limit.
        """
        if self._backlog.is_empty or asyncio.current_task() in self._workers:
            return
        loop = asyncio.get_running_loop()
        begun = [(write, write.failures) for write in self._backlog.of(keys)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while any(self._is_under_way(write, failures) for write, failures in begun):
                    waiter: asyncio.Future[None] = loop.create_future()
                    self._waiters.append(waiter)
                    self._hasten()
                    await waiter

    def _is_under_way(self, write: Write, failures: int) -> bool:
        is_tried = write.state is State.BUSY or (write.state is State.READY and self._pause is None)
        return is_tried and write.failures == failures

    def _wake_waiters(self) -> None:
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def finish(self, within_s: float) -> None:
        """Retry all pending writes for *within_s* seconds at most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while not self._backlog.is_empty and (left_s := until - loop.time()) > 0:
            self._guard.retry_now("write")
            self._resume()
            self._backlog.wake_all()
            await self.settle(within_s=left_s)
            if self.entries:
                await asyncio.sleep(min(RETRY_AT_CLOSE_S, left_s))

    async def give_up(self) -> None:
        """Drop and count the writes that are left."""
        for write in self._backlog.forget(None):
            self._guard.stats.count_error("write", "unwritten")
            self._puts.note_unwritten(write)
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
        self._end_delay()
        self._end_pause()

    # ---- working

    def _must_wait(self) -> bool:
        """Whether ready writes wait briefly for more: no caller waits for them, and they are few yet."""
        limits, ready = self._limits, len(self._backlog.ready)
        if limits.linger_s <= 0 or self._waiters or ready >= limits.batch:
            return False
        if self._backlog.total_bytes >= MAX_BATCH_BYTES:
            return False
        if self._delay is None and ready:
            self._delay = asyncio.get_running_loop().call_later(limits.linger_s, self._hasten)
        return self._delay is not None

    def _hasten(self) -> None:
        """End the delay, and start workers if others were cancelled, as `asyncio.run` cancels all tasks at its end."""
        self._end_delay()
        if self._pause is None and self._backlog.may_take:
            self._start_workers()

    def _end_delay(self) -> None:
        delay, self._delay = self._delay, None
        if delay is not None:
            delay.cancel()

    def _start_workers(self) -> None:
        """Start workers for ready writes soon, or a timer while the circuit is open."""
        probe_in_s = self._guard.probe_in_s("write")
        if probe_in_s:
            if self._pause is None:
                self._pause = asyncio.get_running_loop().call_later(probe_in_s + 0.001, self._resume)
                self._wake_waiters()
            return
        self._end_pause()  # the store has recovered before its time
        if not self._is_starting:  # later in this turn of the loop, or in the next: a caller waits for its response
            self._is_starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        """Start workers for the ready writes; those that were started before have begun, and taken theirs."""
        self._is_starting = False
        parallel = self._limits.parallel if self._guard.probe_in_s("write") is None else 1
        for _ in range(min(parallel - len(self._workers), math.ceil(len(self._backlog.ready) / self._limits.batch))):
            worker = background(self._work())
            if not worker.done():  # an eager task may have done all the work already
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)

    def _end_pause(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()

    def _resume(self) -> None:
        self._end_pause()
        if self._backlog.ready:
            self._start_workers()

    async def _work(self) -> None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._workers.add(worker)  # an eager task begins before it is returned
        while self._pause is None and self._backlog.may_take:
            try:
                await self._puts.put()
            finally:
                if self._waiters:
                    self._wake_waiters()
            if self._guard.probe_in_s("write") is not None or self._must_wait():
                break
        self._workers.discard(worker)
        if self._delay is None and self._backlog.may_take:
            self._start_workers()
