"""Records in Redis or Valkey: one key each, which the server itself drops when its time has come."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar

from aiohttp_cache_di.backends.redis.commands import get, head, number, page, storing, submit_mget, value
from aiohttp_cache_di.backends.redis.connections import MAX_REPLY_BYTES, Connection
from aiohttp_cache_di.backends.redis.endpoints import Endpoint
from aiohttp_cache_di.backends.redis.scripts import Leases, Release
from aiohttp_cache_di.backends.redis.topology import Topology
from aiohttp_cache_di.backends.redis.tracking import Tracking
from aiohttp_cache_di.backends.redis.wire import Reply, command
from aiohttp_cache_di.backends.store import Found, Lease, Limits, Record, Row, Written
from aiohttp_cache_di.backends.wrap.tasks import abandon
from aiohttp_cache_di.entries.codec import EntryCodec, leads_on
from aiohttp_cache_di.errors import StorageError

__all__ = ["RedisStore"]

T = TypeVar("T")

PAGE: Final = 128  # keys per SCAN and UNLINK: keeps the server busy for a fraction of a millisecond
BODIES: Final = 32  # records read at a time on a walk over items
VALUE_BYTES: Final = MAX_REPLY_BYTES - 1024  # the server's bound (proto-max-bulk-len), less what surrounds it
REPLY_BYTES: Final = 4 * 1024 * 1024  # aimed at for one MGET, from the sizes of those before
HEAD_BYTES: Final = 16  # of a frame, enough to tell its kind


class RedisStore:
    """Records under keys that begin with a prefix, on one server or several.

    Args:
        topology: where the servers are.
        namespace: first part of the prefix.
        collection: second part of it.
        codec: turns items into bytes and back.
    """

    def __init__(self, topology: Topology, namespace: str, collection: str, codec: EntryCodec) -> None:
        self.limits = Limits(batch=256, parallel=16, drops_expired=True)
        self.topology = topology
        self.namespace = namespace
        self.collection = collection
        self.codec = codec
        self._prefix = _as_bytes(f"{namespace}:{collection}:")
        self._leases = Leases(f"{namespace}:{collection}-lease:")
        self._tracking = Tracking(topology, self._prefix)
        self._mean_bytes = REPLY_BYTES / PAGE

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}:{self.collection} at {self.topology.where}>"

    @property
    def where(self) -> str:
        """Host, port and database."""
        return self.topology.where

    @property
    def secrets(self) -> Collection[str] | None:
        """The password, and what else the driver was told to log in with."""
        return self.topology.secrets

    # ---- Store

    async def get(self, keys: Sequence[str]) -> Sequence[Found | None]:
        """Look *keys* up in one round trip."""
        if len(keys) == 1:
            key = keys[0]
            name = self._prefix + key.encode("utf-8", "surrogateescape")
            endpoint = self.topology.endpoint_of(name)
            connection = endpoint.connection_now() or await endpoint.connection()
            data = await connection.submit(get(name), value)
            return [None if data is None else Found(self.codec.unpack(data, key))]
        return await self._get_many(keys)

    async def _get_many(self, keys: Sequence[str]) -> Sequence[Found | None]:
        prefix = self._prefix
        names = [prefix + key.encode("utf-8", "surrogateescape") for key in keys]
        asked: list[tuple[Sequence[int], asyncio.Future[list[bytes | None]]]] = []
        most = max(1, min(self.limits.batch, int(REPLY_BYTES / self._mean_bytes)))
        for endpoint, indexes in self.topology.parts(names):
            connection = endpoint.connection_now() or await endpoint.connection()
            for first in range(0, len(indexes), most):
                part = indexes[first : first + most]
                asked.append((part, submit_mget(connection, [names[index] for index in part])))
        found: list[Found | None] = [None] * len(keys)
        unpack = self.codec.unpack
        try:
            for part, future in asked:
                size = 0
                for index, data in zip(part, await future, strict=True):
                    if data is not None:
                        size += len(data)
                        found[index] = Found(unpack(data, keys[index]))
                self._mean_bytes += (size / len(part) - self._mean_bytes) / 4
        finally:
            _abandon(future for _, future in asked)
        return found

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        """Keep *records* until their time in one round trip, in which leases go back too."""
        written: list[asyncio.Future[Reply] | StorageError] = []
        releases: list[Release] = []
        for record in records:
            name = self._prefix + _as_bytes(record.key)
            endpoint = self.topology.endpoint_of(name)
            connection = endpoint.connection_now() or await endpoint.connection()
            with connection.together():
                try:
                    data = self._packed(record)
                except StorageError as exc:
                    written.append(exc)
                else:
                    written.append(connection.submit(storing(name, data, record.until)))
                if record.leased and (release := self._leases.begin_release(connection, record.key)) is not None:
                    releases.append(release)
        try:
            outcome = [await _outcome(each) for each in written]
        finally:
            _abandon(each for each in written if not isinstance(each, StorageError))
        with contextlib.suppress(StorageError):  # a lease that stays ends by itself
            for release in releases:
                await release.finish()
        if isinstance(first := outcome[0], StorageError) and all(isinstance(each, StorageError) for each in outcome):
            raise first
        return outcome

    async def delete(self, keys: Collection[str]) -> None:
        """Drop *keys* in one round trip."""
        await self._unlink([self._prefix + _as_bytes(key) for key in keys])

    async def pages(self, *, items: bool) -> AsyncIterator[Sequence[Row]]:
        """Walk over all records; one may come twice while the server resizes its table."""
        for endpoint in self.topology.endpoints():
            async for names in self._names(endpoint):
                step = BODIES if items else PAGE
                for first in range(0, len(names), step):
                    part = names[first : first + step]
                    connection = await endpoint.connection()
                    yield await (self._rows(connection, part) if items else self._heads(connection, part))

    async def clear(self) -> None:
        """Drop everything under the prefix in small steps; other keys of the server are left alone."""
        for endpoint in self.topology.endpoints():
            async for names in self._names(endpoint):
                await self._unlink(names)

    async def close(self) -> None:
        """Close the running loop's connections; a client that was handed in stays open."""
        await self.topology.close()

    # ---- what it can do besides

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only process that fetches *key* for *ttl_s* seconds."""
        name = self._prefix + _as_bytes(key)
        return await self._leases.acquire(await self._connection(name), key, ttl_s, name)

    async def release(self, key: str) -> None:
        """Give a lease back before its time, unless it has passed to another process."""
        if self._leases.is_held(key):
            connection = await self._connection(self._prefix + _as_bytes(key))
            if (release := self._leases.begin_release(connection, key)) is not None:
                await release.finish()

    async def get_or_acquire(self, key: str, ttl_s: float) -> Found | Lease:
        """Look *key* up, and where nothing is, ask for the lease on it: in one round trip."""
        name = self._prefix + _as_bytes(key)
        found = await self._leases.get_or_acquire(await self._connection(name), key, ttl_s, name)
        if isinstance(found, bytes):
            return Found(self.codec.unpack(found, key))
        if found is not None:
            return found
        (there,) = await self.get((key,))
        return await self.acquire(key, ttl_s) if there is None else there

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:
        """Call *listener* in the running loop with keys that were got there and have changed since; None: any may."""
        self._tracking.listen(listener)

    async def delete_expired(self, now: float) -> int:
        """Drop what may be dropped at *now*; return how many went beside those that the server has dropped."""
        real_now = time.time()
        count = 0
        for endpoint in self.topology.endpoints() if now > real_now else ():
            async for names in self._names(endpoint):
                connection = await endpoint.connection()
                left_ms = await _all([connection.submit(command(b"PTTL", name), number) for name in names])
                until_ms = (now - real_now) * 1000
                expired = [name for name, left in zip(names, left_ms, strict=True) if 0 <= left <= until_ms]
                count += await self._unlink(expired)
        return count

    # ---- inside

    def _packed(self, record: Record) -> bytes:
        data = self.codec.pack(record.item, record.key)
        if len(data) > VALUE_BYTES:
            raise StorageError(f"an entry of {len(data)} bytes is larger than redis takes")
        return data

    async def _connection(self, name: bytes) -> Connection:
        endpoint = self.topology.endpoint_of(name)
        return endpoint.connection_now() or await endpoint.connection()

    async def _unlink(self, names: Sequence[bytes]) -> int:
        asked: list[asyncio.Future[int]] = []
        for endpoint, indexes in self.topology.parts(names):
            connection = await endpoint.connection()
            for first in range(0, len(indexes), PAGE):
                part = [names[index] for index in indexes[first : first + PAGE]]
                asked.append(connection.submit(command(b"UNLINK", *part), number))
        return sum(await _all(asked))

    async def _names(self, endpoint: Endpoint) -> AsyncIterator[list[bytes]]:
        """Walk over the names of our records, a page at a time."""
        pattern = re.sub(rb"([\\*?\[\]])", rb"\\\1", self._prefix) + b"*"
        cursor = b"0"
        while True:
            connection = await endpoint.connection()
            scan = command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % PAGE)
            cursor, names = await connection.submit(scan, page)
            if names:
                yield names
            if cursor == b"0":
                return

    async def _heads(self, connection: Connection, names: Sequence[bytes]) -> list[Row]:
        last = b"%d" % (HEAD_BYTES - 1)
        asked = [connection.submit(command(b"GETRANGE", name, b"0", last), head) for name in names]
        heads = await _all(asked)
        return [Row(self._key(name), leads_on(head)) for name, head in zip(names, heads, strict=True) if head]

    async def _rows(self, connection: Connection, names: Sequence[bytes]) -> list[Row]:
        rows: list[Row] = []
        for name, data in zip(names, await submit_mget(connection, names), strict=True):
            if data is not None:
                key = self._key(name)
                rows.append(Row(key, leads_on(data), self.codec.unpack(data, key)))
        return rows

    def _key(self, name: bytes) -> str:
        return _as_text(name[len(self._prefix) :])


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


async def _outcome(written: asyncio.Future[Reply] | StorageError) -> Written:
    if isinstance(written, StorageError):
        return written
    try:
        await written
    except StorageError as exc:
        return exc
    return 0


async def _all(asked: Sequence[asyncio.Future[T]]) -> list[T]:
    """What all of them come to; when one fails, the others are of no more interest."""
    try:
        return [await future for future in asked]
    finally:
        _abandon(asked)


def _abandon(futures: Iterable[asyncio.Future[Any]]) -> None:
    for future in futures:
        abandon(future)
