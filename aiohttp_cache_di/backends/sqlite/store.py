"""A SQLite file as a store."""

from __future__ import annotations

import asyncio
import math
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from itertools import compress
from typing import Any, Final

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.sqlite.database import Database, Here
from aiohttp_cache_di.backends.sqlite.eviction import used_bytes
from aiohttp_cache_di.backends.sqlite.file.failing import ConnectionsLostError
from aiohttp_cache_di.backends.sqlite.file.schema import (
    MAX_BATCH,
    Key,
    column_key,
    keep_secret,
    kept_secret,
    unpack_key,
)
from aiohttp_cache_di.backends.sqlite.file.thread import Job
from aiohttp_cache_di.backends.sqlite.looking.reading import Answer, LeaseRequest, Seen, column_or_none
from aiohttp_cache_di.backends.sqlite.looking.walk import Page, infos_page, items_page, keys_page
from aiohttp_cache_di.backends.sqlite.writing import lease_table, statements
from aiohttp_cache_di.backends.sqlite.writing.softening import drop_idle_cutoffs, soften
from aiohttp_cache_di.backends.sqlite.writing.writes import Call, Put, Transaction, TransactionJob, Write
from aiohttp_cache_di.backends.store import Found, Lease, Limits, Record, Row, StoreEvents, Written
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Usage, Wanted, packed_info
from aiohttp_cache_di.backends.store.messages import message_of
from aiohttp_cache_di.backends.store.sizes import item_bytes
from aiohttp_cache_di.backends.tasks import consume_error
from aiohttp_cache_di.entries.info import has_tags_in_fields_alone
from aiohttp_cache_di.entries.items import item_leads_on
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["SQLiteStore"]

LINGER_S: Final = 0.003  # a task has about five misses in that time; one commit for them halves the cost of each
READS: Final = 32  # so many rows of 10 kB, and their decoded items, stay in the processor's cache until they are used
TURN_S: Final = 0.05  # of consecutive steps; between two of them the lock is free for too short a time to be taken
PAUSE_S: Final = 0.03  # after a turn; a process that waits for the lock tries at least every 25 ms
MAX_FRAME_BYTES: Final = 900_000_000  # SQLite's limit for a row is 1,000,000,000
CUTOFFS_KEPT_S: Final = 60.0  # least time between two deletions of idle cutoffs by soft purges


