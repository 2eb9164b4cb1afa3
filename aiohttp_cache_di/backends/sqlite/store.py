"""One table of a SQLite file as a storage."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeAlias, Unpack, cast

import msgspec

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options import BACKEND_OPTIONS
from aiohttp_cache_di.backends.sqlite import statements as jobs
from aiohttp_cache_di.backends.sqlite import walk as walk
from aiohttp_cache_di.backends.sqlite.connections import LinkLostError
from aiohttp_cache_di.backends.sqlite.database import Connected, Database
from aiohttp_cache_di.backends.sqlite.options import (
    OWN_OPTIONS,
    SQLiteOptions,
    open_database,
)
from aiohttp_cache_di.backends.sqlite.schema import Key, Table, column_key, column_time, unpack_key
from aiohttp_cache_di.backends.sqlite.thread import Job
from aiohttp_cache_di.backends.sqlite.writes import Acquire, Put, Release, Write
from aiohttp_cache_di.backends.storage import BaseCache, Lease, ResponseOrKey, hear
from aiohttp_cache_di.errors import StorageError, UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["SQLiteCache"]

TURN_S: Final = 0.05  # of steps in a row, between which the lock is free for too short to be found so
PAUSE_S: Final = 0.03  # whoever waits for a lock looks for it every 25 ms at least
MAX_FRAME_BYTES: Final = 900_000_000  # SQLite's limit for a row is 1,000,000,000

Item: TypeAlias = "StoredResponse | str | None"
"""A response, the key of another one, or nothing that can be read."""


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
        database: the file, where several storages share its connections.
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
        database: Database | None = None,
        **kwargs: Unpack[SQLiteOptions],
    ) -> None:
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS)
        signing: dict[str, Any] = {
            name: value for name, value in kwargs.items() if name in ("secret_key", "salt", "serializer")
        }
        super().__init__(**signing)
        self.fast_save = fast_save
        self.table_name = table_name
        self._database = database or open_database(filename, use_temp, fast_save, kwargs)
        self._table = self._database.add(Table(table_name, self._decode, self._encode))
        self._tables = (self._table,)
        self._database.on_evicted[self._table] = lambda count: self.on_evicted(count)
        self._database.on_lost = lambda: self.on_unreadable(1)  # one of the storages on the file counts it
        self._owner = secrets.token_bytes(8)

    @property
    def filename(self) -> str:
        """The path of the file."""
        return self._database.file.path or ":memory:"

    # ---- the engine's side

    def peek(self, key: str) -> StoredResponse | None:
        """Return the entry if it is in memory and nobody has changed the file since."""
        here = self._database.here()
        if here is None:
            return None
        held = here.link.tiers[self._table].held
        if key not in held or not here.link.is_current():
            return None
        found = held.get(key)
        if found is None:
            return None
        held.move_to_end(key)
        here.evictor.touch(self._table, key)
        return found.entry

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Read the response kept under *key*, following one alias; None when missing or unreadable."""
        item, _ = await self._read(key)
        if type(item) is str:
            item, _ = await self._read(item)
        return item if type(item) is StoredResponse else None

    async def read_either(self, key: str, other: BaseCache) -> tuple[StoredResponse | None, BaseCache]:
        """Read the response kept under *key* here, or else in *other*, both in one hop where they share the file."""
        # A subclass may read in a way of its own.
        if type(self) is not SQLiteCache or type(other) is not SQLiteCache or other._database is not self._database:
            return await super().read_either(key, other)
        item, cache = await self._read(key, other)
        if isinstance(item, str):
            item, _ = await cache._read(item)
        return (item if isinstance(item, StoredResponse) else None), cache

    async def write_entry(self, entry: StoredResponse) -> None:
        """Store *entry*; returns when it is committed."""
        await self._put(entry.key, self._packed(entry), entry.store_until, entry)

    async def write_leased(self, entry: StoredResponse) -> None:
        """Store *entry* and give the lease on its key back, in one transaction."""
        await self._put(entry.key, self._packed(entry), entry.store_until, entry, leased=True)

    async def delete_expired(self, now: float) -> int:
        """Delete what may be dropped at *now*, in steps between which others may write."""
        count = 0
        async for rows in self._in_turns(lambda connection: jobs.drop_expired(connection, self._table, now)):
            count += len(rows)
            self._bury(rows)
        self._tidy()
        return count

    async def acquire_lease(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only one, in this process and all others, that fetches *key* for *ttl_s* seconds."""
        packed, owner = column_key(key), self._owner
        claim = jobs.Claim(packed, owner, ttl_s, self._database.tables)
        try:
            return Lease(await self._write(Acquire(claim)))
        except asyncio.CancelledError:
            # It may be granted all the same; what gives it back waits behind it.
            here = self._database.here()
            if here is not None and here.link.writable:
                here.link.write(Release((packed, owner))).add_done_callback(hear)
            raise

    async def release_lease(self, key: str) -> None:
        """Give a lease back before its time."""
        await self._write(Release((column_key(key), self._owner)))

    async def close(self) -> None:
        """Finish what is being written and close the file; it is opened again if the storage is used again."""
        await self._database.close()

    # ---- items

    async def contains(self, key: str) -> bool:
        """Check whether *key* is stored."""
        await self.settle_writes({key})
        packed = column_key(key)
        row = await self._query(lambda connection: connection.execute(self._table.has, (packed,)).fetchone())
        return row is not None

    async def clear(self) -> None:
        """Delete everything that has been written so far."""

        async def begin(connected: Connected) -> int:
            bound, deletion = await connected.link.call(lambda connection: jobs.begin_clear(connection, self._table))
            connected.link.note_deletion(self._table, deletion)
            connected.link.tiers[self._table].bury_upto(bound)
            return int(bound)

        bound = await self._database.use_writing(begin)
        async for _ in self._in_turns(lambda connection: jobs.drop_upto(connection, self._table, bound)):
            pass
        self._tidy()

    async def delete(self, key: str) -> None:
        """Delete an item; a missing one is no error."""
        await self.bulk_delete({key})

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several items; missing ones are no error."""
        if not keys:
            return
        packed = [column_key(key) for key in keys]

        async def run(connected: Connected) -> None:
            deletion = await connected.link.call(lambda connection: jobs.delete_keys(connection, self._table, packed))
            connected.link.note_deletion(self._table, deletion)

        await self._database.use_writing(run)

    async def keys(self) -> AsyncIterator[str]:
        """Iterate over all keys, a page at a time."""
        await self.settle_writes(None)
        after: Key | None = None
        while True:
            page: list[Key] = await self._page(walk.keys_page, after)
            for key in page:
                yield unpack_key(key)
            if len(page) < walk.KEYS_PER_PAGE:
                return
            after = page[-1]

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        """Iterate over all items, a page at a time; unreadable ones are left out."""
        await self.settle_writes(None)
        after: Key | None = None
        while True:
            page: list[tuple[Key, object]] = await self._page(walk.rows_page, after)
            for key, frame in page:
                item = self._settled(unpack_key(key), frame)
                if item is not None:
                    yield CachedResponse.from_stored(item) if isinstance(item, StoredResponse) else item
            if not page:
                return
            after = page[-1][0]

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; None when it is missing or unreadable."""
        await self.settle_writes({key})
        item, _ = await self._read(key)
        return CachedResponse.from_stored(item) if isinstance(item, StoredResponse) else item

    async def size(self) -> int:
        """Count the items."""
        await self.settle_writes(None)
        row = await self._query(lambda connection: connection.execute(self._table.count).fetchone())
        return int(row[0])

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*; None deletes what is there."""
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
        await self._put(key, self.serialize(item, key) or b"", until, entry)

    # ---- what they share

    def _packed(self, entry: StoredResponse) -> StoredResponse | bytes:
        """The entry itself, which `_encode` packs; or what a user's serializer makes of it here."""
        if self._serializer is None:
            return entry
        return self.serialize(CachedResponse.from_stored(entry), entry.key) or b""

    def _encode(self, item: object) -> bytes:
        """Make a frame in the thread that is about to write it.

        The loop would lose the interpreter's lock to other threads while it computes the checksum.
        """
        frame = item if isinstance(item, bytes) else self.codec.encode(cast("StoredResponse", item), named=False)
        if len(frame) > MAX_FRAME_BYTES:
            raise StorageError(f"an entry of {len(frame)} bytes is more than SQLite takes")
        return frame

    async def _put(
        self,
        key: str,
        item: StoredResponse | bytes,
        until: float,
        entry: StoredResponse | None,
        *,
        leased: bool = False,
    ) -> None:
        packed = column_key(key)
        weight = len(item) if isinstance(item, bytes) else item.size_bytes
        lease = (packed, self._owner) if leased else None
        put = Put(self._table, packed, column_time(until), int(time.time() * 1000), item, lease, weight=weight)

        async def run(connected: Connected) -> None:
            tier = connected.link.tiers[self._table]
            begun_at = time.monotonic()
            row_id = await connected.link.write(put)
            tier.supersede(key, row_id)
            tier.wrote(row_id, row_id)
            if entry is not None:
                tier.put(entry, key, row_id, begun_at)

        await self._database.use_writing(run)

    async def _read(self, key: str, other: SQLiteCache | None = None) -> tuple[Item, SQLiteCache]:
        """Read *key* here, or else in *other*, in one hop; say what was found and where."""
        database, packed = self._database, column_key(key)
        tables = self._tables if other is None else (self._table, other._table)
        connected = database.here() or await database.connected()
        begun_at = time.monotonic()
        try:
            found = await connected.link.fetch(tables, packed)
        except LinkLostError:  # asked again of a new link, as `Database.use` does
            connected = await database.connected()
            found = await connected.link.fetch(tables, packed)
        if found is None:
            return None, other or self
        table, row_id, item = found
        cache = self if other is None or table is self._table else other
        settled = cache._settled(key, item)
        if type(settled) is StoredResponse:
            connected.link.tiers[table].put(settled, key, row_id, begun_at)
            connected.evictor.touch(table, key)
        return settled, cache

    def _decode(self, key: Key, frame: Any) -> object:
        """Decode a frame in the thread that has just read it: its bytes are in that processor's cache.

        What a user's serializer made is left to the loop's thread, which is the one that serializer knows.
        """
        if self._serializer is not None:
            return frame
        try:
            return self.codec.decode(frame, unpack_key(key))
        except UnreadableEntryError as exc:
            return exc

    def _settled(self, key: str, item: object) -> Item:
        """What `_decode` made of a frame, None if it was unreadable."""
        if type(item) is StoredResponse:
            return item
        if self._serializer is None:
            if isinstance(item, str):
                return item
            self.on_unreadable(1)
            return None
        try:
            loaded = self.deserialize(item, key) if isinstance(item, bytes) else None
        except UnreadableEntryError:
            loaded = None
        if loaded is None:
            self.on_unreadable(1)
        return loaded.stored if isinstance(loaded, CachedResponse) else loaded

    async def _page(self, read: Callable[[sqlite3.Connection, Table, Key | None], Any], after: Key | None) -> Any:
        return await self._query(lambda connection: read(connection, self._table, after))

    async def _query(self, job: Job) -> Any:
        async def run(connected: Connected) -> Any:
            return await connected.link.query(job)

        return await self._database.use(run)

    async def _write(self, write: Write) -> Any:
        async def run(connected: Connected) -> Any:
            return await connected.link.write(write)

        return await self._database.use_writing(run)

    async def _call(self, job: Job) -> Any:
        async def run(connected: Connected) -> Any:
            return await connected.link.call(job)

        return await self._database.use_writing(run)

    async def _in_turns(self, job: Job) -> AsyncIterator[Any]:
        """Run *job* until it has nothing more to do, with pauses in which every process that waits can write."""
        turn_ends_at = time.monotonic() + TURN_S
        while done := await self._call(job):
            yield done
            if time.monotonic() > turn_ends_at:
                await asyncio.sleep(PAUSE_S)
                turn_ends_at = time.monotonic() + TURN_S

    def _tidy(self) -> None:
        here = self._database.here()
        if here is not None:
            here.evictor.tidy()

    def _bury(self, rows: list[tuple[int, Key]]) -> None:
        here = self._database.here()
        if here is not None:
            tier = here.link.tiers[self._table]
            for row_id, key in rows:
                tier.bury(unpack_key(key), row_id)
