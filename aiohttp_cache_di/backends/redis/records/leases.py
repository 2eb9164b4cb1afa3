"""Leases, by which one process fetches a key for all: keys of their own that expire, with the owner's token as value.

Where scripts are forbidden, plain commands do the same. These are not atomic together; at worst the origin is asked
twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp_cache_di.backends.bounded import MAX_HELD, Bounded
from aiohttp_cache_di.backends.redis.connections.connection import Connection, ReplyTooLargeError
from aiohttp_cache_di.backends.redis.connections.wire import Reply, ServerError, beginning, command, rest
from aiohttp_cache_di.backends.redis.records.names import Names
from aiohttp_cache_di.backends.redis.servers.topology import Topology
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.tasks import abandon, background
from aiohttp_cache_di.errors import StorageError

__all__ = ["Leases"]

logger: logging.Logger = logging.getLogger(__name__)

# Runs a command on a lease, unless it has passed to another process.
IF_OURS: Final = (
    b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call(ARGV[2],KEYS[1],unpack(ARGV,3)) end return 0"
)

# A value of another type counts as missing. A value that is too large is not even read by the script.
GET_OR_ACQUIRE: Final = (
    b"local n=redis.pcall('strlen',KEYS[1]) if type(n)=='number' and n>tonumber(ARGV[3]) then return 2 end "
    b"local v=redis.pcall('get',KEYS[1]) if type(v)=='string' then return v end "
    b"local s=redis.pcall('set',KEYS[2],ARGV[1],'nx','px',ARGV[2]) "
    b"if not s then return 0 end if s['ok'] then return 1 end return 3"
)

_UNLINK_IF_OURS: Final = beginning(b"EVAL", IF_OURS, b"1", more=3)
_GET_OR_ACQUIRE: Final = beginning(b"EVAL", GET_OR_ACQUIRE, b"2", more=5)

REFUSED: Final = 0
GRANTED: Final = 1
TOO_LARGE: Final = 2


def forbids_scripts(error: ServerError) -> bool:
    """Whether *error*, in which a script has ended, says that the server runs none for this user.

    NOPERM may also concern the keys of one script, or a command in it (``ACL failure in script: …``).
    """
    return error.code == "ERR" or (error.code == "NOPERM" and " run the 'eval' " in error.message.lower())


class Leases:
    """The leases that this process holds.

    Args:
        topology: the servers.
        names: the names of records and of the leases on them, which are on one server.
    """

    __slots__ = ("_is_told", "_names", "_tokens", "_topology")

    def __init__(self, topology: Topology, names: Names) -> None:
        self._topology = topology
        self._names = names
        self._tokens: Bounded[str, bytes] = Bounded(MAX_HELD)  # a lease that is never released stays there
        self._is_told = False

    async def acquire(self, key: str, ttl_s: float) -> Lease:
        """Ask for the lease on *key*, and whether there is a record."""
        stored = self._names.record(key)
        connection = await self._topology.connection(stored)
        token = secrets.token_bytes(16)
        ask = command(b"SET", self._names.lease(key), token, b"NX", b"PX", _as_ms(ttl_s))
        with connection.together():
            granted: asyncio.Future[Reply] = connection.submit(ask)
            there: asyncio.Future[Reply] = connection.submit(command(b"EXISTS", stored))
        try:
            if await granted is None:
                return Lease.REFUSED
            self._tokens.note(key, token)
            return Lease.GRANTED_LATE if await there else Lease.GRANTED
        except asyncio.CancelledError:
            self._cancelled(connection, key, token)
            raise
        finally:
            abandon(there)

    async def get_or_acquire(
        self, key: str, ttl_s: float, max_bytes: Callable[[], int]
    ) -> bytes | Lease | ServerError | None:
        """Look up the record under *key*, and take the lease if there is none, by one script.

        Returns:
            The record, or whether the lease was granted; None if there is no record and the server cannot grant leases,
            such as a replica; the error if the server runs no scripts, so that nothing is known.

        Raises:
            ReplyTooLargeError: the record has more than *max_bytes*.
        """
        stored = self._names.record(key)
        connection = await self._topology.connection(stored)
        if connection.no_scripts is not None:
            return connection.no_scripts
        token = secrets.token_bytes(16)
        most = b"%d" % max_bytes()
        ask = _GET_OR_ACQUIRE + rest(stored, self._names.lease(key), token, _as_ms(ttl_s), most)
        asked: asyncio.Future[Reply] = connection.submit(ask, _unchanged, max_bytes=max_bytes)
        try:
            found = await asked
        except asyncio.CancelledError:
            self._cancelled(connection, key, token)
            raise
        if isinstance(found, bytes):
            return found
        if found == GRANTED:
            self._tokens.note(key, token)
            return Lease.GRANTED
        if found == TOO_LARGE:
            raise ReplyTooLargeError(f"{connection.where} has a value of more than {max_bytes()} bytes")
        if type(found) is ServerError:
            self._script_failed(connection, found)
            return found
        return Lease.REFUSED if found == REFUSED else None

    async def renew(self, key: str, ttl_s: float) -> bool:
        """Extend the lease on *key* to *ttl_s* seconds from now; False if it is not held, or has passed on."""
        if key not in self._tokens:
            return False
        connection = await self._topology.connection(self._names.record(key))
        token = self._tokens.get(key)  # None if it was released meanwhile
        if token is None:
            return False
        return await self._if_ours(connection, self._names.lease(key), token, b"PEXPIRE", _as_ms(ttl_s))

    async def release(self, key: str) -> None:
        """Release the lease on *key*, if it is held here and has not passed to another process."""
        if key not in self._tokens:
            return
        connection = await self._topology.connection(self._names.record(key))
        token = self._tokens.pop(key, None)
        if token is not None:
            await self._if_ours(connection, self._names.lease(key), token, b"UNLINK")

    def begin_release(self, connection: Connection, key: str) -> None:
        """As `release`, after the commands sent before, without waiting: a lease that is not released expires."""
        token = self._tokens.pop(key, None)
        if token is not None:
            self._begin_release(connection, self._names.lease(key), token)

    def _begin_release(self, connection: Connection, name: bytes, token: bytes) -> None:
        if connection.no_scripts is not None:
            background(self._released(connection, name, token))
            return

        def answered(reply: Reply) -> None:
            if type(reply) is ServerError and self._script_failed(connection, reply):
                background(self._released(connection, name, token))

        connection.tell(_UNLINK_IF_OURS + rest(name, token, b"UNLINK"), answered)

    async def _released(self, connection: Connection, name: bytes, token: bytes) -> None:
        with suppress(StorageError):  # a lease that is not released expires
            await self._if_ours(connection, name, token, b"UNLINK")

    async def _if_ours(self, connection: Connection, name: bytes, token: bytes, verb: bytes, *more: bytes) -> bool:
        """Run the command *verb* on the lease *name*; False if it has passed to another process."""
        if connection.no_scripts is None:
            ask = command(b"EVAL", IF_OURS, b"1", name, token, verb, *more)
            asked: asyncio.Future[Reply] = connection.submit(ask, _unchanged)
            answer = await asked
            if type(answer) is not ServerError:
                return bool(answer == 1)
            self._script_failed(connection, answer)
        # Between these two commands the lease can pass to another process only if it expires just then; then the origin
        # is asked twice, and nothing worse happens.
        if await connection.submit(command(b"GET", name)) != token:
            return False
        return bool(await connection.submit(command(verb, name, *more)) == 1)

    def _cancelled(self, connection: Connection, key: str, token: bytes) -> None:
        """Release a lease whose request was cancelled, since the server may still grant it."""
        self._tokens.pop(key, None)
        self._begin_release(connection, self._names.lease(key), token)

    def _script_failed(self, connection: Connection, error: ServerError) -> bool:
        """Note that a script has ended in *error*; whether scripts are forbidden, and none is sent there again."""
        if not forbids_scripts(error):
            return False
        connection.no_scripts = error
        if not self._is_told:
            self._is_told = True
            logger.info("%s runs no scripts for us (%s): a miss takes a round trip more", connection.where, error.code)
        return True


def _as_ms(ttl_s: float) -> bytes:
    return b"%d" % max(1, int(ttl_s * 1000))


def _unchanged(reply: Reply) -> Reply:
    return reply
