"""One store with all that every store gets around it; `aiohttp_cache_di.backends.wrap` tells how its parts move."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias
from weakref import WeakKeyDictionary, ref

from aiohttp_cache_di.backends.store import (
    Expiring,
    Found,
    Immediate,
    Item,
    Leasing,
    Record,
    Row,
    Store,
    Unreadable,
)
from aiohttp_cache_di.backends.wrap.batching import BatchedReads
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.backends.wrap.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.near import NearTier
from aiohttp_cache_di.backends.wrap.pending import Outcome, PendingWrites, Tombstones
from aiohttp_cache_di.backends.wrap.tasks import FINISH_WITHIN_S, Tasks
from aiohttp_cache_di.entries.codec import EntryCodec, Opaque, item_leads_on
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["FAILED", "Failed", "LoopStack", "StoreStack", "UnderWay"]

DELETED_AT_A_TIME: Final = 500  # of what a walk has found to be expired


class Failed(enum.Enum):
    """What a store operation gives when the store does not."""

    FAILED = enum.auto()


FAILED: Final = Failed.FAILED

Loaded: TypeAlias = Any
"""An item as its users see it: a stored response, the key of another item, or what a user's serializer has made."""


class UnderWay(Protocol):
    """The requests of one event loop that are on their way to the origin, and will store what they get."""

    async def arrive(self, keys: Collection[str] | None) -> None:
        """Wait a moment for bodies on their way that will be stored under *keys* (None: all)."""

    def invalidate(self, keys: Collection[str] | None) -> None:
        """What is on its way for *keys* (None: all) is not to be stored: it may have been sent before a change."""


