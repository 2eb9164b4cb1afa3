"""A MongoDB collection as a store: a document per key, dropped by the server when its time has come."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from pymongo.errors import BulkWriteError

from aiohttp_cache_di.backends.loops import PerLoop, aside
from aiohttp_cache_di.backends.mongodb import leases
from aiohttp_cache_di.backends.mongodb.client import Connection, Server
from aiohttp_cache_di.backends.mongodb.documents import (
    DOCUMENT_BYTES,
    SPARE_BYTES,
    Document,
    date_of,
    frame_bytes,
    is_over,
    key_of,
    name_of,
    writing,
)
from aiohttp_cache_di.backends.mongodb.expiry import ExpiryIndex
from aiohttp_cache_di.backends.mongodb.stream import Listener, watch
from aiohttp_cache_di.backends.store import (
    UNREADABLE,
    Found,
    Item,
    Lease,
    Limits,
    Record,
    Row,
    Unreadable,
    Written,
)
from aiohttp_cache_di.backends.store.inspecting import Glance, Wanted
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["MongoDBStore"]

PAGE: Final = 256  # documents of a page of a walk
BATCH: Final = 128  # keys; one more is asked for, so that the server has no cursor left to be asked again
PAGE_BYTES: Final = 4 * 1024 * 1024
DUPLICATE_KEY: Final = 11000

_Writing: TypeAlias = tuple[Record, bytes, str | None]  # its frame, and the token of the lease that ends with it


class MongoDBStore:
    """Records in one collection, for any number of processes and machines.

    Args:
        db_name: name of the database.
        collection_name: name of the collection.
        codec: makes frames of items.
        connection: a ``pymongo.AsyncMongoClient`` to be used, in its own loop alone; it is never closed here.
        options: arguments of ``pymongo.AsyncMongoClient``.

    Raises:
        TypeError, ConfigurationError: see `Server`.
    """

    limits: Limits = Limits(value_bytes=DOCUMENT_BYTES - SPARE_BYTES, batch=BATCH, parallel=4, drops_expired=True)

    def __init__(
        self,
        db_name: str,
        collection_name: str,
        *,
        codec: EntryCodec,
        connection: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._server = Server(db_name, collection_name, connection, options or {})
        self._codec = codec
        self._loops = PerLoop(self._connect, Connection.close)
        self._listeners: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[Listener]]
        self._listeners = weakref.WeakKeyDictionary()
        self._expiry = ExpiryIndex(self._server.where)
        self._cannot_watch = False

    @property
    def where(self) -> str:
        """The server, without credentials."""
        return self._server.where

    @property
    def collection_name(self) -> str:
        """The collection, with its database before a dot."""
        return self._server.collection_name

    # ---- Store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up, all with one ``find``."""
        here = self._loops.now() or await self._loops.here()
        names = [name_of(key) for key in keys]
        if len(names) == 1:  # by the shortest way that a server has
            row = await here.errands.left(here.collection.find_one({"_id": names[0]}))
            rows = [row] if row is not None else []
        else:
            wanted = here.collection.find({"_id": {"$in": names}}, batch_size=BATCH + 1)
            rows = await here.errands.left(wanted.to_list())
        by_name = {row["_id"]: row for row in rows}
        work = partial(self._found, keys, [by_name.get(name) for name in names])
        return await aside(work, sum(map(frame_bytes, rows)))

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Keep *records*, all with one unordered ``bulk_write``."""
        here = await self._loops.here()
        await self._expiry.make_first(here)
        results: list[Written] = [0] * len(records)
        latest = {record.key: n for n, record in enumerate(records)}
        wanted = sorted(latest.values())
        frames = await aside(partial(self._packed, records, wanted), sum(_size(records[n].item) for n in wanted))
        todo: dict[int, _Writing] = {}
        for n, frame in zip(wanted, frames, strict=True):
            if isinstance(frame, StorageError):
                results[n] = frame
            else:
                held = here.held.get(records[n].key) if records[n].leased else None
                todo[n] = records[n], frame, held[0] if held else None
        await _write(here, todo, results)
        self._expiry.make_again(here)
        for n in todo:
            if records[n].leased and not isinstance(results[n], StorageError):
                here.held.pop(records[n].key, None)
        return [results[latest[record.key]] for record in records]

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """Tell what is under *keys*, with one ``find`` that leaves the frames where they are."""
        here = await self._loops.here()
        names = [name_of(key) for key in keys]
        wanted = {"_id": {"$in": names}, "f": {"$exists": True}}
        finding = here.collection.find(wanted, {"f": 1, "until": 1}, batch_size=BATCH + 1)
        rows = await here.errands.left(finding.to_list())
        now_ms = time.time() * 1000
        kinds = {row["_id"]: bool(row["f"]) for row in rows if not is_over(row, now_ms)}
        return [kinds.get(name) for name in names]

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys*, and leases on them."""
        here = await self._loops.here()
        await here.errands.left(here.collection.delete_many({"_id": {"$in": [name_of(key) for key in keys]}}))

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Walk over all records with one cursor, which the server forgets after ten idle minutes."""
        here = await self._loops.here()
        fields = {"f": 1, "until": 1, **({"v": 1} if items else {})}
        async with here.collection.find({"f": {"$exists": True}}, fields, batch_size=PAGE) as cursor:
            page: list[Document] = []
            weight = 0
            async for row in cursor:
                page.append(row)
                weight += frame_bytes(row)
                if len(page) >= PAGE or weight >= PAGE_BYTES:
                    yield await aside(partial(self._rows, page, items), weight)
                    page, weight = [], 0
            if page:
                yield await aside(partial(self._rows, page, items), weight)

    async def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[Glance]]:
        """Find records by what stands beside their frames, which stay where they are."""
        here = await self._loops.here()
        fields = {"i": 1, "until": 1}
        async with here.collection.find({"f": {"$exists": True}}, fields, batch_size=PAGE) as cursor:
            page: list[Document] = []
            async for row in cursor:
                page.append(row)
                if len(page) >= PAGE:
                    yield _glances(page, wanted)
                    page = []
            yield _glances(page, wanted)

    async def clear(self) -> None:
        """Drop all documents; the collection and its index stay."""
        here = await self._loops.here()
        await here.collection.delete_many({})

    async def close(self) -> None:
        """Close the running loop's client, unless it was handed in."""
        await self._loops.close()

    # ---- Expiring

    async def delete_expired(self, now: float) -> int:
        """Drop what may be dropped at *now*, rather than when the server looks next (each minute)."""
        here = await self._loops.here()
        result = await here.collection.delete_many({"until": {"$lte": date_of(now)}, "f": {"$exists": True}})
        return result.deleted_count

    # ---- Leasing

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*, timed by the server's clock."""
        return await leases.acquire(await self._loops.here(), key, ttl_s)

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """What is under *key*, or else the answer to a request for the lease on it: with one ``findAndModify``."""
        here = self._loops.now() or await self._loops.here()
        row = await leases.look_or_acquire(here, key, ttl_s)
        if not isinstance(row, dict):
            return row
        (found,) = await aside(partial(self._found, (key,), (row,)), frame_bytes(row))
        return found

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Hold the lease on *key* for *ttl_s* seconds from now, by the server's clock."""
        return await leases.renew(await self._loops.here(), key, ttl_s)

    async def release(self, key: str) -> None:
        """Give the lease on *key* back, unless it has passed to another process."""
        await leases.release(await self._loops.here(), key)

    # ---- Changing

    def on_change(self, listener: Listener) -> None:
        """Tell *listener* of changes to any key, while the running loop has a connection.

        A server without change streams (one that is no replica set) tells of none.
        """
        self._listeners.setdefault(asyncio.get_running_loop(), []).append(listener)
        here = self._loops.now()
        if here is not None:
            self._begin_watching(here)

    # ---- inside

    async def _connect(self) -> Connection:
        here = await self._server.connect()
        self._begin_watching(here)
        return here

    def _begin_watching(self, here: Connection) -> None:
        listeners = self._listeners.get(asyncio.get_running_loop())
        if listeners and here.watching is None and not self._cannot_watch:
            here.watching = asyncio.get_running_loop().create_task(self._watch(here, listeners))

    async def _watch(self, here: Connection, listeners: Sequence[Listener]) -> None:
        def tell(keys: Collection[str] | None) -> None:
            for listener in listeners:
                listener(keys)

        await watch(here.collection, self.where, tell)
        self._cannot_watch = True

    def _packed(self, records: Sequence[Record], wanted: Sequence[int]) -> list[bytes | StorageError]:
        frames: list[bytes | StorageError] = []
        for n in wanted:
            key, item = records[n].key, records[n].item
            try:
                frame = self._codec.pack(item, key)
            except StorageError as exc:
                frames.append(exc)
                continue
            size = len(frame) + len(name_of(key))
            too_large = StorageError(f"an entry of {size} bytes is too large for MongoDB")
            frames.append(frame if size <= DOCUMENT_BYTES - SPARE_BYTES // 2 else too_large)
        return frames

    def _found(self, keys: Sequence[str], rows: Sequence[Document | None]) -> list[Found | None]:
        now_ms = time.time() * 1000
        return [
            None if row is None or "v" not in row or is_over(row, now_ms) else Found(self._item(row, key))
            for key, row in zip(keys, rows, strict=True)
        ]

    def _rows(self, page: Sequence[Document], items: bool) -> list[Row]:
        now_ms = time.time() * 1000
        return [
            Row(key, bool(row["f"]), self._item(row, key) if items else None)
            for key, row in [(key_of(row["_id"]), row) for row in page if not is_over(row, now_ms)]
        ]

    def _item(self, row: Document, key: str) -> Item | Unreadable:
        frame = row.get("v")
        return self._codec.unpack(frame, key) if isinstance(frame, bytes) else UNREADABLE


def _glances(page: Sequence[Document], wanted: Wanted) -> list[Glance]:
    now_ms = time.time() * 1000
    glances: list[Glance] = []
    for row in page:
        if not is_over(row, now_ms):
            key = key_of(row["_id"])
            info = unpack_info(row.get("i"), key)
            if info is None or wanted(info):
                glances.append(Glance(key, info))
    return glances


def _size(item: Item) -> int:
    """About how large *item* is."""
    if isinstance(item, StoredResponse):
        return item.size_bytes
    return len(item) if isinstance(item, str) else len(item.payload)


async def _write(here: Connection, todo: Mapping[int, _Writing], results: list[Written]) -> None:
    """Write, and note in *results* what could not be written."""
    updates = {n: writing(*each) for n, each in todo.items()}
    for is_last in (False, True):
        try:
            if updates:
                await here.errands.left(here.collection.bulk_write(list(updates.values()), ordered=False))
            return
        except BulkWriteError as exc:
            errors: list[Document] = exc.details.get("writeErrors", []) if exc.details else []
            if not errors:
                raise
            numbers = list(updates)
            failed: dict[int, int | None] = {numbers[error["index"]]: error.get("code") for error in errors}
        # A lease is not ours any more, and stays; or two processes have made a document at once: what comes second is
        # what replaces it.
        left = [n for n, code in failed.items() if code == DUPLICATE_KEY and not is_last]
        updates = {n: writing(todo[n][0], todo[n][1], None) for n in left}
        for n, code in failed.items():
            if n not in updates:
                results[n] = StorageError(f"MongoDB could not write an entry (code {code})")
