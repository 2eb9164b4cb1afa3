"""Records in Redis or Valkey: one key each, which the server drops when it expires."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.batches import in_batches, marks_last
from aiohttp_cache_di.backends.redis.connections.connection import Connection, ReplyTooLargeError, expect_no_error
from aiohttp_cache_di.backends.redis.connections.wire import Reply, ServerError, command
from aiohttp_cache_di.backends.redis.records.commands import get_upto, head, number, page, size_of, storing, value
from aiohttp_cache_di.backends.redis.records.leases import Leases
from aiohttp_cache_di.backends.redis.records.names import Names
from aiohttp_cache_di.backends.redis.records.reading import BATCH, Reading, abandon_all, all_of, settled
from aiohttp_cache_di.backends.redis.records.tracking import Tracking
from aiohttp_cache_di.backends.redis.servers.endpoints import Endpoint
from aiohttp_cache_di.backends.redis.servers.topology import Topology
from aiohttp_cache_di.backends.store import (
    SECRET_BYTES,
    UNREADABLE,
    Found,
    Lease,
    Limits,
    PartlyReadError,
    Record,
    Row,
    Unreadable,
    Written,
)
from aiohttp_cache_di.backends.store.capabilities import ChangeListener
from aiohttp_cache_di.backends.store.inspecting import InfoRow, Wanted
from aiohttp_cache_di.backends.store.messages import message_of
from aiohttp_cache_di.entries.codec import EntryCodec, leads_on
from aiohttp_cache_di.entries.outline import OUTLINE_BYTES, outline
from aiohttp_cache_di.errors import StorageError

__all__ = ["RedisStore"]

PAGE: Final = 128  # keys per SCAN and UNLINK, which take the server a fraction of a millisecond
READS: Final = 64  # keys per MGET; entries of larger batches leave the processor's caches before they are used
BODIES: Final = 32  # records read at a time when iterating over items
VALUE_BYTES: Final = 64 * 1024 * 1024  # largest record, if the cache has no smaller limit
WALKS: Final = 3  # most walks over all servers of a cluster whose slots move meanwhile
ECHO: Final = "with args beginning with"  # in a server's message of an unknown command, before its arguments
HEAD_BYTES: Final = 16  # the beginning of a frame, which has its kind


class RedisStore:
    """Records under keys that begin with a prefix, on one server or several.

    Args:
        topology: the servers.
        namespace: first part of the prefix.
        collection: second part of it.
        codec: encodes and decodes items.
        value_bytes: returns the size of the largest record that is written or read.
    """

    def __init__(
        self,
        topology: Topology,
        namespace: str,
        collection: str,
        codec: EntryCodec,
        value_bytes: Callable[[], int] = lambda: VALUE_BYTES,
    ) -> None:
        self.limits: Limits = Limits(batch=BATCH, reads=READS, parallel=16)
        self.topology = topology
        self.namespace = namespace
        self.collection = collection
        self.codec = codec
        self._names = Names(namespace, collection, tagged=topology.by_slot)
        self._leases = Leases(topology, self._names)
        self._tracking = Tracking(topology, self._names)
        self._reading = Reading(topology, value_bytes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}:{self.collection} at {self.topology.where}>"

    @property
    def where(self) -> str:
        """Host, port and database."""
        return self.topology.where

    def told_of(self, error: BaseException) -> str:
        """The message of *error*, if it repeats neither a credential nor the arguments of a command."""
        secrets = self.topology.secrets
        message = "" if secrets is None else message_of(error, secrets)
        return "" if ECHO in message else message

    # ---- Store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up in one round trip."""
        if len(keys) == 1:
            (key,) = keys
            value = await self._reading.one(self._names.record(key))
            return [Found(self.codec.unpack(value, key)) if isinstance(value, bytes) else self._found(value, key)]
        values = await self._reading.many([self._names.record(key) for key in keys])
        answers = [
            each if isinstance(each, StorageError) else self._found(each, key)
            for each, key in zip(values, keys, strict=True)
        ]
        found = [one for one in answers if not isinstance(one, StorageError)]
        if len(found) < len(answers):
            raise PartlyReadError(answers)
        return found

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Store *records* with their expiry, and release the leases of leased ones, in one round trip."""
        names = [self._names.record(record.key) for record in records]
        asked: dict[int, asyncio.Future[Reply] | StorageError] = {}
        for connection, indexes in await self.topology.parts(names):
            if isinstance(connection, StorageError):
                asked.update(dict.fromkeys(indexes, connection))
                continue
            with connection.together():
                for index in indexes:
                    asked[index] = self._begin_put(connection, names[index], records[index])
        try:
            replies = [await settled(asked[index]) for index in range(len(records))]
        except BaseException:
            abandon_all(each for each in asked.values() if not isinstance(each, StorageError))
            raise
        with suppress(StorageError):  # a lease that is not released expires
            for record, reply in zip(records, replies, strict=True):
                if record.leased and not isinstance(reply, StorageError):
                    await self.release(record.key)  # unless a script has released it with the write
        outcome: list[Written] = [each if isinstance(each, StorageError) else 0 for each in replies]
        if isinstance(first := outcome[0], StorageError) and all(isinstance(each, StorageError) for each in outcome):
            raise first
        return outcome

    def _begin_put(self, connection: Connection, name: bytes, record: Record) -> asyncio.Future[Reply] | StorageError:
        try:
            return connection.submit(storing(name, self._packed(record), record.until))
        except StorageError as exc:
            return exc
        finally:
            if record.leased and connection.no_scripts is None:
                self._leases.begin_release(connection, record.key)

    async def kinds(self, keys: Sequence[str]) -> Sequence[bool | None]:
        """For each key, whether its record leads on, by its first bytes in one round trip; None if there is none."""
        names = [self._names.record(key) for key in keys]
        connections = [await self.topology.connection(name) for name in names]
        heads = await _beginnings(connections, names, HEAD_BYTES)
        return [leads_on(each) if each else None for each in heads]

    async def delete(self, keys: Collection[str]) -> None:
        """Delete *keys* in one round trip."""
        await self._unlink([self._names.record(key) for key in keys])

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Iterate over all records; one may come twice while the server resizes its table."""
        async for endpoint, names in self._walk():
            for part in in_batches(names, BODIES if items else PAGE):
                yield await (self._rows(part) if items else self._heads(await endpoint.connection(), part))

    async def infos(self, wanted: Wanted) -> AsyncIterator[Sequence[InfoRow]]:
        """Find records by the beginnings of their values, with one round trip for each page."""
        async for endpoint, names in self._walk():
            connection = await endpoint.connection()
            asked = [connection.submit(command(b"STRLEN", name), size_of) for name in names]
            try:
                beginnings = await _beginnings([connection] * len(names), names, OUTLINE_BYTES)
                sizes = await all_of(asked)
            finally:
                abandon_all(asked)
            found: list[InfoRow] = []
            for name, beginning, size in zip(names, beginnings, sizes, strict=True):
                key = self._key(name)
                info = outline(beginning, size, key)
                if beginning and (info is None or wanted(info)):
                    found.append(InfoRow(key, info))
            if found:
                yield found

    async def clear(self) -> None:
        """Delete all keys with the prefix, a page at a time; other keys of the server are left alone."""
        pages = (names async for _, names in self._walk())
        async for names in marks_last(pages, self._names.is_mark, batch=PAGE):
            await self._unlink(names)

    async def close(self) -> None:
        """Close the running loop's connections; a user's client stays open."""
        await self.topology.close()

    # ---- optional capabilities

    async def check(self) -> None:
        """Send PING to each server that has records, and wait for the replies."""
        connections = [await endpoint.connection() for endpoint in await self.topology.endpoints()]
        await all_of([connection.submit(command(b"PING")) for connection in connections])

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only process that fetches *key* for *ttl_s* seconds."""
        return await self._leases.acquire(key, ttl_s)

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend a lease to *ttl_s* seconds from now; False if it is no longer held."""
        return await self._leases.renew(key, ttl_s)

    async def kept_secret(self) -> bytes | None:
        """The secret, under a name that no record has; None if there is none, or a value of another size."""
        connection = await self.topology.connection(self._names.secret)
        found: bytes | None = await connection.submit(get_upto(self._names.secret, SECRET_BYTES), value)
        return found if found is not None and len(found) == SECRET_BYTES else None

    async def keep_secret(self, proposed: bytes) -> bytes:
        """Store *proposed* unless there is a valid secret already; return the one that is stored then."""
        connection = await self.topology.connection(self._names.secret)
        await connection.submit(command(b"SET", self._names.secret, proposed, b"NX"), _is_set)
        found = await self.kept_secret()
        if found is not None:
            return found
        await connection.submit(command(b"SET", self._names.secret, proposed))
        return proposed

    async def release(self, key: str) -> None:
        """Release a lease before it expires, unless it has passed to another process."""
        await self._leases.release(key)

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease | None:
        """Look *key* up, and take its lease if nothing is found, by one script.

        Without a lease where scripts are forbidden or the slot is being moved; a replica grants no lease.
        """
        try:
            found = await self._leases.get_or_acquire(key, ttl_s, self._reading.reply_bytes)
        except ReplyTooLargeError:
            self._reading.beware()
            return Found(UNREADABLE)
        if isinstance(found, bytes):
            return Found(self.codec.unpack(found, key))
        if not isinstance(found, ServerError):
            return found
        (there,) = await self.get((key,))
        return there

    def on_change(self, listener: ChangeListener) -> None:
        """Call *listener* in the running loop with keys that were read there and have changed; None: any may have."""
        self._tracking.listen(listener)

    async def delete_expired(self, now: float) -> int:
        """Delete what will have expired at *now*; return how many records beside those that the server has dropped.

        Does nothing unless *now* is in the future: the server drops expired records by itself.
        """
        real_now = time.time()
        count = 0
        if now <= real_now:
            return 0
        async for endpoint, names in self._walk():
            connection = await endpoint.connection()
            left_ms = await all_of([connection.submit(command(b"PTTL", name), number) for name in names])
            until_ms = (now - real_now) * 1000
            expired = [name for name, left in zip(names, left_ms, strict=True) if 0 <= left <= until_ms]
            count += await self._unlink(expired)
        return count

    # ---- helpers

    def _found(self, data: bytes | Unreadable | None, key: str) -> Found | None:
        if isinstance(data, bytes):
            return Found(self.codec.unpack(data, key))
        return None if data is None else Found(UNREADABLE)

    def _packed(self, record: Record) -> bytes:
        data = self.codec.pack(record.item, record.key)
        if len(data) > self._reading.value_bytes():
            raise StorageError(f"an entry of {len(data)} bytes is larger than what is kept here")
        return data

    async def _unlink(self, names: Sequence[bytes]) -> int:
        asked: list[asyncio.Future[int]] = []
        failed: StorageError | None = None
        step = 1 if self.topology.by_slot else PAGE
        for connection, indexes in await self.topology.parts(names):
            if isinstance(connection, StorageError):
                failed = connection
                continue
            with connection.together():
                ours = [names[index] for index in indexes]
                asked += [connection.submit(command(b"UNLINK", *part), number) for part in in_batches(ours, step)]
        count = sum(await all_of(asked))
        if failed is not None:
            raise failed
        return count

    async def _walk(self) -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
        """Iterate over the names of our records, a page at a time; again if slots have moved meanwhile."""
        for _ in range(WALKS):
            endpoints = await self.topology.endpoints()
            begun_at = self.topology.shift()
            for endpoint in endpoints:
                async for names in self._names_at(endpoint):
                    yield endpoint, names
            await self.topology.endpoints()
            if self.topology.shift() == begun_at:
                return

    async def _names_at(self, endpoint: Endpoint) -> AsyncIterator[list[bytes]]:
        pattern = re.sub(rb"([\\*?\[\]])", rb"\\\1", self._names.records) + b"*"
        cursor = b"0"
        while True:
            connection = await endpoint.connection()
            scan = command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % PAGE)
            cursor, found = await connection.submit(scan, page)
            names = [name for name in found if self._names.key(name) is not None]
            if names:
                yield names
            if cursor == b"0":
                return

    async def _heads(self, connection: Connection, names: Sequence[bytes]) -> list[Row]:
        heads = await _beginnings([connection] * len(names), names, HEAD_BYTES)
        return [Row(self._key(name), leads_on(head)) for name, head in zip(names, heads, strict=True) if head]

    async def _rows(self, names: Sequence[bytes]) -> list[Row]:
        rows: list[Row] = []
        for name, data in zip(names, await self._reading.many(names), strict=True):
            key = self._key(name)
            if isinstance(data, StorageError):
                raise data
            if (found := self._found(data, key)) is not None:
                rows.append(Row(key, isinstance(data, bytes) and leads_on(data), found.item))
        return rows

    def _key(self, name: bytes) -> str:
        key = self._names.key(name)
        assert key is not None  # noqa: S101  # the walk yields only names of records
        return key


async def _beginnings(connections: Sequence[Connection], names: Sequence[bytes], size: int) -> list[bytes]:
    """The first *size* bytes of the values of *names*, each over its own connection."""
    pairs = zip(connections, names, strict=True)
    return await all_of([connection.submit(get_upto(name, size - 1), head) for connection, name in pairs])


def _is_set(reply: Reply) -> bytes | None:
    """Raise if the server refused; whether SET NX has set the value makes no difference."""
    expect_no_error(reply)
    return None
