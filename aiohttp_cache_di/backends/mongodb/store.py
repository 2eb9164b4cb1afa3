"""A MongoDB collection as a store: one document for each key, which the server deletes after it has expired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import BulkWriteError, OperationFailure, ServerSelectionTimeoutError

from aiohttp_cache_di.backends.loops import LoopLocal
from aiohttp_cache_di.backends.mongodb.client import Connection, Server
from aiohttp_cache_di.backends.mongodb.documents import (
    FRAME_BYTES,
    KEY_BYTES,
    Document,
    date_of,
    name_of,
    record_in,
    writing,
)
from aiohttp_cache_di.backends.mongodb.expiry import ExpiryIndex
from aiohttp_cache_di.backends.mongodb.leases import DUPLICATE_KEY, DocumentLeases
from aiohttp_cache_di.backends.mongodb.stream import watch
from aiohttp_cache_di.backends.rows import RowRecord, RowStore
from aiohttp_cache_di.backends.store import AFTER_MARKS, MARK_PREFIX, Limits
from aiohttp_cache_di.backends.store.capabilities import ChangeListener
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import StorageError

__all__ = ["MongoDBStore"]

PAGE: Final = 256  # documents in a page of a walk
BATCH: Final = 128  # keys; the cursor's batch size is one more, so that it is exhausted with the first reply
PAGE_BYTES: Final = 4 * 1024 * 1024
WATCHING: Final = "stream"
NO_MARKS: Final[Document] = {"$or": [{"_id": {"$lt": MARK_PREFIX}}, {"_id": {"$gte": AFTER_MARKS}}]}
BESIDE_FRAME: Final = {"f": 1, "until": 1}


class MongoDBStore(RowStore[Connection]):
    """Records in one collection, for any number of processes and machines; leases are timed by the server's clock.

    Args:
        db_name: name of the database.
        collection_name: name of the collection.
        codec: encodes and decodes items.
        connection: a user's ``pymongo.AsyncMongoClient``; used only in its own loop, and never closed here.
        options: arguments of ``pymongo.AsyncMongoClient``.

    Raises:
        TypeError, ConfigurationError: see `Server`.
    """

    make: ClassVar[str] = "MongoDB"
    key_bytes: ClassVar[int] = KEY_BYTES
    limits: Limits = Limits(value_bytes=FRAME_BYTES, batch=BATCH, parallel=4)

    def __init__(
        self,
        db_name: str,
        collection_name: str,
        *,
        codec: EntryCodec,
        connection: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(codec, self._connect, DocumentLeases())
        self._server = Server(db_name, collection_name, connection, options or {})
        self.where: str = self._server.where
        self.collection_name: str = f"{db_name}.{collection_name}"
        self._listeners = LoopLocal(list[ChangeListener])
        self._expiry = ExpiryIndex(self.where)
        self._cannot_watch = False

    # ---- Store

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*, and leases on them."""
        here = await self._loops.here()
        await here.calls.run(here.collection.delete_many({"_id": {"$in": [name_of(key) for key in keys]}}))

    async def clear(self) -> None:
        """Delete all documents; the collection and its index stay."""
        here = await self._loops.here()
        for some in (NO_MARKS, {}):
            await here.calls.run(here.collection.delete_many(some))

    # ---- Expiring

    async def delete_expired(self, now: float) -> int:
        """Delete records that have expired at *now*, without waiting for the server, which does so every minute."""
        here = await self._loops.here()
        expired = {"until": {"$lte": date_of(now)}, "f": {"$exists": True}}
        return (await here.calls.run(here.collection.delete_many(expired))).deleted_count

    # ---- Changing

    def on_change(self, listener: ChangeListener) -> None:
        """Call *listener* with keys that have changed, while the running loop has a connection.

        A server without change streams (a standalone server) reports no changes.
        """
        self._listeners.here().append(listener)
        here = self._loops.now()
        if here is not None:
            self._begin_watching(here)

    async def _connect(self) -> Connection:
        here = await self._server.connect()
        self._begin_watching(here)
        return here

    def _begin_watching(self, here: Connection) -> None:
        listeners = self._listeners.get(asyncio.get_running_loop())
        if listeners and not self._cannot_watch:
            here.tasks.begin(partial(self._watch, here, listeners), WATCHING)

    async def _watch(self, here: Connection, listeners: Sequence[ChangeListener]) -> None:
        def tell(keys: Collection[str] | None) -> None:
            for listener in listeners:
                listener(keys)

        await watch(here.collection, self.where, tell)
        self._cannot_watch = True

    # ---- rows

    async def _now_ms(self, here: Connection) -> int:
        return await here.clock.now_ms()

    def told_of(self, error: BaseException) -> str:
        """See `RowStore`; of a call that has found no server in time, why none can be reached."""
        here = self._loops.now()
        if here is not None and isinstance(error, TimeoutError | ServerSelectionTimeoutError):
            return here.why_unreachable()
        return super().told_of(error)

    def _code_of(self, error: BaseException) -> str:
        if not isinstance(error, OperationFailure):
            return ""
        return str((error.details or {}).get("codeName") or error.code or "")

    async def _find(self, here: Connection, keys: Sequence[str], *, frames: bool) -> Sequence[RowRecord]:
        """The records of *keys*, with one ``find``."""
        names = [name_of(key) for key in keys]
        fields = None if frames else BESIDE_FRAME
        if len(names) == 1:  # the fastest plan of a server
            rows = [await here.calls.run(here.collection.find_one({"_id": names[0]}, fields)) or {}]
        else:
            wanted = here.collection.find({"_id": {"$in": names}}, fields, batch_size=BATCH + 1)
            rows = await here.calls.run(wanted.to_list())
        return list(filter(None, map(record_in, rows)))

    async def _walk(self, *, frames: bool = False, infos: bool = False) -> AsyncGenerator[Sequence[RowRecord], None]:
        """Pages from one cursor, which the server closes after ten idle minutes."""
        here = await self._loops.here()
        fields = {**BESIDE_FRAME, **({"v": 1} if frames else {}), **({"i": 1} if infos else {})}
        cursor = here.collection.find({"f": {"$exists": True}}, fields, batch_size=PAGE)
        try:
            while page := await here.calls.run(_page(cursor)):
                yield page
        finally:
            await here.calls.run(cursor.close())

    async def _write(
        self, here: Connection, records: Mapping[str, RowRecord], held: Mapping[str, str]
    ) -> dict[str, StorageError]:
        """Write with one unordered ``bulk_write``, and a second one for duplicate keys."""
        await self._expiry.ensure(here)
        updates = {key: writing(record, held.get(key)) for key, record in records.items()}
        failed: dict[str, StorageError] = {}
        for is_last in (False, True):
            codes = await _failures(here, updates)
            # Duplicate keys: our lease has ended or passed to another process, which keeps it; or two processes have
            # made the document at once. Write once more without releasing a lease, which replaces the other record.
            left = [key for key, code in codes.items() if code == DUPLICATE_KEY and not is_last]
            for key in codes.keys() - left:
                failed[key] = StorageError(f"MongoDB could not write an entry (code {codes[key]})")
            updates = {key: writing(records[key], None) for key in left}
            if not updates:
                break
        return failed


async def _page(cursor: AsyncCursor[Document]) -> list[RowRecord]:
    """The next records of *cursor*; none at its end."""
    page: list[RowRecord] = []
    weight = 0
    while len(page) < PAGE and weight < PAGE_BYTES:
        try:
            row = await cursor.next()  # not anext(): `cancel` sees into coroutines only
        except StopAsyncIteration:
            break
        record = record_in(row)
        if record is not None:
            page.append(record)
            weight += record.frame_bytes
    return page


async def _failures(here: Connection, updates: Mapping[str, Any]) -> dict[str, int | None]:
    """Run *updates*, by key; return the server's error code for each that failed."""
    try:
        await here.calls.run(here.collection.bulk_write(list(updates.values()), ordered=False))
    except BulkWriteError as exc:
        errors: list[Document] = exc.details.get("writeErrors", []) if exc.details else []
        if not errors:
            raise
        keys = list(updates)
        return {keys[error["index"]]: error.get("code") for error in errors}
    return {}
