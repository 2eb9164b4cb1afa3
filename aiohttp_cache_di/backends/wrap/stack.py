"""One store with all that every store gets around it; `aiohttp_cache_di.backends.wrap` tells how its parts move."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from hashlib import blake2b
from typing import Any, Final, cast
from weakref import WeakKeyDictionary, ref

from msgspec.structs import replace

from aiohttp_cache_di.backends.store import Counter, Item, Record, Row, Store, StoreEvents, Unreadable, is_mark
from aiohttp_cache_di.backends.store.capabilities import Leasing
from aiohttp_cache_di.backends.wrap.abilities import Abilities
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.loop import LoopStack
from aiohttp_cache_di.backends.wrap.packing import Packing
from aiohttp_cache_di.backends.wrap.purges import PurgeCount
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.entries.codec import EntryCodec, Opaque, item_leads_on
from aiohttp_cache_di.entries.filed import FiledResponse, in_memory
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["SECRET_KEY", "StoreStack", "in_batches"]

SECRET_KEY: Final = blake2b(b"aiohttp_cache_di: the secret of digests", digest_size=20).hexdigest()
"""The key of a record that is no response: the secret of a store that does not keep it apart (`secret`)."""

READ_AT_A_TIME: Final = 200  # the batches of a store may have less


class StoreStack:
    """A store, and what is around it in each event loop that uses it.

    Args:
        store: where records are kept.
        codec: splits what is too large for the store, and reads bytes that users hand in.
        serializer: an object with ``dumps`` and ``loads`` that makes the bytes of items in place of ours.
        near_bytes: what copies in memory may weigh in each loop; 0 keeps none.
        near_lifetime_s: seconds for which such a copy is believed at most.
        value_bytes: tells the size beyond which no record is written, and none is read.
        guard: bounds what callers wait for, and counts what fails; it stays the same one.
    """

    def __init__(
        self,
        store: Store,
        codec: EntryCodec | None = None,
        serializer: Any = None,
        *,
        near_bytes: int = 0,
        near_lifetime_s: float = math.inf,
        value_bytes: Callable[[], int] | None = None,
        guard: StoreGuard | None = None,
    ) -> None:
        self.store = store
        self.codec: EntryCodec = codec or EntryCodec()
        self.guard: Final = guard or StoreGuard()
        self.guard.outages.store = store
        self.abilities: Abilities = Abilities.of(store)
        self.packing: Packing = Packing(serializer, self.events)
        self.near_bytes = near_bytes
        self.near_lifetime_s = near_lifetime_s
        self.whole: Store = store if store.limits.value_bytes is None else ChunkedStore(store, self.codec, value_bytes)
        """The store, for items of any size."""
        self.leasing: Leasing | None = self.abilities.leasing
        self.tombstones: Tombstones = Tombstones()
        self.purge_count: PurgeCount = PurgeCount()
        self._keeps_apart = self.abilities.keeping is not None or self.abilities.immediate is not None
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopStack] = WeakKeyDictionary()
        self._latest: tuple[Callable[[], object], LoopStack | None] = (lambda: None, None)
        self.count_into(self.guard.stats)

    @property
    def stats(self) -> CacheStats:
        """Where operations are counted."""
        return self.guard.stats

    @property
    def events(self) -> StoreEvents:
        """Where it is told what happens in the store."""
        return self.abilities.events

    def count_into(self, counter: Counter) -> None:
        """Let *counter* count what is evicted and what is unreadable here, too: a store may have several users."""
        self.events.count_into(counter)

    def here(self) -> LoopStack:
        """The part of the running loop, made when there is none."""
        loop = asyncio.get_running_loop()
        of_loop, latest = self._latest
        if latest is None or of_loop() is not loop:
            latest = self.part_in(loop)
            self._latest = (ref(loop), latest)
        return latest

    def part_in(self, loop: asyncio.AbstractEventLoop) -> LoopStack:
        """The part of *loop*, made when there is none."""
        part = self._loops.get(loop)
        if part is None:
            for other in [other for other in list(self._loops) if other.is_closed()]:
                del self._loops[other]
            parts = self.whole, self.abilities, self.guard, self.tombstones, self.packing
            part = self._loops[loop] = LoopStack(*parts, self.near_bytes, self.near_lifetime_s, self.purge_count)
        return part

    def shows(self, key: str) -> bool:
        """Whether *key* is of what users store: not of a purge, nor of the secret."""
        return not is_mark(key) and (self._keeps_apart or key != SECRET_KEY)

    # ---- items, as users see them

    async def get(self, key: str) -> Item | None:
        """What is stored under *key* or on its way there; what cannot be read is counted, what was purged is gone."""
        await self.settle({key})
        here = self.here()
        entry = here.pending.entries.get(key)
        if entry is not None:
            return await here.purges.judge(entry)
        found = None if key in self.tombstones else await here.get(key)
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
        """The stored response under *key*, as `get` finds it; None for anything else."""
        return self.packing.entry_of(await self.get(key), key)

    async def items(self, keys: Collection[str]) -> list[Item]:
        """As `get`, of many keys: what there is."""
        asked, found = list(keys), list[Item]()
        for first in range(0, len(asked), READ_AT_A_TIME):
            part = await asyncio.gather(*map(self.get, asked[first : first + READ_AT_A_TIME]))
            found += [item for item in part if item is not None]
        return found

    async def kinds(self, keys: Collection[str]) -> dict[str, bool]:
        """Whether those of *keys* that are stored, or on their way, lead on to others."""
        await self.settle(keys)
        pending, limits = self.here().pending.entries, self.store.limits
        kinds = {key: item_leads_on(pending[key]) for key in keys if key in pending}
        asked = [key for key in keys if key not in kinds and key not in self.tombstones]
        batches = list(in_batches(asked, limits.batch))
        for first in range(0, len(batches), limits.parallel):
            part = batches[first : first + limits.parallel]
            for batch, found in zip(part, await asyncio.gather(*map(self.abilities.kinds, part)), strict=True):
                kinds |= {key: kind for key, kind in zip(batch, found, strict=True) if kind is not None}
        return kinds

    async def put(self, record: Record) -> None:
        """Keep *record*, in place of what is on its way there; returns when it is stored, or raises."""
        item, spooling = record.item, self.abilities.spooling
        if isinstance(item, FiledResponse) and not (spooling and spooling.holds(item.file)):
            record = replace(record, item=await in_memory(item))
        here, key = self.here(), record.key
        if isinstance(record.item, StoredResponse) and record.item.tagging is not None:
            here.purges.note_stored(record.item)
        here.purges.reasons.pop(key, None)
        here.pending.forget({key})
        await here.pending.settle({key})
        here.direct[under_way := asyncio.get_running_loop().create_future()] = key
        try:
            (written,) = await self.whole.put((record,))
        finally:
            del here.direct[under_way]
            under_way.set_result(None)
        if isinstance(written, StorageError):
            raise written
        self.tombstones.pop(key, None)
        if here.near is None:
            return
        if isinstance(record.item, StoredResponse):
            here.near.wrote(record.item, written)
        else:
            here.near.drop({key})

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys*, and what is on its way there."""
        await self._void(keys)
        for batch in in_batches(list(keys), self.store.limits.batch):
            await self.whole.delete(batch)
        here = self.here()
        if here.near is not None:
            here.near.drop(keys)
        for key in keys:
            self.tombstones.pop(key, None)

    async def clear(self) -> None:
        """Drop everything, and what is on its way."""
        await self._void(None)
        await self.whole.clear()
        here = self.here()
        if here.near is not None:
            here.near.clear()
        self.tombstones.clear()

    async def pages(self, *, items: bool) -> AsyncGenerator[Sequence[Row]]:
        """Walk over all records, what is on its way included if it is written soon."""
        await self.settle(None)
        pages = cast("AsyncGenerator[Sequence[Row]]", self.whole.pages(items=items))
        async with aclosing(pages):
            async for page in pages:
                yield [row for row in page if self.shows(row.key)]

    async def close(self) -> None:
        """Write what is left, for a moment, and close the store; may be called twice."""
        part = self._loops.get(asyncio.get_running_loop())
        if part is not None:
            await part.close()
        await self.whole.close()

    # ---- what is on its way

    async def settle(self, keys: Collection[str] | None = None, within_s: float | None = None) -> None:
        """Wait until what is on its way in this loop, under *keys* or at all, is written, or a try has failed.

        Responses whose bodies have not been read yet are waited for too, if only for a moment.

        Args:
            within_s: seconds, if the writes may not take longer.
        """
        part = self._loops.get(asyncio.get_running_loop())
        if part is not None:
            if part.under_way is not None:
                await part.under_way.drain_bodies(keys)
            await part.pending.settle(keys, within_s)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """*keys* (None: all) are being deleted: nothing older is to be stored or read any more, in no loop."""
        running = asyncio.get_running_loop()
        for loop, part in list(self._loops.items()):
            if loop is running:
                part.invalidate(keys)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(part.invalidate_from_afar, keys)

    async def _void(self, keys: Collection[str] | None) -> None:
        """See to it that no write that has begun outlives the deletion of *keys* (None: all)."""
        self.invalidate(keys)
        here = self.here()
        await here.pending.settle(keys, within_s=self.guard.deadline_s / 4)  # it may be part of a guarded deletion
        here.pending.delete_again(keys)
        direct = [write for write, key in here.direct.items() if keys is None or key in keys]
        if direct:
            await asyncio.wait(direct)


def in_batches(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """*keys*, so many at a time."""
    for first in range(0, len(keys), size):
        yield keys[first : first + size]
