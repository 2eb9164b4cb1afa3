"""The store in this process's memory, with bounds of entries and bytes; expired entries are evicted first."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import msgspec

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.eviction import NEARLY_FULL, EvictionOrder
from aiohttp_cache_di.backends.forks import note_forks
from aiohttp_cache_di.backends.memory.expiry import ExpiryQueue
from aiohttp_cache_di.backends.memory.packed import CommonLines, Packed
from aiohttp_cache_di.backends.store import Found, Limits, Record, Row, StoreEvents, Written, is_mark
from aiohttp_cache_di.backends.store.inspecting import Usage
from aiohttp_cache_di.entries.items import item_leads_on
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["DEFAULT_MAX_BYTES", "MemoryStore"]

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = 400  # of an entry besides its bytes: objects, slots in the table and in the expiry queue
CHUNK = 100  # entries processed before yielding to the event loop: a millisecond at most
MAX_OPEN = 1024  # entries that are kept unpacked, too
MAX_MARKS = 100_000  # records of purges; the oldest concerns only responses that are older still


class MemoryStore:
    """Items in a dict of this process; lost when the process ends.

    Responses are packed when they are stored, while their bytes are in the processor's cache; many are never used.
    Those that were used lately are kept unpacked ("open"), too. Users' tests may store any object as a response.

    Args:
        max_entries: most items; None for no bound.
        max_bytes: most bytes of all items together; None for no bound.
    """

    limits: Limits = Limits(batch=1000)

    def __init__(self, max_entries: int | None = None, max_bytes: float | None = DEFAULT_MAX_BYTES) -> None:
        self.events: StoreEvents = StoreEvents()
        self.data: OrderedDict[str, Any] = OrderedDict()
        self._order = EvictionOrder(self.data)
        self.leading_on: set[str] = set()
        """Keys of redirects and aliases."""
        self.marks: Bounded[str, Any] = Bounded(MAX_MARKS)
        """Records of purges, apart from the items, so that none is evicted while it may concern a stored response."""
        self.judge: Callable[[StoredResponse], StoredResponse | None] = _as_it_is
        """Returns what to use in place of a response with tags (`Judging`)."""
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.total_bytes: int = 0
        self._lines = CommonLines()
        self._lock = threading.RLock()  # event loops in several threads may share the store
        self._others: set[str] = set()  # keys of items that are no `StoredResponse`: aliases, and objects of users
        self._expiry = ExpiryQueue(self.data)
        self._open: OrderedDict[str, StoredResponse] = OrderedDict()  # also kept unpacked; the first unpacked first
        note_forks(self)

    def after_fork(self) -> None:
        """Release the lock in a forked child; begin empty if a thread of the parent was just changing the tables."""
        is_whole = self._lock.acquire(blocking=False)
        self._lock = threading.RLock()
        if not is_whole:
            self._begin_empty()
            self._lines = CommonLines()

    # ---- without waiting

    def peek(self, key: str) -> StoredResponse | None:
        """Return the response under *key*."""
        entry = self._open.get(key)
        if entry is None:
            item = self.data.get(key)
            if item is None:
                return self.marks.get(key) if self.marks else None
            if (entry := self._unpack(key, item)) is None:
                return None
        self._order.used(key)
        return entry if entry.tagging is None else self.judge(entry)

    def keep(self, record: Record) -> bool:
        """Store *record*, and evict others if a bound is exceeded; False if the record alone exceeds a bound."""
        with self._lock:
            self._put(record.key, record.item, None)
            return record.key in self.data or record.key in self.marks

    def item(self, key: str) -> Any:
        """The item under *key*, without keeping it unpacked; KeyError if it is missing."""
        item = self.data[key]
        return (self._open.get(key) or self._lines.unpacked(item, key)) if type(item) is Packed else item

    def all_keys(self) -> list[str]:
        """The keys of all items, in the order in which they were inserted; other threads may change the table.

        The order of the OrderedDict takes ten times as long, and without a GIL it cannot be copied in one step.
        """
        return list(dict[str, Any].keys(self.data))

    def set(self, key: str, item: Any, *, leads_on: bool | None = None) -> None:
        """Store *item* under *key*.

        Args:
            leads_on: whether it counts as a redirect or an alias; None to decide by the item.
        """
        with self._lock:
            self._put(key, item, leads_on)

    def drop(self, key: str) -> None:
        """Delete the item under *key*, if there is one."""
        with self._lock, contextlib.suppress(KeyError):
            if self.marks.pop(key, None) is None:
                self._pop(key)

    def take(self, key: str) -> Any:
        """Delete the item under *key* and return it; KeyError if it is missing."""
        with self._lock:
            item = self.item(key)
            self._pop(key)
            return item

    # ---- as a store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up."""
        return [self._found(key) for key in keys]

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Whether each of *keys* has a redirect or an alias; None if it is missing."""
        return [key in self.leading_on if key in self.data else None for key in keys]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Store *records*."""
        for record in records:
            self.set(record.key, record.item)
        return [0] * len(records)

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*."""
        for key in keys:
            self.drop(key)

    async def soften(self, keys: Sequence[str], at: float) -> Collection[str]:
        """Make responses stale, yielding to the event loop at intervals; return the keys of other objects."""
        left: list[str] = []
        for count, key in enumerate(keys, 1):
            with self._lock:
                item = self.data.get(key)
                entry = self._lines.unpacked(item, key) if isinstance(item, Packed) else item
                if not isinstance(entry, StoredResponse):
                    left += [] if item is None or isinstance(item, str) else [key]
                elif entry.fresh_until > at:
                    self._put(key, msgspec.structs.replace(entry, fresh_until=at), key in self.leading_on)
            if count % CHUNK == 0:
                await asyncio.sleep(0)
        return left

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all items, yielding to the event loop after each page."""
        for part in in_batches(self.all_keys(), CHUNK):
            page: list[Row] = []
            for key in part:
                with contextlib.suppress(KeyError):  # deleted meanwhile
                    item = self.item(key) if items else self.data[key] and None
                    page.append(Row(key, key in self.leading_on, item))
            yield page
            await asyncio.sleep(0)

    async def usage(self) -> Usage:
        """The number and size of the items; records of purges are stored apart, and not counted."""
        return Usage(len(self.data), self.total_bytes)

    async def clear(self) -> None:
        """Delete everything at once, but free the memory in steps, yielding to the event loop."""
        with self._lock:
            old, expiry = self.data, self._expiry
            self._begin_empty()
        while old or expiry:
            for _ in range(min(CHUNK, len(old))):
                old.popitem(last=False)
            expiry.free(CHUNK)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def delete_expired(self, now: float) -> int:
        """Delete entries that have expired at *now*, yielding to the event loop at intervals; return how many."""
        count = 0
        while self._drop_expired(now):
            count += 1
            if count % CHUNK == 0:
                await asyncio.sleep(0)
        expired = {key for key in list(self._others) if getattr(self.data.get(key), "is_expired", False)}
        await self.delete(expired)
        return count + len(expired)

    # ---- inside

    def _begin_empty(self) -> None:
        self.data = OrderedDict()
        self._order.clear(self.data)
        self._expiry = ExpiryQueue(self.data)
        self._open.clear()
        self._others.clear()
        self.leading_on.clear()
        self.marks.clear()
        self.total_bytes = 0

    def _found(self, key: str) -> Found | None:
        try:  # without asking first whether it exists: another thread may delete it meanwhile
            return Found(self.item(key))
        except KeyError:
            mark = self.marks.get(key)
            return None if mark is None else Found(mark)

    def _put(self, key: str, item: Any, leads_on: bool | None) -> None:
        if type(item) is not StoredResponse:
            stored = getattr(item, "stored", None)
            item = stored if isinstance(stored, StoredResponse) else item
        if is_mark(key):
            self.marks.note(key, item)
            return
        until, is_new = math.inf, key not in self.data
        if not is_new:
            self._forget(key)
        if item_leads_on(item) if leads_on is None else leads_on:
            self.leading_on.add(key)
        if type(item) is StoredResponse:
            until = item.store_until
            item = self._lines.at_rest(item, key)
        else:
            self._others.add(key)
        self.data[key] = item
        weight = _weight(item)
        self.total_bytes += weight
        has_room = self._has_room()
        if is_new:
            self._order.came(key, weight, has_room=has_room, total=self.total_bytes)
        else:
            self._order.used(key)
        self._expiry.add(key, until)
        if not has_room:
            self._evict()

    def _pop(self, key: str) -> None:
        self._forget(key)
        del self.data[key]
        self._order.went(key)

    def _forget(self, key: str) -> None:
        """Remove the item under *key* from all tables but `data`."""
        if key in self.data:
            self._close(key)
            self.total_bytes -= _weight(self.data[key])
            self._others.discard(key)
            self.leading_on.discard(key)

    def _unpack(self, key: str, item: Any) -> StoredResponse | None:
        """Unpack *item*, and keep the entry open for a while; None if it is no response."""
        if type(item) is not Packed:
            return item if type(item) is StoredResponse else None
        packed: Packed = item
        entry = self._lines.unpacked(packed, key)
        with self._lock:
            if self.data.get(key) is packed:
                self._open[key] = entry
                self.total_bytes += packed.open_bytes
                if len(self._open) > MAX_OPEN:
                    self._close(next(iter(self._open)))
                if self._over_bounds():
                    self._order.used(key)
                    self._evict()
        return entry

    def _close(self, key: str) -> None:
        """Drop the unpacked entry of *key*, if there is one."""
        if self._open.pop(key, None) is not None:
            self.total_bytes -= self.data[key].open_bytes  # only packed items are ever open

    def _has_room(self) -> bool:
        """Whether no bound is nearly reached, which is the usual case."""
        return (self.max_bytes is None or self.total_bytes <= self.max_bytes * NEARLY_FULL) and (
            self.max_entries is None or len(self.data) <= self.max_entries * NEARLY_FULL
        )

    def _over_bounds(self) -> bool:
        """Whether a bound is exceeded."""
        return (self.max_bytes is not None and self.total_bytes > self.max_bytes) or (
            self.max_entries is not None and len(self.data) > self.max_entries
        )

    def _evict(self) -> None:
        """Evict entries until no bound is exceeded; the caller holds the lock."""
        now = time.time()
        evicted = 0
        while self.data and self._over_bounds():
            if not self._drop_first_expired(now):
                self._pop(self._order.next_to_go(self.total_bytes))
            evicted += 1
        if evicted:
            self.events.evicted(evicted)

    def _drop_expired(self, now: float) -> bool:
        """Delete one expired entry, if there is one."""
        with self._lock:
            return self._drop_first_expired(now)

    def _drop_first_expired(self, now: float) -> bool:
        key = self._expiry.next_expired(now)
        if key is not None:
            self._pop(key)
        return key is not None


def _as_it_is(entry: StoredResponse) -> StoredResponse | None:
    return entry


def _weight(item: object) -> int:
    """The size of *item*, in bytes, as it is compared with ``max_bytes``."""
    if type(item) is Packed:
        return len(item.head) + len(item.body) + ENTRY_OVERHEAD_BYTES
    if isinstance(item, StoredResponse):
        return item.held_bytes + ENTRY_OVERHEAD_BYTES
    return ENTRY_OVERHEAD_BYTES + (len(item) if isinstance(item, str | bytes) else 0)
