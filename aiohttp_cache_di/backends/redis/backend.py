"""Storage in Redis or Valkey: one key per entry, which the server itself drops when its time has come."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.options import STORAGE_OPTIONS
from aiohttp_cache_di.backends.redis.connections import Connection, expect_no_error
from aiohttp_cache_di.backends.redis.near import NearTier
from aiohttp_cache_di.backends.redis.scripts import Leases
from aiohttp_cache_di.backends.redis.topology import RedisLink, sorted_options
from aiohttp_cache_di.backends.redis.wire import Reply, ServerError, command
from aiohttp_cache_di.backends.storage import BaseCache, Lease, ResponseOrKey, disregard
from aiohttp_cache_di.errors import UnreadableEntryError
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisBackend", "RedisCache"]

PAGE = 128  # keys per SCAN and UNLINK: keeps the server busy for a fraction of a millisecond, and the loop for a few
BODIES = 32  # entries read at a time when all are iterated over
FOR_EVER_S = 100 * 365 * 86400.0  # beyond it no expiry is set: the server refuses what overflows its clock


class RedisBackend(CacheBackend):
    """A backend that keeps responses in Redis (6 or later) or Valkey, for any number of processes.

    All concurrent requests of an event loop share one connection: commands that come together are sent together.

    Args:
        cache_name: namespace: every key begins with ``<cache_name>:``.
        address: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or ``unix:///path?db=0``.
        connection: an existing client whose settings are used in place of *address*; it is never closed here.
        kwargs: options of `CacheBackend`; ``near_tier_s``, see `RedisCache`; arguments of ``redis.asyncio.Redis``,
            which win over the address.

    Raises:
        TypeError: an option is not known.
        ConfigurationError: an option or the address has a value that cannot be used.
        MissingDependencyError: redis is not installed.
    """

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        address: str = "redis://localhost",
        connection: Redis | None = None,
        **kwargs: Any,
    ) -> None:
        options, of_link = sorted_options(type(self).__name__, kwargs)
        super().__init__(cache_name, **options)
        link = RedisLink(address, connection, **of_link)
        self._where = link.where
        storage = {name: kwargs[name] for name in kwargs.keys() & STORAGE_OPTIONS}
        self.responses = RedisCache(cache_name, "responses", connection=link, **storage)
        self.redirects = RedisCache(cache_name, "redirects", connection=link, **storage)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self._where}>"


class RedisCache(BaseCache):
    """A storage in Redis or Valkey, under keys that begin with ``<namespace>:<collection_name>:``.

    The server's memory is bounded by the server (``maxmemory`` and its policy), so ``max_entries`` and ``max_bytes``
    are of no effect here.

    Args:
        namespace: first part of every key.
        collection_name: second part of every key.
        address: see `RedisBackend`.
        connection: an existing client, or the link of another storage, which both then share.
        kwargs: options of `BaseCache`; ``near_tier_s``: seconds for which a copy of an entry that was read may be
            used again without asking the server, None (the default) for never. The server is asked to tell at once
            when such an entry changes (client-side caching, RESP3), so the seconds bound only what happens when the
            network loses that message; ``near_tier_bytes``: what the copies may weigh together, 32 MiB by
            default; arguments of ``redis.asyncio.Redis``.

    Raises:
        TypeError, ConfigurationError, MissingDependencyError: as `RedisBackend`.
    """

    def __init__(
        self,
        namespace: str = "aiohttp-cache",
        collection_name: str = "responses",
        address: str = "redis://localhost",
        connection: Redis | RedisLink | None = None,
        **kwargs: Any,
    ) -> None:
        options, of_link = sorted_options(type(self).__name__, kwargs)
        super().__init__(**options)
        self.link = connection if isinstance(connection, RedisLink) else RedisLink(address, connection, **of_link)
        self.namespace = namespace
        self.collection_name = collection_name
        self._prefix = f"{namespace}:{collection_name}:".encode("utf-8", "surrogateescape")
        self._leases = Leases(f"{namespace}:{collection_name}-lease:")
        self._has_near = self.link.near_tier_s is not None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}:{self.collection_name} at {self.where}>"

    @property
    def where(self) -> str:
        """The server, without credentials."""
        return self.link.where

    # ---- the engine's side

    def peek(self, key: str) -> StoredResponse | None:
        """Return the near tier's copy, where there is one that may still be believed."""
        if not self._has_near:
            return None
        channel = self.link.channel_now()
        near = None if channel is None else channel.near
        return None if near is None else near.get(self._full(key))

    async def read_entry(self, key: str) -> StoredResponse | None:
        """Read the response kept under *key*, following one alias; None when missing or unreadable."""
        if self._serializer is not None:
            return await super().read_entry(key)
        channel, name = self.link.channel_now() or await self.link.channel(), self._full(key)
        found = await channel.get(name, partial(self._decoded, key, name, channel.near))
        if type(found) is str:
            key, name = found, self._full(found)
            found = await channel.get(name, partial(self._decoded, key, name, channel.near))
        return found if isinstance(found, StoredResponse) else None

    async def read_either(self, key: str, other: BaseCache) -> tuple[StoredResponse | None, BaseCache]:
        """Read the response kept under *key* here, or else in *other*, in one round trip where they share the link."""
        channel = self.link.channel_now()
        if channel is None or type(other) is not RedisCache or other.link is not self.link or other._serializer:
            return await super().read_either(key, other)
        name = other._full(key)
        beside = channel.get(name, partial(other._decoded, key, name, channel.near))
        try:
            entry = await self.read_entry(key)
            if entry is not None:
                return entry, self
            found = await beside
        finally:
            disregard(beside)
        if type(found) is str:
            return await other.read_entry(found), other
        return (found if isinstance(found, StoredResponse) else None), other

    async def write_entry(self, entry: StoredResponse) -> None:
        """Store *entry* until its ``store_until``; the server drops it then."""
        if self._serializer is not None:
            await super().write_entry(entry)
        else:
            await self._set(entry.key, self.codec.encode(entry, named=False), entry.store_until)

    async def write_leased(self, entry: StoredResponse) -> None:
        """Store *entry* and give the lease on its key back, in one round trip."""
        key = entry.key
        channel, token = self.link.channel_now(), self._leases.held(key)
        if self._serializer is not None or channel is None or token is None:
            await super().write_leased(entry)
            return
        name = self._full(key)
        written = channel.change([name], _storing(name, self.codec.encode(entry, named=False), entry.store_until))
        await self._leases.release_after(written, channel, key, token)

    async def delete_expired(self, now: float) -> int:
        """Delete what may be dropped at *now*; return how many entries went beside those the server has dropped."""
        real_now = time.time()
        if now <= real_now:
            return 0
        count = 0
        async for page in self._pages():
            channel = await self._channel()
            left_ms: list[int] = await asyncio.gather(*(channel.submit(command(b"PTTL", key)) for key in page))
            expired = [key for key, left in zip(page, left_ms, strict=True) if 0 <= left <= (now - real_now) * 1000]
            count += await self._unlink(expired)
        return count

    async def acquire_lease(self, key: str, ttl_s: float) -> Lease:
        """Ask to be the only process that fetches *key* for *ttl_s* seconds."""
        return await self._leases.acquire(await self._channel(), key, ttl_s, self._full(key))

    async def release_lease(self, key: str) -> None:
        """Give a lease back before its time, unless it has passed to another process."""
        token = self._leases.forget(key)
        if token is not None:
            await self._leases.release(await self._channel(), key, token)

    # ---- items

    async def contains(self, key: str) -> bool:
        """Check whether *key* is stored."""
        await self.settle_writes({key})
        channel = await self._channel()
        return bool(await channel.submit(command(b"EXISTS", self._full(key))))

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item; None when it is missing or unreadable."""
        await self.settle_writes({key})
        channel = await self._channel()
        return self._item(key, await channel.submit(command(b"GET", self._full(key)), _bytes_or_none))

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Store *item* under *key*; a response until its ``store_until``, anything else until it is deleted."""
        until = float("inf")
        if isinstance(item, CachedResponse):
            until = item.stored.store_until
            if item.stored.key != key:
                item = CachedResponse.from_stored(msgspec.structs.replace(item.stored, key=key))
        data = self.serialize(item, key)
        if data is None:
            await self.delete(key)
        else:
            await self._set(key, data, until)

    async def pop(self, key: str, default: ResponseOrKey = None) -> ResponseOrKey:
        """Delete an item and return it, or *default* when it is missing."""
        await self.settle_writes({key})
        channel, name = await self._channel(), self._full(key)
        found = channel.submit(command(b"GET", name), _bytes_or_none)
        await channel.change([name], command(b"UNLINK", name))
        item = self._item(key, await found)
        return default if item is None else item

    async def delete(self, key: str) -> None:
        """Delete an item; a missing one is no error."""
        await self._unlink([self._full(key)])

    async def bulk_delete(self, keys: set[str]) -> None:
        """Delete several items; missing ones are no error."""
        await self._unlink([self._full(key) for key in keys])

    async def clear(self) -> None:
        """Delete everything in this collection, in small steps; other keys of the server are left alone."""
        async for page in self._pages():
            await self._unlink(page)

    async def keys(self) -> AsyncIterator[str]:
        """Iterate over all keys, page by page. One may come twice while the server resizes its table."""
        await self.settle_writes(None)
        start = len(self._prefix)
        async for page in self._pages():
            for name in page:
                yield name[start:].decode("utf-8", "surrogateescape")

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        """Iterate over all readable items, a few at a time."""
        await self.settle_writes(None)
        start = len(self._prefix)
        async for page in self._pages():
            for first in range(0, len(page), BODIES):
                names = page[first : first + BODIES]
                channel = await self._channel()
                found: list[bytes | None] = await channel.submit(command(b"MGET", *names))
                for name, data in zip(names, found, strict=True):
                    item = self._item(name[start:].decode("utf-8", "surrogateescape"), data)
                    if item is not None:
                        yield item

    async def size(self) -> int:
        """Count the items, page by page."""
        await self.settle_writes(None)
        count = 0
        async for page in self._pages():
            count += len(page)
        return count

    async def close(self) -> None:
        """Close our connection; a later use opens another one. A client that was handed in stays open."""
        await self.link.close()

    # ---- inside

    def _full(self, key: str) -> bytes:
        return self._prefix + key.encode("utf-8", "surrogateescape")

    async def _channel(self) -> Connection:
        return self.link.channel_now() or await self.link.channel()

    def _decoded(self, key: str, name: bytes, near: NearTier | None, reply: Reply) -> StoredResponse | str | None:
        """Decode what the server has under *key*, and leave a copy of an entry in the near tier."""
        data = _bytes_or_none(reply)
        if data is None:
            return None
        try:
            found = self.codec.decode(data, key)
        except UnreadableEntryError:
            found = None
        if isinstance(found, StoredResponse):
            if near is not None:
                near.put(name, found)
            return found
        if isinstance(found, str):
            return found
        self.on_unreadable(1)  # also what was written with a serializer, which is not there
        return None

    def _item(self, key: str, data: bytes | None) -> ResponseOrKey:
        if data is None:
            return None
        try:
            return self.deserialize(data, key)
        except UnreadableEntryError:
            self.on_unreadable(1)
            return None

    async def _set(self, key: str, data: bytes, until: float) -> None:
        channel, name = await self._channel(), self._full(key)
        await channel.change([name], _storing(name, data, until))

    async def _unlink(self, names: Sequence[bytes]) -> int:
        count = 0
        for first in range(0, len(names), PAGE):
            part = names[first : first + PAGE]
            channel = await self._channel()
            count += await channel.change(part, command(b"UNLINK", *part))
        return count

    async def _pages(self) -> AsyncIterator[list[bytes]]:
        """Walk over the names of our keys, a page at a time."""
        pattern = re.sub(rb"([\\*?\[\]])", rb"\\\1", self._prefix) + b"*"
        cursor, page = b"0", list[bytes]()
        while True:
            channel = await self._channel()
            cursor, page = await channel.submit(command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % PAGE))
            if page:
                yield page
            if cursor == b"0":
                return


def _storing(name: bytes, data: bytes, until: float) -> bytes:
    """The command that keeps *data* under *name* until a POSIX time."""
    left_s = until - time.time()
    if left_s <= 0:  # what is over by now still replaces what was there
        return command(b"UNLINK", name)
    if left_s > FOR_EVER_S:
        return command(b"SET", name, data)
    return command(b"SET", name, data, b"PX", b"%d" % max(1, int(left_s * 1000)))


def _bytes_or_none(reply: Reply) -> bytes | None:
    """A value of another type than ours is as good as none."""
    if type(reply) is ServerError and reply.code == "WRONGTYPE":
        return None
    reply = expect_no_error(reply)
    return reply if isinstance(reply, bytes) else None