class StoreStack:
    """A store, and what is around it in each event loop that uses it.

    Args:
        store: where records are kept.
        codec: splits what is too large for the store, and reads bytes that users hand in.
        serializer: an object with ``dumps`` and ``loads`` that makes the bytes of items in place of ours.
        near_bytes: what copies in memory may weigh in each loop; 0 keeps none.
        near_lifetime_s: seconds for which such a copy is believed at most.
        guard: bounds what callers wait for, and counts what fails.
    """

    def __init__(
        self,
        store: Store,
        codec: EntryCodec | None = None,
        serializer: Any = None,
        *,
        near_bytes: int = 0,
        near_lifetime_s: float = math.inf,
        guard: StoreGuard | None = None,
    ) -> None:
        self.store = store
        self.codec = codec or EntryCodec()
        self.serializer = serializer
        self.guard = guard or StoreGuard()
        self.near_bytes = near_bytes
        self.near_lifetime_s = near_lifetime_s
        self.whole: Store = store if store.limits.value_bytes is None else ChunkedStore(store, self.codec)
        """The store, for items of any size."""
        self.leasing: Leasing | None = store if isinstance(store, Leasing) else None
        self.tombstones = Tombstones()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopStack] = WeakKeyDictionary()
        self._latest: tuple[Callable[[], object], LoopStack | None] = (lambda: None, None)
        self.count_into(self.guard)

    @property
    def stats(self) -> CacheStats:
        """Where all is counted."""
        return self.guard.stats

    def count_into(self, guard: StoreGuard) -> None:
        """Run under *guard* from now on, and count where it counts."""
        self.guard = guard
        store: Any = self.store
        if hasattr(store, "on_evicted"):
            store.on_evicted = guard.stats.count_evicted
        if hasattr(store, "on_lost"):
            store.on_lost = guard.stats.count_unreadable
        self._loops.clear()
        self._latest = (lambda: None, None)

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
            part = self._loops[loop] = LoopStack(self)
        return part

    # ---- items, as users see them

    async def get(self, key: str) -> Item | None:
        """What is stored under *key* or on its way there; what cannot be read is counted."""
        await self.settle({key})
        here = self.here()
        entry = here.pending.entries.get(key)
        if entry is not None:
            return entry
        found = None if key in self.tombstones else await here.get(key)
        if found is None:
            return None
        if isinstance(found.item, Unreadable):
            self.stats.count_unreadable()
            return None
        return found.item

    async def put(self, record: Record) -> None:
        """Keep *record*, in place of what is on its way there; returns when it is stored, or raises."""
        here, key = self.here(), record.key
        here.pending.forget({key})
        await here.pending.settle({key})
        (written,) = await self.whole.put((record,))
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
        for batch in _batches(list(keys), self.store.limits.batch):
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
        async for page in self.whole.pages(items=items):
            yield page

    async def delete_expired(self, now: float) -> int:
        """Drop what may be dropped at *now* (POSIX time); return how many records went."""
        here, store = self.here(), self.store
        if isinstance(store, Expiring):
            count = await store.delete_expired(now)
            if here.near is not None and count:
                here.near.clear()
            return count
        count, expired = 0, list[str]()
        async for page in self.whole.pages(items=True):
            for row in page:
                entry = self.entry_of(row.item, row.key)
                if entry is not None and entry.store_until <= now:
                    expired.append(row.key)
            if len(expired) >= DELETED_AT_A_TIME:
                count += len(expired)
                await self.delete(expired)
                expired = []
        await self.delete(expired)
        return count + len(expired)

    async def close(self) -> None:
        """Write what is left, for a moment, and close the store; may be called twice."""
        part = self._loops.get(asyncio.get_running_loop())
        if part is not None:
            await part.close()
        await self.whole.close()

    # ---- what is on its way

    async def settle(self, keys: Collection[str] | None = None) -> None:
        """Wait until what is on its way in this loop, under *keys* or at all, is written, or a try has failed.

        Responses whose bodies have not been read yet are waited for too, if only for a moment.
        """
        part = self._loops.get(asyncio.get_running_loop())
        if part is not None:
            if part.under_way is not None:
                await part.under_way.arrive(keys)
            await part.pending.settle(keys)

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
        await here.pending.settle(keys, within_s=self.guard.deadline_s)
        here.pending.delete_again(keys)

    # ---- what a user's serializer makes of items

    def packed(self, entry: StoredResponse) -> Item:
        """What is stored of *entry*."""
        if self.serializer is None:
            return entry
        return self.opaque(CachedResponse.from_stored(entry), entry.key, leads_on=item_leads_on(entry))

    def opaque(self, item: object, key: str, *, leads_on: bool) -> Opaque:
        """What the user's serializer makes of *item*."""
        payload: str | bytes = self.serializer.dumps(item)
        return Opaque(key, payload.encode() if isinstance(payload, str) else payload, leads_on)

    def loaded(self, item: Item | None) -> Loaded:
        """*item* as its users see it; None where it cannot be read, which is counted."""
        if not isinstance(item, Opaque):
            return item
        with contextlib.suppress(Exception):  # whatever it raises: the entry is of no more use
            return self.serializer.loads(item.payload)
        self.stats.count_unreadable()
        return None

    def entry_of(self, item: Item | Unreadable | None, key: str) -> StoredResponse | None:
        """The response that *item* is; None for anything else."""
        if isinstance(item, StoredResponse):
            return item
        if item is None or isinstance(item, str):
            return None
        if isinstance(item, Unreadable):
            self.stats.count_unreadable()
            return None
        stored = getattr(self.loaded(item), "stored", None)
        return stored if isinstance(stored, StoredResponse) and stored.key == key else None


