"""Storage in this process's memory: bounded by entries and bytes, expired first, then least recently used."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import threading
import time
from collections import OrderedDict, UserDict, deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar, Self, Unpack

import msgspec

from aiohttp_cache_di.backends.options import StorageOptions
from aiohttp_cache_di.backends.storage import BaseCache, ResponseOrKey
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["DEFAULT_MAX_BYTES", "DictCache"]

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
ENTRY_OVERHEAD_BYTES = 400  # what an entry costs beside its texts: objects, the table's slot and the expiry queue's
CHUNK = 100  # entries dealt with before the loop gets its turn: a millisecond at the most
SIFTED = 4  # places of the expiry queue that are looked at for each one that is added
MAX_UNPACKED = 1024
MAX_PACKED_BYTES = 64 * 1024  # of an entry: beside a larger body its objects weigh nothing, and it takes time to copy


class Packed(msgspec.Struct, frozen=True, gc=False):
    """An entry at rest: one piece of bytes weighs half of what its objects do, and gives the collector no work.

    Args:
        data: its fields but the key, which the table has, as MessagePack.
        store_until: as in `StoredResponse`.
    """

    data: bytes
    store_until: float

    @classmethod
    def of(cls, entry: StoredResponse) -> Self:
        """Pack *entry*; one that somebody has put things into that have no such form raises."""
        data = _encode(msgspec.structs.replace(entry, key=""))
        until = entry.store_until
        # A copy, since the encoder leaves room behind what it returns; and one infinity is enough for all.
        return cls(bytes(memoryview(data)), math.inf if until == math.inf else until)

    def unpacked(self, key: str) -> StoredResponse:
        """The entry that is kept under *key*."""
        return msgspec.structs.replace(_decode(self.data), key=key)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredResponse).decode


class DictCache(BaseCache, UserDict):  # type: ignore[type-arg]  # the seeds' API has it a UserDict; its items are ours
    """Entries in a dict of this process, shared by whoever shares the object; gone when the process ends.

    Those that were stored or asked for lately are kept as they are, the others are packed.

    Args:
        max_entries: how many entries are kept at most; None for no bound.
        max_bytes: how many bytes they may weigh together; None for no bound.
        kwargs: see `BaseCache`; entries never leave the process, so nothing is signed.
    """

    authoritative_peek: ClassVar[bool] = True

    def __init__(
        self,
        secret_key: Iterable[str | bytes] | str | bytes | None = None,
        salt: str | bytes = b"aiohttp-client-cache",
        serializer: Any = None,
        **kwargs: Unpack[StorageOptions],
    ) -> None:
        super().__init__(secret_key, salt, serializer, **kwargs)
        self.data: OrderedDict[str, Any] = OrderedDict()  # pyright: ignore[reportIncompatibleVariableOverride]  # ordered
        self.max_entries = kwargs.get("max_entries")
        self.max_bytes = kwargs.get("max_bytes", DEFAULT_MAX_BYTES)
        self.total_bytes = 0
        self._lock = threading.RLock()  # event loops in several threads may share the storage
        self._foreign: set[str] = set()  # keys of what is no stored response: aliases, and objects of the user's
        # Heaps by store_until; they may name entries that are gone or were replaced, for which the second is sifted.
        self._queue: list[tuple[float, str]] = []
        self._unsifted: list[tuple[float, str]] = []
        self._unpacked: deque[str] = deque()  # keys, the first unpacked first; may name entries that are gone

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.data)} entries, {self.total_bytes} bytes>"

    # ---- the engine's side

    def peek(self, key: str) -> StoredResponse | None:
        """Return the entry at once."""
        entry = self.data.get(key)
        if type(entry) is not StoredResponse:
            if type(entry) is not Packed:
                return None
            entry = self._unpack(key, entry)
        try:
            self.data.move_to_end(key)
        except KeyError:  # another thread has just deleted it
            return None
        return entry

    def put(self, entry: StoredResponse) -> None:
        """Store *entry* at once, and let others go where a bound asks for it."""
        self[entry.key] = entry

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Return the entry, following one alias."""
        item = self.data.get(key)
        if type(item) is str:
            key = item
        return self.peek(key)

    async def write_entry(self, entry: StoredResponse) -> None:
        """Store *entry* until its ``store_until``."""
        self.put(entry)

    async def delete_expired(self, now: float) -> int:
        """Delete what may be dropped at *now*, with a pause for others now and then."""
        count = 0
        while self._drop_expired(now):
            count += 1
            if count % CHUNK == 0:
                await asyncio.sleep(0)
        expired = {key for key in self._foreign if getattr(self.data[key], "is_expired", False)}
        await self.bulk_delete(expired)
        return count + len(expired)

    # ---- items

    async def contains(self, key: str) -> bool:
        """Check whether *key* is stored."""
        await self.settle_writes({key})
        return key in self.data

    async def clear(self) -> None:  # type: ignore[override]  # the API's clear is a coroutine, UserDict's is not
        """Delete everything: at once, but give the memory back with a pause for others now and then."""
        with self._lock:
            old = self.data
            self.data = OrderedDict()  # pyright: ignore[reportIncompatibleVariableOverride]  # ordered
            queues = self._queue, self._unsifted
            self._queue, self._unsifted = [], []
            self._unpacked.clear()
            self._foreign.clear()
            self.total_bytes = 0
        while old or any(queues):
            for _ in range(min(CHUNK, len(old))):
                old.popitem(last=False)
            for queue in queues:
                del queue[-CHUNK:]
            await asyncio.sleep(0)

    async def delete(self, key: str) -> None:
        """Delete an item; a missing one is no error."""
        with contextlib.suppress(KeyError):
            del self[key]

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several items; missing ones are no error."""
        for key in keys:
            await self.delete(key)

    async def keys(self) -> AsyncIterator[str]:  # type: ignore[override]  # asynchronous by the API
        """Iterate over the keys, with a pause for others now and then."""
        await self.settle_writes(None)
        keys = list(dict[str, Any].keys(self.data))  # not in the order of use, which takes ten times as long
        for number, key in enumerate(keys, 1):
            yield key
            if number % CHUNK == 0:
                await asyncio.sleep(0)

    async def values(self) -> AsyncIterator[ResponseOrKey]:  # type: ignore[override]  # asynchronous by the API
        """Iterate over the items, with a pause for others now and then."""
        async for key in self.keys():
            if key in self.data:
                yield self._item(key)

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; each reader of a response gets an object and a stream of its own."""
        await self.settle_writes({key})
        return self._item(key) if key in self.data else None

    async def pop(self, key: str, default: ResponseOrKey = None) -> ResponseOrKey:  # type: ignore[override]
        """Delete an item and return it, or *default* when it is missing."""
        with self._lock:
            if key not in self.data:
                return default
            item = self._item(key)
            del self[key]
            return item

    async def size(self) -> int:
        """Count the items."""
        await self.settle_writes(None)
        return len(self.data)

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*."""
        self[key] = item

    # ---- the mapping underneath

    def __getitem__(self, key: str) -> Any:
        item = self.data[key]
        return item.unpacked(key) if type(item) is Packed else item

    def __setitem__(self, key: str, item: Any) -> None:
        with self._lock:
            self._put(key, item)

    def _put(self, key: str, item: Any) -> None:
        stored = getattr(item, "stored", None)
        if isinstance(stored, StoredResponse):
            item = stored
        until = math.inf
        self._foreign.discard(key)
        if type(item) is StoredResponse:
            until = item.store_until
            if item.key != key:
                item = msgspec.structs.replace(item, key=key)
            self._note_unpacked(key)
        else:
            self._foreign.add(key)
        self._hold(key, item)
        self.data.move_to_end(key)
        if until != math.inf:
            heapq.heappush(self._queue, (until, key))
            self._sift_queue()
        if self._over_bounds():
            self._evict()

    def __delitem__(self, key: str) -> None:
        with self._lock:
            self.total_bytes -= _weight(self.data.pop(key))
            self._foreign.discard(key)

    def _item(self, key: str) -> ResponseOrKey:
        item: ResponseOrKey | StoredResponse = self[key]
        return CachedResponse.from_stored(item) if isinstance(item, StoredResponse) else item

    def _hold(self, key: str, item: Any) -> None:
        """Have *item* in the place of what *key* had."""
        previous = self.data.get(key)
        if previous is not None:
            self.total_bytes -= _weight(previous)
        self.data[key] = item
        self.total_bytes += _weight(item)

    def _unpack(self, key: str, packed: Packed) -> StoredResponse:
        entry = packed.unpacked(key)
        with self._lock:
            if self.data.get(key) is packed:
                self._hold(key, entry)
                self._note_unpacked(key)
        return entry

    def _note_unpacked(self, key: str) -> None:
        """Remember *key*, and pack what has been unpacked for the longest; if it is wanted often, it soon is again."""
        self._unpacked.append(key)
        if len(self._unpacked) <= MAX_UNPACKED:
            return
        oldest = self._unpacked.popleft()
        entry = self.data.get(oldest)
        if type(entry) is StoredResponse and len(entry.body) <= MAX_PACKED_BYTES:
            with contextlib.suppress(TypeError, ValueError, OverflowError):  # what has no packed form is kept as it is
                self._hold(oldest, Packed.of(entry))

    def _over_bounds(self) -> bool:
        return (self.max_bytes is not None and self.total_bytes > self.max_bytes) or (
            self.max_entries is not None and len(self.data) > self.max_entries
        )

    def _evict(self) -> None:
        now = time.time()
        evicted = 0
        while self.data and self._over_bounds():
            if not self._drop_expired(now):
                del self[next(iter(self.data))]
            evicted += 1
        self.on_evicted(evicted)

    def _drop_expired(self, now: float) -> bool:
        """Drop one entry that has expired, if there is one."""
        with self._lock:
            return self._drop_first_expired(now)

    def _drop_first_expired(self, now: float) -> bool:
        for queue in (self._queue, self._unsifted):
            while queue and queue[0][0] <= now:
                until, key = heapq.heappop(queue)
                if self._is_kept_until(until, key):
                    del self[key]
                    return True
        return False

    def _sift_queue(self) -> None:
        """When the queue names most entries in vain, leave those out: a few at a time, for they may be many."""
        if not self._unsifted and len(self._queue) > 2 * len(self.data) + CHUNK:
            self._queue, self._unsifted = [], self._queue
        for _ in range(min(SIFTED, len(self._unsifted))):
            until, key = self._unsifted.pop()  # without its last place, a heap is one still
            if self._is_kept_until(until, key):
                heapq.heappush(self._queue, (until, key))

    def _is_kept_until(self, until: float, key: str) -> bool:
        entry = self.data.get(key)
        return isinstance(entry, StoredResponse | Packed) and entry.store_until == until


def _weight(item: object) -> int:
    """What *item* weighs against the bound, in bytes."""
    if isinstance(item, StoredResponse):
        return item.size_bytes + ENTRY_OVERHEAD_BYTES
    if isinstance(item, Packed):
        return len(item.data) + ENTRY_OVERHEAD_BYTES
    return ENTRY_OVERHEAD_BYTES + (len(item) if isinstance(item, str | bytes) else 0)
