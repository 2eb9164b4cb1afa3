"""Pending writes: callers do not wait for them, reads are answered from them, and failed ones are tried again.

A write is *ready* until a batch takes it, *busy* during its put, and *resting* after a failure, until it is ready
again. It ends when it is written, deleted, or replaced by a later write of its key, or when the memory for all pending
writes is needed: then failed writes are dropped, the oldest first, or if none is left, the new write. While the store's
circuit is open, one batch at a time probes whether the store has recovered, when the guard allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, cast

from aiohttp_cache_di.backends.store import Item, Record, Store, Written
from aiohttp_cache_di.backends.tasks import background
from aiohttp_cache_di.backends.wrap.guarding.guard import OF_THE_DATA, StoreGuard
from aiohttp_cache_di.backends.wrap.guarding.outages import kind_of
from aiohttp_cache_di.backends.wrap.writing.puts import Puts
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.backends.wrap.writing.write import OnWritten, Write
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["MAX_PENDING_BYTES", "PendingWrites"]

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Most bytes of pending writes in one event loop; further entries are not stored."""

RETRY_AT_CLOSE_S: Final = 0.1


class PendingWrites:
    """The writes of one event loop into one store.

    Args:
        tombstones: keys whose stored items must not be used; a successful write removes its key.
        pack: converts an entry to the item to store.
        written: called with each entry that has been written, and its version.
        release: releases the lease on a key, in the background.
    """

    def __init__(
        self,
        store: Store,
        guard: StoreGuard,
        tombstones: Tombstones,
        *,
        pack: Callable[[StoredResponse], Item],
        written: Callable[[StoredResponse, int], None],
        release: Callable[[str], None],
    ) -> None:
        self.entries: dict[str, StoredResponse] = {}
        """By key, the entries to read instead of what is stored. Others keep references to this dict."""
        self._store = store
        self._guard = guard
        self._tombstones = tombstones
        self._pack = pack
        self._on_written = written
        self._release = release
        self._bytes = 0
        self._newest: dict[str, Write] = {}  # the writes in `entries`, the oldest first
        self._ready: dict[str, Write] = {}
        self._busy: dict[str, Write] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._starting: set[object] = set()  # one for each worker that has not begun
        self._pause: asyncio.TimerHandle | None = None
        self._puts = Puts(store.limits, self._start_workers)
        self._waiters: list[asyncio.Future[None]] = []

    # ---- adding

    def add(self, entry: StoredResponse, outcome: OnWritten | None = None, *, counts: bool = True) -> None:
        """Write *entry* in the background, in place of a pending write of its key.

        Args:
            outcome: see `OnWritten`.
            counts: see `LoopStack.store`.
        """
        write, key = Write(entry, outcome, counts=counts), entry.key
        earlier = self._newest.get(key)
        if earlier is not None and self._busy.get(key) is not earlier:
            self._withdraw(earlier)
            write.stand_in_for(earlier)
            write.is_leased = earlier.is_leased
        if not self._make_room(write.size):
            self._newest.pop(key, None)
            self.entries.pop(key, None)
            self._guard.stats.count_error("write", "backlog")
            write.tell(False)
            return
        self._bytes += write.size
        self._newest.pop(key, None)  # so that it is added at the end
        self._newest[key] = self._ready[key] = write
        self.entries[key] = entry
        if not self._must_wait():
            self._start_workers()

    def release_with(self, key: str) -> bool:
        """Have the write of *key* release the lease, too; False if none is about to begin."""
        write = self._ready.get(key)
        if write is None or write.failures or self._pause is not None:
            return False
        write.is_leased = True
        return True

    def _make_room(self, size: int) -> bool:
        if self._bytes + size > MAX_PENDING_BYTES:
            failing = [each for each in self._newest.values() if each.failures and each.entry.key not in self._busy]
            for write in failing:
                self._withdraw(write)
                self._stop_answering(write)
                self._guard.stats.count_error("write", "backlog")
                write.tell(False)
                if self._bytes + size <= MAX_PENDING_BYTES:
                    break
        return self._bytes + size <= MAX_PENDING_BYTES

    def _withdraw(self, write: Write) -> None:
        """End a write that is not busy."""
        if self._ready.get(write.entry.key) is write:
            del self._ready[write.entry.key]
        write.stop_resting()
        self._end(write)

    def _end(self, write: Write) -> None:
        write.is_over = True
        self._bytes -= write.size

    def _stop_answering(self, write: Write) -> bool:
        """Stop answering reads from *write*; return whether they were."""
        key = write.entry.key
        if self._newest.get(key) is not write:
            return False
        del self._newest[key]
        del self.entries[key]
        return True

    # ---- deletions

    def forget(self, keys: Collection[str] | None) -> None:
        """Drop the writes of *keys* (None: all); busy ones only stop answering reads."""
        for key in list(self._newest) if keys is None else keys:
            write = self._newest.get(key)
            if write is None:
                continue
            self._stop_answering(write)
            if self._busy.get(key) is not write:
                self._withdraw(write)
                write.tell(False)

    def delete_again(self, keys: Collection[str] | None) -> None:
        """Delete those of *keys* (None: all) that are being put now, when that has ended."""
        for key, write in self._busy.items():
            if keys is None or key in keys:
                write.is_deleted = True

    # ---- waiting

    async def settle(self, keys: Collection[str] | None = None, within_s: float | None = None) -> None:
        """Wait until the pending writes of *keys* (None: all) are written, or have failed once.

        Args:
            within_s: most seconds to wait; None for no limit.
        """
        if not (self._newest or self._busy) or asyncio.current_task() in self._workers:
            return
        loop = asyncio.get_running_loop()
        begun = [
            (write, write.failures)
            for of_keys in (self._newest, self._busy)
            for key, write in of_keys.items()
            if keys is None or key in keys
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while any(self._is_under_way(write, failures) for write, failures in begun):
                    self._puts.stop_waiting()
                    waiter: asyncio.Future[None] = loop.create_future()
                    self._waiters.append(waiter)
                    await waiter

    def _is_under_way(self, write: Write, failures: int) -> bool:
        if write.is_over or write.failures != failures:
            return False
        key = write.entry.key
        return self._busy.get(key) is write or (self._ready.get(key) is write and self._pause is None)

    async def finish(self, within_s: float) -> None:
        """Retry all pending writes for *within_s* seconds at most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while (self._newest or self._busy) and (left_s := until - loop.time()) > 0:
            self._guard.retry_now("write")
            if self._pause is not None:
                self._pause.cancel()
                self._resume()
            for write in list(self._newest.values()):
                self._wake(write)
            await self.settle(within_s=left_s)
            if self._newest:
                await asyncio.sleep(min(RETRY_AT_CLOSE_S, left_s))

    async def give_up(self) -> None:
        """Drop and count the writes that are left."""
        for write in list(self._newest.values()):
            self._guard.stats.count_error("write", "unwritten")
            write.tell(False)
        self.forget(None)
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
        self._puts.cancel()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    # ---- writing

    def _must_wait(self) -> bool:
        """Whether ready writes wait briefly for more: no caller waits for them, and they are few yet."""
        may_linger = self._store.limits.linger_s > 0 and not self._waiters
        return may_linger and self._puts.wait(len(self._ready), self._bytes)

    def _start_workers(self) -> None:
        """Start workers for ready writes, or a timer while the circuit is open."""
        limits = self._store.limits
        parallel, probe_in_s = limits.parallel, self._guard.probe_in_s("write")
        if probe_in_s is not None:
            if probe_in_s > 0:
                if self._pause is None:
                    self._pause = asyncio.get_running_loop().call_later(probe_in_s + 0.001, self._resume)
                    self._wake_waiters()
                return
            parallel = 1
        while len(self._workers) < parallel and len(self._ready) > len(self._starting) * limits.batch:
            start = object()
            self._starting.add(start)
            worker = background(self._work(start))
            if worker.done():  # an eager task may have done all the work already
                self._end_worker(start, worker)
                return
            self._workers.add(worker)
            worker.add_done_callback(partial(self._end_worker, start))

    def _resume(self) -> None:
        self._pause = None
        if self._ready:
            self._start_workers()

    def _end_worker(self, start: object, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._starting.discard(start)

    async def _work(self, start: object) -> None:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._workers.add(worker)
        self._starting.discard(start)
        while self._pause is None and (batch := self._take()):
            try:
                await self._try(batch)
            finally:
                self._put_back(batch)
            if self._guard.probe_in_s("write") is not None or self._must_wait():
                break
        self._workers.discard(worker)
        if self._ready and not self._puts.is_waiting and self._ready.keys() - self._busy.keys():
            self._start_workers()

    def _put_back(self, batch: list[Write]) -> None:
        """End the busy state of *batch*; writes that neither ended nor rest were cancelled, and are ready again."""
        for write in batch:
            key = write.entry.key
            if self._busy.get(key) is write:
                del self._busy[key]
            if write.is_over or write.timer is not None:
                continue
            if self._newest.get(key) is write:
                self._ready[key] = write
            else:
                self._end(write)
        if self._waiters:
            self._wake_waiters()

    def _take(self) -> list[Write]:
        batch = self._puts.choose(self._ready, self._busy)
        for write in batch:
            del self._ready[write.entry.key]
            self._busy[write.entry.key] = write
            write.timer = None
        return batch

    async def _try(self, batch: list[Write]) -> None:
        writes, records = self._packed(batch)
        if not records:
            return
        errors: list[BaseException] = []
        put = partial(self._store.put, records)
        results = await self._guard.run("write", put, None, patient=True, failed=errors.append)
        if results is None:
            self._note_failure(writes, errors[0] if errors else None)
        else:
            self._note_results(writes, results)
        deleted = [write.entry.key for write in writes if write.is_deleted]
        if deleted and await self._guard.run("delete", lambda: self._delete(deleted), False) is False:
            self._tombstones.add(deleted)

    def _packed(self, batch: list[Write]) -> tuple[list[Write], list[Record]]:
        """The writes of *batch* that are still to be made, and their records."""
        writes: list[Write] = []
        records: list[Record] = []
        for write in batch:
            entry = write.entry
            if write.failures and entry.store_until <= time.time():  # it has expired meanwhile
                self._stop_answering(write)
                self._end(write)
                continue
            try:
                item = self._pack(entry)
            except Exception as exc:  # a user's serializer may raise anything
                self._refuse(write, exc)
                continue
            writes.append(write)
            records.append(Record(entry.key, item, entry.store_until, write.is_leased))
        return writes, records

    async def _delete(self, keys: Collection[str]) -> bool:
        await self._store.delete(keys)
        return True

    def _note_results(self, writes: list[Write], results: Sequence[Written]) -> None:
        self._puts.grow()
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, StorageError):
                self._refuse(write, result)
            else:
                self._note_written(write, result)

    def _note_written(self, write: Write, version: int) -> None:
        entry = write.entry
        self._end(write)
        if not write.is_deleted:
            self._tombstones.pop(entry.key, None)
            self._guard.stats.counts.here().stored += write.counts
        if self._stop_answering(write) and not write.is_deleted:
            self._on_written(entry, version)
        write.tell(not write.is_deleted)

    def _refuse(self, write: Write, exc: Exception) -> None:
        """Drop a write whose entry cannot be stored, although the store is healthy."""
        self._guard.note_failure("write", exc)
        self._drop(write)

    def _drop(self, write: Write) -> None:
        self._stop_answering(write)
        self._end(write)
        self._release_lease(write)
        write.tell(False)

    def _note_failure(self, batch: list[Write], error: BaseException | None) -> None:
        is_about_data = error is not None and kind_of(error) in OF_THE_DATA
        self._puts.shrink(len(batch))
        for write in batch:
            newest = self._newest.get(write.entry.key)
            if newest is not write or (is_about_data and len(batch) == 1):
                if newest is not None and newest is not write:
                    newest.stand_in_for(write)
                self._drop(write)
                continue
            write.rest(self._wake)
            self._release_lease(write)
            write.tell(False)

    def _release_lease(self, write: Write) -> None:
        if write.is_leased:
            write.is_leased = False
            self._release(write.entry.key)

    def _wake(self, write: Write) -> None:
        """Make a write ready again after its rest."""
        key = write.entry.key
        if not write.is_over and self._newest.get(key) is write and write.stop_resting():
            self._ready[key] = write
            self._start_workers()

    def _wake_waiters(self) -> None:
        waiting, self._waiters = self._waiters, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