class LoopStack:
    """The part of a stack in one event loop: what is pending there, its near tier, and its reads."""

    def __init__(self, stack: StoreStack) -> None:
        store = stack.store
        self.stack = stack
        self.guard = stack.guard
        self.tombstones = stack.tombstones
        self.leasing = stack.leasing
        self.tasks = Tasks()
        self.under_way: UnderWay | None = None
        self.near = None if not stack.near_bytes else NearTier(store, stack.near_bytes, stack.near_lifetime_s)
        self.pending = PendingWrites(
            stack.whole,
            stack.guard,
            stack.tombstones,
            pack=stack.packed,
            written=self._note_written,
            release=self._release_later,
        )
        self.tells_all = isinstance(store, Immediate)
        """Whether what is not at hand is not there."""
        self._entry_of = stack.entry_of
        self._keep = store.keep if isinstance(store, Immediate) else None
        self._at_hand = _at_hand(store, self.near)
        self.peek: Callable[[str], StoredResponse | None] = self._at_hand if self.tells_all else self._peek
        """Gives the response under a key, if it is at hand; what is on its way counts as stored."""
        self._pending = self.pending.entries
        self._reads = BatchedReads(stack.whole)

    # ---- reading

    def _peek(self, key: str) -> StoredResponse | None:
        entry = self._pending.get(key)
        if entry is None and key not in self.tombstones:
            return self._at_hand(key)
        return entry

    async def fetch(self, key: str) -> StoredResponse | Failed | None:
        """The response that the store has under *key*, asked within a deadline."""
        if self.tells_all:
            return self.peek(key)
        return await self.guard.run("read", partial(self._fetch, key), FAILED)

    async def _fetch(self, key: str) -> StoredResponse | None:
        near = self.near
        if near is None:
            return self._entry(key, await self._reads.get(key))
        token, entry, version = near.begin(key), None, 0
        try:
            found = await self._reads.get(key)
            entry, version = self._entry(key, found), 0 if found is None else found.version
        finally:
            near.end(key, token, entry, version)
        return entry

    def _entry(self, key: str, found: Found | None) -> StoredResponse | None:
        if found is None:
            return None
        item = found.item
        return item if type(item) is StoredResponse else self._entry_of(item, key)

    async def get(self, key: str) -> Found | None:
        """What the store has under *key*, without a deadline."""
        return await self._reads.get(key)

    # ---- writing

    def store(self, entry: StoredResponse, outcome: Outcome | None = None) -> None:
        """Write *entry*: at once where that takes no waiting, else in the background."""
        if self._keep is None:
            self.pending.add(entry, outcome)
            return
        self._keep(Record(entry.key, entry, entry.store_until))
        is_written = self._at_hand(entry.key) is not None  # or too large for the store's bounds
        self.guard.stats.stored += is_written
        if outcome is not None:
            outcome(is_written)

    def invalidate(self, keys: Collection[str] | None) -> None:
        """*keys* (None: all) are being deleted: nothing older is to be stored or read any more."""
        if self.under_way is not None:
            self.under_way.invalidate(keys)
        self.pending.forget(keys)
        if self.near is not None:
            if keys is None:
                self.near.clear()
            else:
                self.near.drop(keys)

    def invalidate_from_afar(self, keys: Collection[str] | None) -> None:
        """As `invalidate`, by another loop, which cannot wait for what is being put here."""
        self.invalidate(keys)
        self.pending.delete_again(keys)

    def give_back(self, key: str, *, owner: object) -> None:
        """Give the lease on *key* back, once what is being written under it is there to be seen."""
        if self.leasing is not None and not self.pending.give_back_with(key):
            self.tasks.spawn(self._release(key), owner=owner)

    async def close(self) -> None:
        """Write what is left, for a moment."""
        await self.pending.finish(FINISH_WITHIN_S)
        await self.pending.give_up()
        if self.near is not None:
            self.near.clear()

    async def _release(self, key: str) -> None:
        await self.pending.settle({key})
        if self.leasing is not None:
            await self.guard.run("lease", partial(self.leasing.release, key), None)

    def _release_later(self, key: str) -> None:
        self.tasks.spawn(self._release(key), owner=self)

    def _note_written(self, entry: StoredResponse, version: int) -> None:
        if self.near is not None:
            self.near.wrote(entry, version)


def _at_hand(store: Store, near: NearTier | None) -> Callable[[str], StoredResponse | None]:
    """How a response is had at once."""
    if near is not None:
        return near.peek
    peek: Callable[[str], StoredResponse | None] | None = getattr(store, "peek", None)
    if peek is not None:
        return peek
    if not isinstance(store, Immediate):
        return lambda key: None

    def look(key: str) -> StoredResponse | None:
        item = store.look(key)
        return item if isinstance(item, StoredResponse) else None

    return look


def _batches(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(keys), size):
        yield keys[first : first + size]
