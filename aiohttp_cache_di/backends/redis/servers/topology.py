"""Which servers there are, and which of them has a name: one, or (in `cluster`) several.

A store asks its topology for the connection to the server that has a name, has a batch of names parted by connection,
and walks over all endpoints. It never opens a connection by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from aiohttp_cache_di.backends.redis.connections.connection import Connection
from aiohttp_cache_di.backends.redis.servers.endpoints import Endpoint
from aiohttp_cache_di.backends.redis.servers.ways import Way
from aiohttp_cache_di.errors import StorageError

__all__ = ["Part", "SingleServer", "Topology"]


class Part(NamedTuple):
    """Those names of a batch that one server has.

    Args:
        connection: to it, or why there is none.
        indexes: their places in the batch.
    """

    connection: Connection | StorageError
    indexes: Sequence[int]


class Topology(Protocol):
    """The servers that hold the records of a store."""

    by_slot: bool
    """Whether all names in a command have to be in one slot, as in a cluster."""

    @property
    def where(self) -> str:
        """What to call them in messages: without user and password."""
        ...

    @property
    def secrets(self) -> Collection[str] | None:
        """What is used to log in; None where that is not known."""
        ...

    def now(self, name: bytes) -> Connection | None:
        """The running loop's connection to the server that has *name*, if it is open."""
        ...

    async def connection(self, name: bytes) -> Connection:
        """The running loop's connection to the server that has *name*, opened if need be.

        Raises:
            StorageError: there is none to be had.
        """
        ...

    async def parts(self, names: Sequence[bytes]) -> Sequence[Part]:
        """*names* by the server that has them."""
        ...

    async def endpoints(self) -> Sequence[Endpoint]:
        """All that hold records, as they are just now."""
        ...

    def shift(self) -> int:
        """A number that is another one when names have changed their server since."""
        ...

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with each connection of the running loop, and each that is opened, before it is used."""

    def on_shift(self, listener: Callable[[], None]) -> None:
        """Call *listener* in the running loop when names have changed their server."""

    async def close(self) -> None:
        """Close the connections of the running loop, and have other loops close theirs."""


class SingleServer:
    """One server, or the one that does the work of a service today; as a `Topology`.

    Args:
        way: to it.
    """

    by_slot = False

    def __init__(self, way: Way) -> None:
        self._way = way
        self._endpoint = Endpoint(way)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"

    @property
    def where(self) -> str:
        """The address without user, password and options."""
        return self._way.where

    @property
    def secrets(self) -> Collection[str] | None:
        """The password and what else is used to log in."""
        return self._way.secrets

    def now(self, name: bytes) -> Connection | None:
        """The one there is, if it is open."""
        return self._endpoint.connection_now()

    async def connection(self, name: bytes) -> Connection:
        """The one there is."""
        return await self._endpoint.connection()

    async def parts(self, names: Sequence[bytes]) -> Sequence[Part]:
        """All of them are in one."""
        return (Part(self._endpoint.connection_now() or await self._endpoint.connection(), range(len(names))),)

    async def endpoints(self) -> Sequence[Endpoint]:
        """The one."""
        return (self._endpoint,)

    def shift(self) -> int:
        """Always the same."""
        return 0

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with the running loop's connection, and each one that is opened."""
        self._endpoint.prepare = prepare
        connection = self._endpoint.connection_now()
        if connection is not None:
            prepare(connection)

    def on_shift(self, listener: Callable[[], None]) -> None:
        """It does not happen: another server's records come over another connection."""

    async def close(self) -> None:
        """Close the connections of the running loop, and have other loops close theirs."""
        await self._endpoint.close()
