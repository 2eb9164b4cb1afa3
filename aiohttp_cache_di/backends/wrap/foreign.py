"""One store on top of two storages that a user has set, one for responses and one for redirects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any, Final

from aiohttp_cache_di.backends.bounded import Bounded
from aiohttp_cache_di.backends.storage import BaseCache, ResponseOrKey
from aiohttp_cache_di.backends.store import (
    UNREADABLE,
    Found,
    Item,
    Lease,
    Limits,
    Record,
    Row,
    Store,
    Unreadable,
    Written,
)
from aiohttp_cache_di.backends.store.capabilities import ChangeListener, Leasing
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.entries.items import Opaque, item_leads_on
from aiohttp_cache_di.errors import StorageError, UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["ForeignPair", "pair_of"]

PARALLEL: Final = 64  # concurrent calls of a storage that has no bulk methods
PARALLEL_BATCHES: Final = 4  # concurrent calls of `bulk_read`
MAX_REMEMBERED: Final = 10_000  # keys of redirects


def pair_of(responses: BaseCache, redirects: BaseCache) -> Store:
    """The store on top of two storages, with the capabilities that they allow."""
    if (
        isinstance(responses, StackCache)
        and isinstance(redirects, StackCache)
        and responses.stack.is_in_memory
        and redirects.stack.is_in_memory
    ):
        return ImmediatePair(responses, redirects)
    can_lease = (
        isinstance(responses.stack.store, Leasing)
        if isinstance(responses, StackCache)
        else _is_overridden(responses.acquire_lease, BaseCache.acquire_lease)
    )
    return (LeasingPair if can_lease else ForeignPair)(responses, redirects)


def _is_overridden(method: Callable[..., object], ours: Callable[..., object]) -> bool:
    """Whether *method* overrides *ours*, in a subclass or on an object."""
    return getattr(method, "__func__", None) is not ours


class ForeignPair:
    """A store of two storages: one has the responses, the other redirects and aliases.

    A key is in one of them; when its kind changes, it is deleted in the other if it may be there. Bulk methods
    are used if both storages have them; other capabilities are those of the storage of responses.
    """

    def __init__(self, responses: BaseCache, redirects: BaseCache) -> None:
        self.responses = responses
        self.redirects = redirects
        both = responses, redirects
        self._reads_many = all(_is_overridden(each.bulk_read, BaseCache.bulk_read) for each in both)
        self._writes_many = all(_is_overridden(each.bulk_write, BaseCache.bulk_write) for each in both)
        takes_many = self._reads_many or self._writes_many
        batch = max(1, min(each.bulk_size for each in both)) if takes_many else 1
        self.limits: Limits = Limits(batch=batch, parallel=PARALLEL_BATCHES if self._reads_many else PARALLEL)
        if _is_overridden(responses.on_change, BaseCache.on_change):
            self.on_change: Callable[[ChangeListener], None] = responses.on_change
        self._redirect_keys: Bounded[str, None] = Bounded(MAX_REMEMBERED)  # found in the storage of redirects lately

    @property
    def where(self) -> str:
        """The names of their classes, since the storages do not tell where they are."""
        return " and ".join(dict.fromkeys((type(self.responses).__name__, type(self.redirects).__name__)))

    def peek(self, key: str) -> StoredResponse | None:
        """The response under *key*, if one of them has it in memory."""
        entry = self.responses.peek(key)
        if entry is None:
            entry = self.redirects.peek(key)
        return entry if entry is not None and entry.key == key else None

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up: among the responses, then among the redirects."""
        found = await self._read_all(self.responses, keys)
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        redirects = await self._read_all(self.redirects, missing) if missing else {}
        for key in redirects:
            self._redirect_keys.note(key, None)
        found |= redirects
        return [Found(found[key]) if key in found else None for key in keys]

    async def _read_all(self, storage: BaseCache, keys: Sequence[str]) -> dict[str, Item | Unreadable]:
        """The items of *storage* under *keys*; missing ones are left out."""
        items: dict[str, Item | Unreadable | None]
        if self._reads_many and len(keys) > 1:
            read = await storage.bulk_read(keys)
            items = {key: _decoded(storage, read.get(key), key) for key in keys}
        else:
            items = {key: await _read(storage, key) for key in keys}
        return {key: item for key, item in items.items() if item is not None}

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Whether each of *keys* has a redirect or an alias; None if neither storage has it."""
        return [
            False if await self.responses.contains(key) else True if await self.redirects.contains(key) else None
            for key in keys
        ]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Write *records*, each to its storage."""
        if not self._writes_many or len(records) == 1 or any(isinstance(record.item, Opaque) for record in records):
            return [await self._put(record) for record in records]
        parts: tuple[dict[str, Record], dict[str, Record]] = ({}, {})
        for record in {record.key: record for record in records}.values():
            parts[item_leads_on(record.item)][record.key] = record
        for storage, other, part in zip(
            (self.responses, self.redirects), (self.redirects, self.responses), parts, strict=True
        ):
            if part:
                await storage.bulk_write({key: _for_user(record.item) for key, record in part.items()})
                stale = part.keys() if storage is self.redirects else part.keys() & self._redirect_keys.keys()
                if stale:
                    await other.bulk_delete(set(stale))
                for key in stale:
                    self._redirect_keys.pop(key, None)
        for record in records:
            if record.leased:
                await self.responses.release_lease(record.key)
        return [0] * len(records)

    async def _put(self, record: Record) -> Written:
        leads_on, key, item = item_leads_on(record.item), record.key, record.item
        storage, other = (self.redirects, self.responses) if leads_on else (self.responses, self.redirects)
        if isinstance(item, Opaque):
            return StorageError("a storage with its own serializer cannot store the output of another serializer")
        if isinstance(item, str):
            await storage.write(key, item)
        else:
            await storage.write_entry(item)
            if record.leased:
                await self.responses.release_lease(key)
        if leads_on or self._redirect_keys.pop(key, self) is None:
            await other.delete(key)
        return 0

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys* in both."""
        await self.responses.bulk_delete(set(keys))
        await self.redirects.bulk_delete(set(keys))

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over both, one item at a time."""
        for storage in (self.responses, self.redirects):
            keys: Any = storage.keys()
            async with aclosing(keys):
                async for key in keys:
                    item = await _read(storage, key) if items else None
                    yield [Row(key, storage is self.redirects, item)]

    async def clear(self) -> None:
        """Clear both."""
        await self.responses.clear()
        await self.redirects.clear()

    async def close(self) -> None:
        """Close both."""
        await self.responses.close()
        await self.redirects.close()

    async def delete_expired(self, now: float) -> int:
        """Delete expired items in both; return how many."""
        return await self.responses.delete_expired(now) + await self.redirects.delete_expired(now)


