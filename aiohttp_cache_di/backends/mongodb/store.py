"""A MongoDB collection as a store: a document per key, dropped by the server when its time has come."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import weakref
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from aiohttp_cache_di.backends.inspecting import Glance, Wanted
from aiohttp_cache_di.backends.loops import PerLoop, aside
from aiohttp_cache_di.backends.mongodb.client import Connection, Server
from aiohttp_cache_di.backends.mongodb.documents import (
    DOCUMENT_BYTES,
    SPARE_BYTES,
    Document,
    date_of,
    frame_bytes,
    giving_back,
    is_over,
    key_of,
    name_of,
    renewing,
    taking,
    writing,
)
from aiohttp_cache_di.backends.mongodb.stream import Listener, watch
from aiohttp_cache_di.backends.store import UNREADABLE, Found, Item, Lease, Limits, Record, Row, Unreadable, Written
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import unpack_info
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["MongoDBStore"]

logger: logging.Logger = logging.getLogger(__name__)

PAGE: Final = 256  # documents of a page of a walk
BATCH: Final = 128  # keys; one more is asked for, so that the server has no cursor left to be asked again
PAGE_BYTES: Final = 4 * 1024 * 1024
MAX_HELD: Final = 4096  # leases that are remembered before expired ones are looked for
DUPLICATE_KEY: Final = 11000


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
        self._has_index = False
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
        if not self._has_index:
            await self._make_index(here)
        results: list[Written] = [0] * len(records)
        latest = {record.key: n for n, record in enumerate(records)}
        wanted = sorted(latest.values())
        frames = await aside(partial(self._packed, records, wanted), sum(_size(records[n].item) for n in wanted))
        todo: dict[int, UpdateOne] = {}
        for n, frame in zip(wanted, frames, strict=True):
            if isinstance(frame, StorageError):
                results[n] = frame
            else:
                held = here.held.get(records[n].key) if records[n].leased else None
                todo[n] = writing(records[n], frame, held[0] if held else None)
        await _write(here, todo, results)
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
        here = await self._loops.here()
        token = secrets.token_hex(12)
        has_record = await here.errands.undone(
            _ask(here, key, token, max(1, round(ttl_s * 1000))), lambda: _give_back(here, key, token)
        )
        if has_record is None:
            return Lease.REFUSED
        now = asyncio.get_running_loop().time()
        if len(here.held) >= MAX_HELD:
            here.held = {key: held for key, held in here.held.items() if held[1] > now}
        here.held[key] = token, now + ttl_s
        return Lease.GRANTED_LATE if has_record else Lease.GRANTED

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Hold the lease on *key* for *ttl_s* seconds from now, by the server's clock."""
        here = await self._loops.here()
        held = here.held.get(key)
        if held is None:
            return False
        ours = {"_id": name_of(key), "o": held[0]}
        renewed = here.collection.update_one(ours, renewing(max(1, round(ttl_s * 1000))))
        result = await here.errands.left(renewed)
        if key in here.held:
            here.held[key] = held[0], asyncio.get_running_loop().time() + ttl_s
        return bool(result.matched_count)

    async def release(self, key: str) -> None:
        """Give the lease on *key* back, unless it has passed to another process."""
        here = await self._loops.here()
        held = here.held.pop(key, None)
        if held is not None:
            await here.errands.left(_give_back(here, key, held[0]))

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

    async def _make_index(self, here: Connection) -> None:
        """Have the server drop what has expired; without the right to say so, it has to be dropped by walks."""
        try:
            await here.collection.create_index("until", expireAfterSeconds=0)
        except OperationFailure as exc:
            logger.warning("%s: no TTL index could be made (code %s): expired entries stay", self.where, exc.code)
        self._has_index = True

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


async def _write(here: Connection, todo: Mapping[int, UpdateOne], results: list[Written]) -> None:
    """Write, and note in *results* what could not be written."""
    left: list[int] = list(todo)
    for is_last in (False, True):
        if not left:
            return
        try:
            await here.errands.left(here.collection.bulk_write([todo[n] for n in left], ordered=False))
            return
        except BulkWriteError as exc:
            errors: list[Document] = exc.details.get("writeErrors", []) if exc.details else []
            if not errors:
                raise
            failed: dict[int, int | None] = {left[error["index"]]: error.get("code") for error in errors}
        # Two processes have made the same new document at once: this one's comes second, and replaces it.
        left = [n for n, code in failed.items() if code == DUPLICATE_KEY and not is_last]
        for n, code in failed.items():
            if n not in left:
                results[n] = StorageError(f"MongoDB could not write an entry (code {code})")


async def _ask(here: Connection, key: str, token: str, ttl_ms: int) -> bool | None:
    """Take the lease if it is free: whether there is a record; None where another owner has it."""
    try:
        row = await here.collection.find_one_and_update(
            {"_id": name_of(key)},
            taking(token, ttl_ms),
            upsert=True,
            return_document=ReturnDocument.AFTER,
            projection={"o": 1, "f": 1},
        )
    except DuplicateKeyError:  # of two that made the document at once, this one came second
        return None
    return "f" in row if row is not None and row.get("o") == token else None


async def _give_back(here: Connection, key: str, token: str) -> None:
    await here.collection.bulk_write(giving_back(key, token))
