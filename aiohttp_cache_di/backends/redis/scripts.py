"""Leases on keys, by which one process fetches for all: keys of their own, which the server drops in time."""

from __future__ import annotations

import asyncio
import secrets

from aiohttp_cache_di.backends.redis.connections import Connection
from aiohttp_cache_di.backends.redis.wire import Reply, ServerError, command
from aiohttp_cache_di.backends.storage import Lease, disregard, hear

__all__ = ["Leases"]

# Nobody else's lease is given back: it may have passed to another process since.
RELEASE_SCRIPT = b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('unlink',KEYS[1]) end return 0"


class Leases:
    """The leases that this process holds.

    Args:
        prefix: of their names on the server.
    """

    __slots__ = ("_prefix", "_tokens")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._tokens: dict[str, bytes] = {}

    def held(self, key: str) -> bytes | None:
        """The token of the one on *key*, if there is one."""
        return self._tokens.get(key)

    def forget(self, key: str) -> bytes | None:
        """Hold the one on *key* no longer; return its token, for `release`."""
        return self._tokens.pop(key, None)

    async def acquire(self, channel: Connection, key: str, ttl_s: float, stored: bytes) -> Lease:
        """Ask for one on *key*, and whether there is anything under the name *stored*."""
        token = secrets.token_bytes(16)
        ttl_ms = b"%d" % max(1, int(ttl_s * 1000))
        granted: asyncio.Future[Reply] = channel.submit(command(b"SET", self._name(key), token, b"NX", b"PX", ttl_ms))
        there: asyncio.Future[Reply] = channel.submit(command(b"EXISTS", stored))
        try:
            if await granted is None:
                return Lease.REFUSED
            self._tokens[key] = token
            return Lease.GRANTED_LATE if await there else Lease.GRANTED
        except asyncio.CancelledError:
            # It may be granted all the same. What gives it back goes out behind it, over the same connection.
            self.forget(key)
            self._give_back(channel, key, token).add_done_callback(hear)
            raise
        finally:
            disregard(there)

    async def release(self, channel: Connection, key: str, token: bytes) -> None:
        """Give the one on *key* back before its time, unless it has passed to another process."""
        if await self._give_back(channel, key, token):
            return
        # Scripts may be forbidden. Between these two commands the lease can pass to another process only if its time
        # runs out just then; and all that is lost by it is that the origin is asked twice.
        name = self._name(key)
        if await channel.submit(command(b"GET", name)) == token:
            await channel.submit(command(b"UNLINK", name))

    async def release_after(self, written: asyncio.Future[Reply], channel: Connection, key: str, token: bytes) -> None:
        """Give the one on *key* back in the same round trip in which its entry is *written*."""
        released = self._give_back(channel, key, token)
        try:
            await written
            is_released = await released
        finally:
            disregard(released)
        self.forget(key)
        if not is_released:
            await self.release(channel, key, token)

    def _give_back(self, channel: Connection, key: str, token: bytes) -> asyncio.Future[bool]:
        return channel.submit(command(b"EVAL", RELEASE_SCRIPT, b"1", self._name(key), token), _is_no_error)

    def _name(self, key: str) -> bytes:
        return f"{self._prefix}{key}".encode("utf-8", "surrogateescape")


def _is_no_error(reply: Reply) -> bool:
    return type(reply) is not ServerError
