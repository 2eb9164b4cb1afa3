"""`StackCache`: the storage API (`BaseCache`) for all of our own stores."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any, Self

from msgspec.structs import replace

from aiohttp_cache_di.backends.storage import BaseCache, ResponseOrKey, keys_of, refuse_other_items, refuse_other_keys
from aiohttp_cache_di.backends.store import Item, Lease, Record, Row, Unreadable
from aiohttp_cache_di.backends.store.capabilities import Leasing
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.backends.wrap.stack import StoreStack
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque, item_leads_on
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.telemetry import CacheStats

__all__ = ["StackCache"]


class StackCache(BaseCache):
    """A storage that shows the items of a stack.

    Args:
        stack: the stack.
        leads_on: True shows only redirects and aliases, False only other items, None all items.
    """

    def __init__(self, stack: StoreStack, *, leads_on: bool | None = None) -> None:
        self.stack = stack
        self._leads_on = leads_on
        super().__init__(serializer=stack.packing.serializer)
        self.codec: EntryCodec = stack.codec
        self.on_unreadable: Callable[[int], None] = stack.events.unreadable

    @classmethod
    def on(cls, stack: StoreStack, *, leads_on: bool | None = None) -> Self:
        """A storage on a stack that it shares with other storages."""
        face = cls.__new__(cls)
        StackCache.__init__(face, stack, leads_on=leads_on)
        return face

    def count_into(self, stats: CacheStats) -> None:
        """Count evicted and unreadable entries in *stats*, too."""
        self.stack.count_into(stats)

    # ---- items

    async def contains(self, key: str) -> bool:
        """Check whether *key* is stored."""
        refuse_other_keys(key)
        return bool(await self._shown({key}))

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; None when it is missing or unreadable."""
        refuse_other_keys(key)
        return await self._usable(key, await self._item(key))

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*: a response until its ``store_until``, anything else until it is deleted.

        None deletes the item under *key*. Bytes are what `serialize` makes of an item for this key.

        Raises:
            TypeError: *key* is no text, or *item* is of another kind, and there is no serializer.
            UnreadableEntryError: *item* is other bytes.
        """
        refuse_other_keys(key)
        made = self._to_item(key, item)
        if made is None:
            await self.stack.delete({key})
        else:
            until = item.stored.store_until if isinstance(item, CachedResponse) else math.inf
            await self.stack.put(Record(key, made, until))

    async def bulk_read(self, keys: Collection[str]) -> Mapping[str, ResponseOrKey]:
        """Read several items at once."""
        asked = list(keys)
        return dict(zip(asked, await asyncio.gather(*map(self.read, asked)), strict=True))

    async def bulk_write(self, items: Mapping[str, ResponseOrKey]) -> None:
        """Store several items at once."""
        await asyncio.gather(*(self.write(key, item) for key, item in items.items()))

    async def delete(self, key: str) -> None:
        """Delete an item; a missing one is no error."""
        await self.bulk_delete({key})

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several items; missing ones are no error."""
        keys = keys_of(keys)
        shown = keys if self._leads_on is None else await self._shown(keys)
        if shown:
            await self.stack.delete(shown)

    async def pop(self, key: str, default: ResponseOrKey = None) -> ResponseOrKey:
        """Delete an item and return it, or *default* when it is missing."""
        refuse_other_keys(key)
        item = await self._item(key)
        if item is None:
            return default
        await self.stack.delete({key})
        try:
            return self._seen(item)
        except Exception:  # the item is unreadable, and deleted already
            self.stack.events.unreadable()
            return default

    async def keys(self) -> AsyncGenerator[str]:
        """Iterate over all keys, a page at a time."""
        async with aclosing(self._rows(items=False)) as rows:
            async for row in rows:
                yield row.key

    async def values(self) -> AsyncGenerator[ResponseOrKey]:
        """Iterate over all readable items, a page at a time."""
        async with aclosing(self._rows(items=True)) as rows:
            async for row in rows:
                if isinstance(row.item, Unreadable):
                    self.stack.events.unreadable()
                    continue
                item = await self._usable(row.key, row.item)
                if item is not None:
                    yield item

    async def size(self) -> int:
        """Count the items, a page at a time."""
        count = 0
        async with aclosing(self._rows(items=False)) as rows:
            async for _ in rows:
                count += 1
        return count

    async def clear(self) -> None:
        """Delete all items that are shown here."""
        if self._leads_on is None:
            await self.stack.clear()
            return
        async for page in self.stack.pages(items=False):
            shown = [row.key for row in page if row.leads_on is self._leads_on]
            if shown:
                await self.stack.delete(shown)

    async def close(self) -> None:
        """Finish pending writes and release connections; later calls connect again."""
        await self.stack.close()

    # ---- entries

    def peek(self, key: str) -> StoredResponse | None:
        """Return a response if it is in memory."""
        return self.stack.here().peek(key)

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Read the response stored under *key*, following one alias; None when missing or unreadable."""
        item = await self._item(key)
        if isinstance(item, Opaque):
            item = self.stack.packing.loaded(item)
        if isinstance(item, str):
            key, item = item, await self.stack.get(item)
        return self.stack.packing.entry_of(item, key)

    async def write_entry(self, entry: StoredResponse) -> None:
        """Store *entry* under its own key until its ``store_until``."""
        await self.stack.write(entry)

    async def delete_expired(self, now: float) -> int:
        """Delete entries whose ``store_until`` has passed at *now* (POSIX time); return how many."""
        return await upkeep.delete_expired(self.stack, now)

    async def acquire_lease(self, key: str, ttl_s: float) -> Lease | bool:
        """Try to become the only process that fetches *key* for *ttl_s* seconds."""
        store = self.stack.store
        return await store.acquire(key, ttl_s) if isinstance(store, Leasing) else Lease.GRANTED

    async def renew_lease(self, key: str, ttl_s: float) -> bool:
        """Extend a lease to *ttl_s* seconds from now; False if it is lost."""
        store = self.stack.store
        return isinstance(store, Leasing) and await store.renew(key, ttl_s)

    async def release_lease(self, key: str) -> None:
        """Release a lease before it expires."""
        store = self.stack.store
        if isinstance(store, Leasing):
            await store.release(key)

    # ---- inside

    def _shows(self, key: str, item: Item) -> bool:
        return self._leads_on is None or item_leads_on(item) is self._leads_on

    async def _shown(self, keys: set[str]) -> set[str]:
        """Those of *keys* that are stored and shown here."""
        kinds = await self.stack.kinds(keys)
        return {key for key, leads_on in kinds.items() if self._leads_on in (None, leads_on)}

    async def _item(self, key: str) -> Item | None:
        item = await self.stack.get(key)
        return item if item is not None and self._shows(key, item) else None

    async def _rows(self, *, items: bool) -> AsyncGenerator[Row]:
        async with aclosing(self.stack.pages(items=items)) as pages:
            async for page in pages:
                for row in page:
                    if self._leads_on is None or row.leads_on is self._leads_on:
                        yield row

    async def _usable(self, key: str, item: Item | None) -> ResponseOrKey:
        """*item* as users see it; an unreadable one is counted and deleted."""
        try:
            return self._seen(item)
        except Exception:  # the store may contain anything
            self.stack.events.unreadable()
            await self.stack.delete({key})
            return None

    def _seen(self, item: Item | None) -> ResponseOrKey:
        """*item* as users see it."""
        loaded: Any = self.stack.packing.loaded(item)
        return CachedResponse.from_stored(loaded) if isinstance(loaded, StoredResponse) else loaded

    def _to_item(self, key: str, item: ResponseOrKey) -> Item | None:
        """The item to store for *item* of a user."""
        if isinstance(item, bytes):
            try:
                return self.codec.decode(item, key)
            except UnreadableEntryError as exc:
                said = f"the {len(item)} bytes are not what serialize(item, {key!r}) of such a storage makes: {exc}"
                raise UnreadableEntryError(said) from exc
        if item is None:
            return None
        if isinstance(item, CachedResponse) and item.stored.key != key:
            item = CachedResponse.from_stored(replace(item.stored, key=key))
        if self.stack.packing.serializer is not None:
            shown = item.stored if isinstance(item, CachedResponse) else item
            return self.stack.packing.opaque(item, key, leads_on=item_leads_on(shown))
        refuse_other_items(item)
        return item.stored if isinstance(item, CachedResponse) else item