class LeasingPair(ForeignPair):
    """A pair whose storage of responses has leases."""

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*."""
        return Lease(await self.responses.acquire_lease(key, ttl_s))

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend the lease, if the storage can."""
        return await self.responses.renew_lease(key, ttl_s)

    async def release(self, key: str) -> None:
        """Release the lease on *key*."""
        await self.responses.release_lease(key)


class ImmediatePair(ForeignPair):
    """A pair of storages in this process's memory."""

    def __init__(self, responses: StackCache, redirects: StackCache) -> None:
        super().__init__(responses, redirects)
        self._stores: tuple[Any, Any] = (responses.stack.store, redirects.stack.store)

    def keep(self, record: Record) -> bool:
        """Write *record* to its storage, at once."""
        leads_on = item_leads_on(record.item)
        is_kept: bool = self._stores[leads_on].keep(record)
        self._stores[not leads_on].drop(record.key)
        return is_kept


async def _read(storage: BaseCache, key: str) -> Item | Unreadable | None:
    """The item of *storage* under *key*: by its own `read_entry` if it has one, else by `read`."""
    if isinstance(storage, StackCache):
        return await storage.stack.get(key)
    if _is_overridden(storage.read_entry, BaseCache.read_entry):
        entry = await storage.read_entry(key)
        return entry if entry is None or entry.key == key else entry.key
    try:
        read = await storage.read(key)
    except UnreadableEntryError:
        return UNREADABLE
    return _decoded(storage, read, key)


def _decoded(storage: BaseCache, read: ResponseOrKey, key: str) -> Item | Unreadable | None:
    """The item that was *read* under *key*, decoded if it is bytes."""
    try:
        item = storage.deserialize(read, key)
    except UnreadableEntryError:
        return UNREADABLE
    if isinstance(item, str):
        return item
    stored = getattr(item, "stored", None)  # an object of the user's may have none, or something else
    return stored if isinstance(stored, StoredResponse) and stored.key == key else None


def _for_user(item: Item) -> ResponseOrKey:
    """*item* as it is passed to a user's storage."""
    if isinstance(item, StoredResponse):
        return CachedResponse.from_stored(item)
    return item if isinstance(item, str) else item.payload
