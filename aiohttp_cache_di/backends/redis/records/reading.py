"""Reading values, and never one larger than the cache stores: other programs may write to the server, too.

Normally values are read by GET, or several by MGET. A reply that exceeds the limit ends its connection before it is
complete. For a while after that, values are read by GETRANGE, which returns no more than asked for, so that a planted
value does not cost another round trip or the shared connection again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

from aiohttp_cache_di.backends.batches import in_batches
from aiohttp_cache_di.backends.redis.connections.connection import Connection, ReplyTooLargeError
from aiohttp_cache_di.backends.redis.records.commands import LARGE, get, get_upto, head, submit_mget, value
from aiohttp_cache_di.backends.redis.servers.topology import Topology
from aiohttp_cache_di.backends.store import UNREADABLE, Unreadable
from aiohttp_cache_di.backends.tasks import abandon
from aiohttp_cache_di.errors import StorageError

__all__ = ["BATCH", "Reading", "Value", "abandon_all", "all_of", "settled"]

T = TypeVar("T")
Value: TypeAlias = bytes | Unreadable | StorageError | None

logger: logging.Logger = logging.getLogger(__name__)

BATCH: Final = 256  # most names in one call
REPLY_BYTES: Final = 4 * 1024 * 1024  # desired size of the reply to one MGET, by the mean size of values so far
USUAL_COUNT: Final = 128  # values in such a reply, before any was read
FRAMING_BYTES: Final = 4096  # most bytes of a reply besides its value
CAREFUL_S: Final = 60.0  # how long GETRANGE is used after a reply was too large


class Reading:
    """Reads the values of one store.

    Args:
        topology: the servers.
        value_bytes: returns the size of the largest value.
    """

    def __init__(self, topology: Topology, value_bytes: Callable[[], int]) -> None:
        self._topology = topology
        self.value_bytes = value_bytes
        self._mean_bytes = REPLY_BYTES / USUAL_COUNT
        self._careful_until = 0.0

    def reply_bytes(self) -> int:
        """The size of the largest reply with one value."""
        return self.value_bytes() + FRAMING_BYTES

    def is_bounded(self, connection: Connection) -> bool:
        """Whether *connection* may be sent GET and MGET, rather than GETRANGE."""
        return connection.is_bounded and (not self._careful_until or monotonic() > self._careful_until)

    def beware(self) -> None:
        """Use GETRANGE for a while, since a value was too large."""
        if monotonic() > self._careful_until:
            logger.warning("%s has a value that is larger than any that is kept there", self._topology.where)
        self._careful_until = monotonic() + CAREFUL_S

    async def one(self, name: bytes) -> bytes | Unreadable | None:
        """The value of *name*; UNREADABLE for one that is too large."""
        connection = await self._topology.connection(name)
        if self.is_bounded(connection):
            try:
                return await connection.submit(get(name), value, max_bytes=self.reply_bytes)
            except ReplyTooLargeError:
                self.beware()
        (found,) = await self._carefully([name])
        return found

    async def many(self, names: Sequence[bytes]) -> Sequence[Value]:
        """The values of *names*, UNREADABLE for those that are too large.

        If some servers of a cluster fail, their errors are in the place of values.

        Raises:
            StorageError: all of them fail.
        """
        if self._topology.by_slot:
            return await self._each(names)
        found: list[bytes | Unreadable | None] = [None] * len(names)
        most = max(1, min(BATCH, int(REPLY_BYTES / max(1.0, self._mean_bytes))))  # the mean of absent values tends to 0
        parts: list[Sequence[int]] = []
        asked: list[asyncio.Future[list[bytes | None]]] = []
        for connection, indexes in await self._topology.parts(names):
            if isinstance(connection, StorageError):
                raise connection
            if not self.is_bounded(connection):
                abandon_all(asked)
                return await self._carefully(names)
            for first in range(0, len(indexes), most):
                parts.append(indexes[first : first + most])
                asked.append(submit_mget(connection, [names[index] for index in parts[-1]], self.reply_bytes))
        try:
            for part, values in zip(parts, asked, strict=True):
                size = 0
                for index, data in zip(part, await values, strict=True):
                    if data is not None:
                        size += len(data)
                        found[index] = data
                self._mean_bytes += (size / len(part) - self._mean_bytes) / 4
        except ReplyTooLargeError:
            self.beware()
        else:
            return found
        finally:
            abandon_all(asked)
        return await self._carefully(names)

    async def _each(self, names: Sequence[bytes]) -> Sequence[Value]:
        """As `many`, with a GET for each name, since names of different slots cannot be in one MGET."""
        found: list[Value] = [None] * len(names)
        asked: dict[int, asyncio.Future[bytes | None]] = {}
        for connection, indexes in await self._topology.parts(names):
            if isinstance(connection, StorageError):
                for index in indexes:
                    found[index] = connection
                continue
            if not self.is_bounded(connection):
                abandon_all(asked.values())
                return await self._carefully(names)
            with connection.together():
                for index in indexes:
                    asked[index] = connection.submit(get(names[index]), value, max_bytes=self.reply_bytes)
        try:
            for index, future in asked.items():
                found[index] = await settled(future)
        finally:
            abandon_all(asked.values())
        failed = [each for each in found if isinstance(each, StorageError)]
        if any(isinstance(each, ReplyTooLargeError) for each in failed):
            self.beware()
            return await self._carefully(names)
        if len(failed) == len(names):
            raise failed[0]
        return found

    async def _carefully(self, names: Sequence[bytes]) -> list[bytes | Unreadable | None]:
        """As `many`, by GETRANGE, a few names at a time."""
        size = self.value_bytes()
        found: list[bytes | Unreadable | None] = []
        for part in in_batches(names, LARGE):
            connections = [await self._topology.connection(name) for name in part]
            asked = [
                connection.submit(get_upto(name, size), head, max_bytes=self.reply_bytes)
                for name, connection in zip(part, connections, strict=True)
            ]
            found += [UNREADABLE if len(data) > size else data or None for data in await all_of(asked)]
        return found


async def settled(asked: asyncio.Future[T] | StorageError) -> T | StorageError:
    """The result of *asked*, or the error with which it has failed."""
    if isinstance(asked, StorageError):
        return asked
    try:
        return await asked
    except StorageError as exc:
        return exc


async def all_of(asked: Sequence[asyncio.Future[T]]) -> list[T]:
    """The results of all futures; if one fails, the others are abandoned."""
    try:
        return [await future for future in asked]
    finally:
        abandon_all(asked)


def abandon_all(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel *futures*, and ignore their results and errors."""
    for future in futures:
        abandon(future)
