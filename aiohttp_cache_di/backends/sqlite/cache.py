"""A SQLite store with the face of a storage, and copies in memory in front of it."""

from __future__ import annotations

import asyncio
import math
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any, Unpack

import msgspec

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options import BACKEND_OPTIONS
from aiohttp_cache_di.backends.sqlite.options import OWN_OPTIONS, SQLiteOptions, near_bytes, open_database
from aiohttp_cache_di.backends.sqlite.schema import MAX_BATCH, column_key
from aiohttp_cache_di.backends.sqlite.store import SQLiteStore
from aiohttp_cache_di.backends.storage import BaseCache, Lease, ResponseOrKey
from aiohttp_cache_di.backends.store import Found, Record
from aiohttp_cache_di.entries.codec import Opaque
from aiohttp_cache_di.errors import StorageError, UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["SQLiteCache"]

ENTRY_OVERHEAD_BYTES = 512  # the objects that an entry is made of, beside its texts


class SQLiteCache(BaseCache):
    """Entries in a table of a SQLite file.

    The file is opened when it is used first, in the loop that uses it; each event loop and each forked child opens
    connections of its own. Several processes may use one file.

    Args:
        filename: path of the file, ``~`` allowed; ``.sqlite`` is added where there is no suffix. ``":memory:"`` for a
            database in memory, which is gone when its loop or the storage is closed.
        table_name: name of the table.
        use_temp: keep the file in the directory for temporary files.
        fast_save: do not wait for the disk; a power cut may then damage the file, and a damaged one is begun anew.
        store: what keeps the entries, where several storages share it.
        leads_on: show redirects and aliases alone (True), or all others (False); None for all.
        kwargs: arguments of ``sqlite3.connect`` (``timeout`` in seconds is how long a lock is waited for; ``uri`` may
            be a ``file:`` URI; transactions and threads are the storage's own affair), ``max_bytes`` of the file in use
            (1 GiB by default; None for no bound), ``max_entries`` of a table, ``near_tier`` (keep hot entries of a
            file in memory too, unless another process has changed them), ``near_tier_bytes`` (32 MiB by default), and
            those of `BaseCache`.

    Raises:
        TypeError: an option is not known.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        table_name: str = "aiohttp-cache",
        use_temp: bool = False,
        fast_save: bool = False,
        *,
        store: SQLiteStore | None = None,
        leads_on: bool | None = None,
        **kwargs: Unpack[SQLiteOptions],
    ) -> None:
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        signing: dict[str, Any] = {
            name: value for name, value in kwargs.items() if name in ("secret_key", "salt", "serializer")
        }
        super().__init__(**signing)
        self.fast_save = fast_save
        self.table_name = table_name
        self.store = store or SQLiteStore(open_database(filename, table_name, use_temp, fast_save, kwargs), self.codec)
        self._leads_on = leads_on
        self._near = _Near(self.store, near_bytes(kwargs))
        self._reads = _Reads(self.store)
        self.store.on_evicted = lambda count: self.on_evicted(count)
        self.store.on_lost = lambda: self.on_unreadable(1)

    @property
    def filename(self) -> str:
        """The path of the file."""
        return str(self._database.file.path)

    @property
    def _database(self) -> Any:
        return self.store._database

    def peek(self, key: str) -> StoredResponse | None:
        entry = self._near.get(key)
        return entry if entry is not None and self._shows(entry) else None

    def _shows(self, item: object) -> bool:
        if self._leads_on is None or item is None:
            return True
        leads = isinstance(item, str) or (
            isinstance(item, StoredResponse) and item.status in (301, 302, 303, 307, 308) and "Location" in item.headers
        )
        return leads == self._leads_on

    async def read_entry(self, key: str) -> StoredResponse | None:
        item = await self._read(key)
        if type(item) is str:
            item = await self._read(item)
        return item if type(item) is StoredResponse else None

    async def write_entry(self, entry: StoredResponse) -> None:
        await self._put(entry.key, self._packed(entry), entry.store_until, entry)

    async def write_leased(self, entry: StoredResponse) -> None:
        await self._put(entry.key, self._packed(entry), entry.store_until, entry, leased=True)

    async def delete_expired(self, now: float) -> int:
        return await self.store.delete_expired(now)

    async def acquire_lease(self, key: str, ttl_s: float) -> Lease | bool:
        return Lease(int(await self.store.acquire(key, ttl_s)))

    async def release_lease(self, key: str) -> None:
        await self.store.release(key)

    async def close(self) -> None:
        await self.store.close()

    async def contains(self, key: str) -> bool:
        await self.settle_writes({key})
        return (await self._reads.fetch(key)) is not None

    async def clear(self) -> None:
        await self.store.clear()

    async def delete(self, key: str) -> None:
        await self.bulk_delete({key})

    async def bulk_delete(self, keys: set[str]) -> None:
        wanted = list(keys)
        for start in range(0, len(wanted), MAX_BATCH):
            await self.store.delete(wanted[start : start + MAX_BATCH])

    async def keys(self) -> AsyncIterator[str]:
        await self.settle_writes(None)
        async for page in self.store.pages(items=False):
            for row in page:
                if self._leads_on in (None, row.leads_on):
                    yield row.key

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        await self.settle_writes(None)
        async for page in self.store.pages(items=True):
            for row in page:
                if self._leads_on in (None, row.leads_on):
                    item = self._settled(row.key, row.item)
                    if item is not None:
                        yield CachedResponse.from_stored(item) if isinstance(item, StoredResponse) else item

    async def read(self, key: str) -> ResponseOrKey:
        await self.settle_writes({key})
        item = await self._read(key)
        return CachedResponse.from_stored(item) if isinstance(item, StoredResponse) else item

    async def size(self) -> int:
        await self.settle_writes(None)
        counts = await self.store.count()
        return sum(count for leads_on, count in counts.items() if self._leads_on in (None, leads_on))

    async def write(self, key: str, item: ResponseOrKey) -> None:
        if item is None:
            await self.delete(key)
            return
        entry = None
        until = math.inf
        if isinstance(item, CachedResponse):
            entry = item.stored
            until = entry.store_until
            if entry.key != key:
                entry = msgspec.structs.replace(entry, key=key)
                item = CachedResponse.from_stored(entry)
        packed: Any = self._packed(entry) if entry is not None else item
        if isinstance(packed, str) and self._serializer is not None:
            packed = self.serialize(packed, key)
        await self._put(key, packed, until, entry)

    def _packed(self, entry: StoredResponse) -> Any:
        if self._serializer is None:
            return entry
        return self.serialize(CachedResponse.from_stored(entry), entry.key) or b""

    async def _put(
        self, key: str, item: Any, until: float, entry: StoredResponse | None, *, leased: bool = False
    ) -> None:
        (written,) = await self.store.put([Record(key, item, until, leased)])
        if isinstance(written, StorageError):
            raise written
        if entry is not None:
            self._near.put(key, entry, written)

    async def _read(self, key: str) -> StoredResponse | str | None:
        column_key(key)
        found = await self._reads.fetch(key)
        if found is None:
            return None
        item = self._settled(key, found.item)
        if type(item) is StoredResponse:
            self._near.put(key, item, found.version)
        return item if self._shows(item) else None

    def _settled(self, key: str, item: object) -> StoredResponse | str | None:
        if isinstance(item, StoredResponse | str) and self._serializer is None:
            return item
        loaded: Any = None
        if isinstance(item, Opaque) and self._serializer is not None:
            try:
                loaded = self.deserialize(self.codec.encode_opaque(item.payload, key), key)
            except UnreadableEntryError:
                loaded = None
        if loaded is None:
            self.on_unreadable(1)
        return loaded.stored if isinstance(loaded, CachedResponse) else loaded


class _Near:
    """Copies in memory, least recently used first."""

    def __init__(self, store: SQLiteStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self.held: OrderedDict[str, tuple[StoredResponse, int, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> StoredResponse | None:
        held = self.held.get(key)
        if held is None or self._store._database.here() is None:
            return None
        version = self._store.version(key)
        if version is None or version > held[1]:
            return None
        self.held.move_to_end(key)
        self._store.touch(key)
        return held[0]

    def put(self, key: str, entry: StoredResponse, version: int) -> None:
        weight = entry.size_bytes + ENTRY_OVERHEAD_BYTES
        if not version or weight > self._max_bytes // 8:
            return
        before = self.held.get(key)
        if before is not None:
            if before[1] > version:
                return
            self._bytes -= before[2]
        self.held[key] = (entry, version, weight)
        self.held.move_to_end(key)
        self._bytes += weight
        while self._bytes > self._max_bytes:
            self._bytes -= self.held.popitem(last=False)[1][2]


class _Reads:
    """Concurrent reads of one loop share a call of the store."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._waiting: dict[asyncio.AbstractEventLoop, list[tuple[str, asyncio.Future[Found | None]]]] = {}

    async def fetch(self, key: str) -> Found | None:
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(loop)
        if waiting is None:
            waiting = self._waiting[loop] = []
            try:
                (found,) = await self._store.get([key])
            finally:
                del self._waiting[loop]
                if waiting:
                    self._flush(loop, waiting)
            return found
        future: asyncio.Future[Found | None] = loop.create_future()
        waiting.append((key, future))
        return await future

    def _flush(self, loop: asyncio.AbstractEventLoop, asked: list[tuple[str, asyncio.Future[Found | None]]]) -> None:
        for start in range(0, len(asked), MAX_BATCH):
            task = loop.create_task(self._get(asked[start : start + MAX_BATCH]))
            task.add_done_callback(lambda _: None)

    async def _get(self, asked: list[tuple[str, asyncio.Future[Found | None]]]) -> None:
        try:
            answers = await self._store.get([key for key, _ in asked])
        except Exception as exc:
            for _, future in asked:
                if not future.done():
                    future.set_exception(exc)
            return
        for (_, future), found in zip(asked, answers, strict=True):
            if not future.done():
                future.set_result(found)
