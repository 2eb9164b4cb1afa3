"""`Puts`: puts batches of pending writes into the store, and does what follows for each write."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from aiohttp_cache_di.backends.store import Item, Record, Store, Written
from aiohttp_cache_di.backends.wrap.guarding.guard import OF_THE_DATA, StoreGuard
from aiohttp_cache_di.backends.wrap.guarding.outages import kind_of
from aiohttp_cache_di.backends.wrap.writing.backlog import Backlog
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.backends.wrap.writing.write import Write
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Puts"]


class Puts:
    """Puts batches of the `backlog`; a write that was put has ended, or rests to be tried again.

    Args:
        tombstones: a successful write removes its key; a failed deletion adds it.
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
        self.backlog: Backlog = Backlog()
        self._most = store.limits.batch
        """Most writes in the next put: halved by a failure, which isolates a write at fault; doubled by a success."""
        self._store = store
        self._guard = guard
        self._tombstones = tombstones
        self._pack = pack
        self._on_written = written
        self._release = release

    async def put(self) -> None:
        """Put ready writes, the oldest first, and then delete those of them that were deleted meanwhile."""
        batch = self.backlog.take(self._most)
        try:
            await self._put(*self._packed(batch))
        finally:
            for dropped in self.backlog.put_back(batch):
                if dropped.is_deleted:  # what was put may arrive after the deletion
                    self._tombstones.add((dropped.entry.key,))
                self.note_unwritten(dropped)

    async def _put(self, writes: Sequence[Write], records: Sequence[Record]) -> None:
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
        if deleted:
            await self._delete_again(deleted)

    def _packed(self, batch: Sequence[Write]) -> tuple[list[Write], list[Record]]:
        """The writes of *batch* that are still to be made, and their records."""
        writes: list[Write] = []
        records: list[Record] = []
        for write in batch:
            entry = write.entry
            if write.failures and entry.store_until <= time.time():  # it has expired meanwhile
                self.backlog.end(write)
                continue
            try:
                item = self._pack(entry)
            except Exception as exc:  # a user's serializer may raise anything
                self._refuse(write, exc)
                continue
            writes.append(write)
            records.append(Record(entry.key, item, entry.store_until, write.is_leased))
        return writes, records

    async def _delete_again(self, keys: Collection[str]) -> None:
        are_deleted = False
        try:
            are_deleted = await self._guard.run("delete", lambda: self._delete(keys), False) is True
        finally:
            if not are_deleted:  # it has failed or was cancelled
                self._tombstones.add(keys)

    async def _delete(self, keys: Collection[str]) -> bool:
        await self._store.delete(keys)
        return True

    def _note_results(self, writes: Sequence[Write], results: Sequence[Written]) -> None:
        self._most = min(2 * self._most, self._store.limits.batch)
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, StorageError):
                self._refuse(write, result)
            else:
                self._note_written(write, result)

    def _note_written(self, write: Write, version: int) -> None:
        entry = write.entry
        if not write.is_deleted:
            self._tombstones.pop(entry.key, None)
            self._guard.stats.counts.here().stored += write.counts
        if self.backlog.end(write) and not write.is_deleted:
            self._on_written(entry, version)
        write.tell(not write.is_deleted)

    def _note_failure(self, batch: Sequence[Write], error: BaseException | None) -> None:
        is_about_data = error is not None and kind_of(error) in OF_THE_DATA
        self._most = max(1, len(batch) // 2)
        for write in batch:
            if self.backlog.newest(write.entry.key) is write and not (is_about_data and len(batch) == 1):
                self.backlog.rest(write)
            else:
                self.backlog.drop(write)
            self.note_unwritten(write)

    def _refuse(self, write: Write, exc: Exception) -> None:
        """Drop a write whose entry cannot be stored, although the store is healthy."""
        self._guard.note_failure("write", exc)
        self.backlog.drop(write)
        self.note_unwritten(write)

    def note_unwritten(self, write: Write) -> None:
        """Tell that *write* has failed or was dropped, and release its lease."""
        if write.is_leased:
            write.is_leased = False
            self._release(write.entry.key)
        write.tell(False)
