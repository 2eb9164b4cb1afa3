"""`StoreStack`: one store with all that is wrapped around it; `aiohttp_cache_di.backends.wrap` explains the parts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from hashlib import blake2b
from typing import Any, Final, cast

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.loops import LoopLocal
from aiohttp_cache_di.backends.store import Counter, Item, Record, Row, Store, StoreEvents, Unreadable, is_mark
from aiohttp_cache_di.backends.store.capabilities import Immediate, Judging, Keeping, Telling, Versioned, kinds_of
from aiohttp_cache_di.backends.store.sizes import RecordLimit
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.packing import Packing
from aiohttp_cache_di.backends.wrap.purges import InMemory, PurgeCount, Purges
from aiohttp_cache_di.backends.wrap.recovery import Recovery
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque, item_leads_on
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["SECRET_KEY", "StoreStack"]

SECRET_KEY: Final = blake2b(b"aiohttp_cache_di: the secret of digests", digest_size=20).hexdigest()
"""The key of the record with the digest secret, in a store that has no other place for it (`secret`)."""

READ_AT_A_TIME: Final = 200  # concurrent reads, which the store's batches may divide further


class StoreStack:
    """A store, and its `LoopStack` in each event loop that uses it.

    Args:
        store: stores the records.
        codec: encodes items that are too large for the store and so are split; decodes bytes that users write.
        serializer: an object with ``dumps`` and ``loads``, used instead of the built-in format.
        near_bytes: size of the near tier of each loop; 0 for none.
        near_lifetime_s: most seconds for which a copy in the near tier is used.
        limit: the size of the largest record that is written or read.
        guard: limits the time of operations, and counts failures.
    """

    def __init__(
        self,
        store: Store,
        codec: EntryCodec | None = None,
        serializer: Any = None,
        *,
        near_bytes: int = 0,
        near_lifetime_s: float = math.inf,
        limit: RecordLimit | None = None,
        guard: StoreGuard | None = None,
    ) -> None:
        self.store = store
        self.codec: EntryCodec = codec or EntryCodec()
        self.guard: Final = guard or StoreGuard()
        self.guard.outages.store = store
        self.is_in_memory: bool = isinstance(store, Immediate)
        """Whether the store is in this process's memory."""
        self.events: StoreEvents = store.events if isinstance(store, Telling) else StoreEvents()
        """The events of the store, such as evictions; none if it reports none."""
        self.packing: Packing = Packing(serializer, self.events)
        self.near_bytes = near_bytes
        self.near_lifetime_s = near_lifetime_s
        self.limit: RecordLimit = limit or RecordLimit()
        self.whole: Store = store if store.limits.value_bytes is None else ChunkedStore(store, self.codec, self.limit)
        """The store, which takes items of any size: it is wrapped if its own items have a limit."""
        self.tombstones: Tombstones = Tombstones()
        self.purge_count: PurgeCount = PurgeCount()
        self._keeps_apart = isinstance(store, Keeping | Immediate)
        parts = store, self.whole, self.guard, self.tombstones, self.packing
        purges = None
        if isinstance(store, Immediate) and isinstance(store, Judging):
            # The store refers to what checks tags, and outlives loops.
            purges = Purges(InMemory(store), self.purge_count)
            store.judge = purges.judge_at_once
        self._loops = LoopLocal(partial(LoopStack, *parts, near_bytes, near_lifetime_s, self.purge_count, purges))
        self.here: Callable[..., LoopStack] = self._loops.here
        """Returns the part of an event loop, by default of the running one; made on first use."""
        self.count_into(self.guard.stats)
        self.events.when_unreadable(self.guard.outages.unreadable)
        self._recoveries = LoopLocal(partial(Recovery, store))
        if not isinstance(store, Immediate):
            self.guard.on_failure = partial(_expect_recovery, self._recoveries)

    @property
    def stats(self) -> CacheStats:
        """The counters of operations."""
        return self.guard.stats

    def count_into(self, counter: Counter) -> None:
        """Add *counter* for evicted and unreadable entries; a store may have several users, each with a counter."""
        self.events.count_into(counter)

    def shows(self, key: str) -> bool:
        """Whether the record under *key* is shown to users; records of purges and of the secret are not."""
        return not is_mark(key) and (self._keeps_apart or key != SECRET_KEY)

    # ---- items

    async def get(self, key: str, *, doubted: bool = False) -> Item | None:
        """The item under *key*, pending or stored; None if it is missing, purged, or unreadable (which is counted).

        Args:
            doubted: also one that has a tombstone. It may not be used, but tells what to delete with it.
        """
        await self.settle({key})
        here = self.here()
        entry = here.pending.entries.get(key)
        if entry is not None:
            return await here.purges.judge(entry)
        found = await here.get(key) if doubted or key not in self.tombstones else None
        if found is None:
            return None
        if isinstance(found.item, Unreadable):
            self.events.unreadable()
            return None
        item = found.item
        shown = self.packing.entry_of(item, key) if isinstance(item, Opaque) and not item.leads_on else item
        if not isinstance(shown, StoredResponse) or shown.tagging is None:
            return item
        judged = await here.purges.judge(shown)
        return item if judged is shown else None if judged is None else self.packing.packed(judged)

    async def entry(self, key: str) -> StoredResponse | None:
        """Like `get`, but None for anything other than a response."""
        return self.packing.entry_of(await self.get(key), key)

    async def items(self, keys: Collection[str], *, doubted: bool = False) -> list[Item]:
        """Like `get` for many keys; only the items that exist."""
        asked, found = list(keys), list[Item]()
        get = partial(self.get, doubted=doubted)
        for part in in_batches(asked, READ_AT_A_TIME):
            found += [item for item in await asyncio.gather(*map(get, part)) if item is not None]
        return found

    async def kinds(self, keys: Collection[str]) -> dict[str, bool]:
        """Whether each of *keys* has a redirect or an alias; keys without an item are left out."""
        await self.settle(keys)
        pending, limits = self.here().pending.entries, self.store.limits
        kinds = {key: item_leads_on(pending[key]) for key in keys if key in pending}
        asked = [key for key in keys if key not in kinds and key not in self.tombstones]
        batches = list(in_batches(asked, limits.batch))
        for part in in_batches(batches, limits.parallel):
            for batch, found in zip(part, await asyncio.gather(*map(partial(kinds_of, self.store), part)), strict=True):
                kinds |= {key: kind for key, kind in zip(batch, found, strict=True) if kind is not None}
        return kinds

    async def put(self, record: Record) -> None:
        """Store *record* in place of a pending write of its key; return when it is stored, or raise."""
        await self.here().put(record)

    async def write(self, entry: StoredResponse) -> None:
        """Store *entry* under its own key until its ``store_until``, as `put` does."""
        await self.put(Record(entry.key, self.packing.packed(entry), entry.store_until))

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*, including pending writes."""
        with self.deleting(keys):
            await self._prevent_older(keys)
            for batch in in_batches(list(keys), self.store.limits.batch):
                await self.whole.delete(batch)
        for key in keys:
            self.tombstones.pop(key, None)

    async def clear(self) -> None:
        """Delete everything, including pending writes."""
        with self.deleting(None):
            await self._prevent_older(None)
            await self.whole.clear()
        self.tombstones.clear()

    async def pages(self, *, items: bool) -> AsyncGenerator[Sequence[Row]]:
        """Iterate over all records, a page at a time, after waiting for pending writes."""
        await self.settle(None)
        pages = cast("AsyncGenerator[Sequence[Row]]", self.whole.pages(items=items))
        async with aclosing(pages):
            async for page in pages:
                yield [row for row in page if self.shows(row.key)]

    async def close(self) -> None:
        """Finish pending writes, for a second at most, and close the store; may be called twice."""
        part = self._loops.get(asyncio.get_running_loop())
        if part is not None:
            await part.close()
        recovery = self._recoveries.get(asyncio.get_running_loop())
        if recovery is not None:
            await recovery.close()
        await self.whole.close()

    # ---- pending writes and deletions

    async def settle(self, keys: Collection[str] | None = None, within_s: float | None = None) -> None:
        """Wait until the pending writes of this loop are written or have failed once.

        It also waits briefly for bodies that are still arriving.

        Args:
            keys: only the writes of these keys; None for all.
            within_s: most seconds to wait for the writes; None for no limit.
        """
        part = self._loops.get(asyncio.get_running_loop())
        if part is not None:
            if part.under_way is not None:
                await part.under_way.drain_bodies(keys)
            await part.pending.settle(keys, within_s)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """Tell every loop that *keys* (None: all) are being deleted: it may not store or use anything older."""
        self._in_every_loop(lambda part: part.invalidate(keys), lambda part: part.invalidate_from_afar(keys))

    @contextmanager
    def deleting(self, keys: Collection[str] | None) -> Generator[None]:
        """Inside the ``with`` statement, *keys* (None: all) are being deleted, or changed so that copies are outdated.

        What a request reads meanwhile may be written neither during the deletion nor after it.
        """
        self.here()  # a part that was made later would not know of the deletion
        self._in_every_loop(lambda part: part.deletions.begin(keys))
        try:
            yield
        finally:
            self._in_every_loop(lambda part: part.end_deletion(keys))

    def drop_copies(self) -> None:
        """After a search of the store, use no copies in memory that it has not found, in any loop.

        Another process may have deleted their entries, which not every store tells at once. `Versioned` stores do.
        """
        if not isinstance(self.store, Versioned):
            self._in_every_loop(lambda part: part.drop_copies(None))

    def _in_every_loop(
        self, here: Callable[[LoopStack], None], elsewhere: Callable[[LoopStack], None] | None = None
    ) -> None:
        """Call *here* with the part of the running loop, and with others' parts *elsewhere*, or *here* as well."""
        running: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # the loop was closed, and a task that it has left behind is freed
            running = asyncio.get_running_loop()
        for loop, part in self._loops.items():
            if loop is running:
                here(part)
            else:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(elsewhere or here, part)

    async def _prevent_older(self, keys: Collection[str] | None) -> None:
        """Before *keys* (None: all) are deleted, make sure that no earlier write can store them again."""
        self.invalidate(keys)
        # The caller may be a guarded deletion, of whose deadline this takes a part.
        await self.here().end_puts(keys, within_s=self.guard.deadline_s / 4)


def _expect_recovery(recoveries: LoopLocal[Recovery], guard: StoreGuard) -> None:
    recoveries.here().expect(guard)