class SQLiteStore:
    """Records in a table of a SQLite file, which several processes may use.

    The file is opened when it is first used, in the loop that uses it; each event loop and each forked child opens
    connections of its own.

    Args:
        database: the file and the connections to it.
    """

    limits: Limits = Limits(batch=MAX_BATCH, reads=READS, linger_s=LINGER_S)

    version: Callable[[str], int | None]
    """The highest version that a key can have now, from shared memory; see `Versioned`."""
    touch: Callable[[str], None]
    """Notes a use of a copy, for eviction; see `Versioned`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._owner = secrets.token_bytes(8)
        self._cutoffs_due_at = -math.inf
        self.version = database.generations.version
        self.touch = database.uses.touch

    @property
    def events(self) -> StoreEvents:
        """Reports evictions, and that the file was damaged, deleted or replaced."""
        return self.database.events

    @property
    def where(self) -> str:
        """The path of the file."""
        return self.database.file.known_path

    def told_of(self, error: BaseException) -> str:
        """The message of *error*: a path holds no credentials."""
        return message_of(error)

    # ---- records

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up in one job of the reader's thread, which also checks the frames."""
        database, job = self.database, partial(self.database.reading.look_up, keys)
        here = database.here() or await database.connected()
        seen: list[Seen | None]
        try:
            seen = await here.connections.query(job)
        except ConnectionsLostError:  # once more on new connections, as in `Database.use`
            here = await database.connected()
            seen = await here.connections.query(job)
        database.uses.touch_all(compress(keys, seen))
        return [None if one is None else one.found() for one in seen]

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """For each key, whether its record leads on, from a column of its own; None where there is no record."""
        columns = [column_or_none(key) for key in keys]
        asked = [column for column in columns if column is not None]
        found: dict[Key, bool] = await self._query(partial(statements.kinds, table=self.database.table, keys=asked))
        return [None if column is None else found.get(column) for column in columns]

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Store *records*; returns when they are committed."""
        weight = sum(item_bytes(record.item) for record in records)
        owner = None if self.database.leases.are_locks else self._owner
        written: list[Written] = await self._write(Put(records, self._encode, owner, weight=weight))
        return written

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys*."""
        packed = [column for key in keys if (column := column_or_none(key)) is not None]

        def job(transaction: Transaction) -> None:
            # All keys, even without a row (any more): another process may have a copy.
            transaction.changing().invalidate(keys)
            statements.delete_keys(transaction.connection, transaction.table, packed)

        if packed:
            await self._call(job)

    async def soften(self, keys: Sequence[str], at: float) -> Collection[str]:
        """Mark responses as stale from *at*, in one transaction per batch, between which other processes may write."""
        packed = [column for key in keys if (column := column_or_none(key)) is not None]
        left: list[str] = []
        if packed and time.monotonic() > self._cutoffs_due_at:
            await self._drop_idle_cutoffs()
        for some in in_batches(packed, MAX_BATCH):
            left += await self._call(partial(soften, keys=some, at=at))
        return left

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records in the order of their keys, a page at a time."""
        after: Key | None = None
        while True:
            if items:
                read = partial(items_page, table=self.database.table, after=after, decode=self.database.codec.unpack)
            else:
                read = partial(keys_page, table=self.database.table, after=after)
            page: Page = await self._query(read)
            rows, after = page
            if rows:
                yield rows
            if after is None:
                return

    async def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[InfoRow]]:
        """Find records in the order in which they were written, without reading bodies."""
        after: int | None = 0
        while after is not None:
            read = partial(infos_page, table=self.database.table, after=after, wanted=wanted)
            found, after = await self._query(read)
            if found:
                yield found

    async def usage(self) -> Usage:
        """The number of entries in the table, and the bytes that all tables use in the file."""
        table, file = self.database.table, self.database.file

        def measure(connection: sqlite3.Connection) -> Usage:
            return Usage(statements.count_shown(connection, table), used_bytes(connection), file.bytes_on_disk())

        usage: Usage = await self._query(measure)
        return usage

    async def clear(self) -> None:
        """Delete everything that has been written so far."""

        def begin(transaction: Transaction) -> int:
            transaction.changing().invalidate_all()
            return statements.begin_clear(transaction.connection, transaction.table)

        bound: int = await self._call(begin)

        def step(transaction: Transaction) -> int:
            count = statements.drop_upto(transaction.connection, transaction.table, bound)
            if count:
                transaction.changing().invalidate_all()
            return count

        async for _ in self._in_turns(step):
            pass
        await self._drop_idle_cutoffs()
        self._tidy()

    async def count(self, *, leads_on: bool | None = None) -> int:
        """Count the records, without those of purges.

        Args:
            leads_on: only redirects and aliases (True), or only responses (False).
        """
        count: int = await self._query(partial(statements.count_shown, table=self.database.table, leads_on=leads_on))
        return count

    async def close(self) -> None:
        """Finish pending writes and close the file; using the store again opens it again."""
        await self.database.close()

    # ---- optional capabilities

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only process that fetches *key* for *ttl_s* seconds."""
        if self.database.leases.are_locks:
            lease = await self._ask(LeaseRequest(key, ttl_s, looks=False))
            if isinstance(lease, Lease):
                return lease
        return await self._acquire_in_table(key, ttl_s)

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """Look *key* up, and take its lease if nothing is found, in one job of the reader's thread."""
        answer = await self._ask(LeaseRequest(key, ttl_s, looks=True))
        return answer.found() if isinstance(answer, Seen) else answer

    async def until_free(self, key: str, within_s: float) -> None:
        """Wait until the lease on *key* is free or something is stored there, for *within_s* seconds at most."""
        here = self.database.here()
        await (asyncio.sleep(within_s) if here is None else here.waits.until_free(key, within_s))

    async def _acquire_in_table(self, key: str, ttl_s: float) -> Lease:
        column, owner = column_key(key), self._owner
        try:
            lease: Lease = await self._call(
                lambda each: lease_table.acquire(each.connection, each.table, column, owner, ttl_s)
            )
        except asyncio.CancelledError:
            # The queued write may still take the lease; a release queued behind it gives it back.
            here = self.database.here()
            if here is not None and here.connections.writable:
                here.connections.call(self._releasing(key)).add_done_callback(consume_error)
            raise
        return lease

    def _releasing(self, key: str) -> TransactionJob:
        columns, owner = [column_key(key)], self._owner
        return lambda each: lease_table.release(each.connection, columns, owner)

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend a lease to *ttl_s* seconds from now; False if it is no longer held."""
        if self.database.leases.are_locks:
            return self.database.leases.renew(key, ttl_s)
        column, owner = column_key(key), self._owner
        is_held: bool = await self._call(lambda each: lease_table.renew(each.connection, column, owner, ttl_s))
        return is_held

    async def release(self, key: str) -> None:
        """Release a lease before it expires."""
        leases = self.database.leases
        if leases.are_locks:
            # Shielded, so that it is released even if the caller is cancelled.
            await self.database.use(lambda here: asyncio.shield(here.connections.query(lambda _: leases.release(key))))
        else:
            await self._call(self._releasing(key))

    async def kept_secret(self) -> bytes | None:
        """The secret that all caches in the file share; None if there is none."""
        found: bytes | None = await self._query(kept_secret)
        return found

    async def keep_secret(self, proposed: bytes) -> bytes:
        """Store *proposed* unless the file has a secret already; return the one it has then."""
        found: bytes = await self._call(lambda transaction: keep_secret(transaction.connection, proposed))
        return found

    async def delete_expired(self, now: float) -> int:
        """Delete the records that have expired at *now*, in steps between which other processes may write."""

        def step(transaction: Transaction) -> int:
            keys = statements.drop_expired(transaction.connection, transaction.table, now)
            if keys:
                transaction.changing().invalidate(map(unpack_key, keys))
            return len(keys)

        count = 0
        async for dropped in self._in_turns(step):
            count += dropped
        if count:
            await self._drop_idle_cutoffs()
        self._tidy()
        return count

    # ---- in the threads

    def _encode(self, record: Record) -> tuple[bool, bytes | None, bytes, bytes | None]:
        item = record.item
        frame, body = self.database.codec.pack_apart(item, record.key)
        size = len(frame) if body is None else len(frame) + len(body)
        if size > min(self.database.value_bytes(), MAX_FRAME_BYTES):
            raise StorageError(f"an entry of {size} bytes is larger than this cache stores in SQLite")
        # A frame apart from its body serves as the record's info, unless the entry has tags in header fields alone.
        is_told = isinstance(item, StoredResponse) and body is not None and not has_tags_in_fields_alone(item)
        return item_leads_on(item), None if is_told else packed_info(record), frame, body

    def only_read(self) -> None:
        """Open the file to read only from now on."""
        self.database.only_read()

    # ---- helpers

    async def _ask(self, request: LeaseRequest) -> Answer:
        return await self.database.use(
            lambda here: here.lease_queue.ask(request) if here.connections.writable else self._looked(here, request)
        )

    async def _looked(self, here: Here, request: LeaseRequest) -> Seen | None:
        """Look up without a lease: the file is read-only, so that nothing could be stored under one."""
        if not request.looks:
            return None
        seen: list[Seen | None] = await here.connections.query(partial(self.database.reading.look_up, (request.key,)))
        return seen[0]

    async def _query(self, job: Job) -> Any:
        return await self.database.use(lambda here: here.connections.query(job))

    async def _write(self, write: Write) -> Any:
        return await self.database.use_writing(lambda here: here.connections.write(write))

    async def _call(self, job: TransactionJob) -> Any:
        return await self._write(Call(job))

    async def _in_turns(self, job: TransactionJob) -> AsyncIterator[int]:
        """Run *job* until it returns 0, with pauses in which other processes can take the write lock."""
        turn_ends_at = time.monotonic() + TURN_S
        while done := await self._call(job):
            yield done
            if time.monotonic() > turn_ends_at:
                await asyncio.sleep(PAUSE_S)
                turn_ends_at = time.monotonic() + TURN_S

    async def _drop_idle_cutoffs(self) -> None:
        self._cutoffs_due_at = time.monotonic() + CUTOFFS_KEPT_S
        await self._call(drop_idle_cutoffs)

    def _tidy(self) -> None:
        here = self.database.here()
        if here is not None and here.connections.writable:
            here.evictor.tidy()
