"""The servers of a store, and which of them has a name: a single server here, several in `cluster`.

A store asks its topology for the connection to the server that has a name, splits a batch of names by connection, and
walks over all endpoints. It never opens a connection by itself.
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
    """The names of a batch that one server has.

    Args:
        connection: the connection to the server, or the error if there is none.
        indexes: the places of the names in the batch.
    """

    connection: Connection | StorageError
    indexes: Sequence[int]


class Topology(Protocol):
    """The servers that hold the records of a store."""

    by_slot: bool
    """Whether all names of a command have to be in one slot, as in a cluster."""

    @property
    def where(self) -> str:
        """Their name in messages, without user and password."""
        ...

    @property
    def secrets(self) -> Collection[str] | None:
        """The credentials; None if they are not known."""
        ...

    async def connection(self, name: bytes) -> Connection:
        """The running loop's connection to the server that has *name*, opened if necessary.

        Raises:
            StorageError: no connection can be opened, or no server has *name*.
        """
        ...

    async def parts(self, names: Sequence[bytes]) -> Sequence[Part]:
        """*names* by the server that has them."""
        ...

    async def endpoints(self) -> Sequence[Endpoint]:
        """All servers that have records now."""
        ...

    def shift(self) -> int:
        """A number that changes when names have moved to another server."""
        ...

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with each connection of the running loop, and each that is opened, before it is used."""

    def on_shift(self, listener: Callable[[], None]) -> None:
        """Call *listener* in the running loop when names have moved to another server."""

    async def close(self) -> None:
        """Close the connections of the running loop, and let other loops close theirs."""


class SingleServer:
    """One server, or the present primary of a service behind sentinels, as a `Topology`.

    Args:
        way: opens connections to it.
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
        """The password and other credentials."""
        return self._way.secrets

    async def connection(self, name: bytes) -> Connection:
        """The running loop's connection, opened if necessary, for any name."""
        return await self._endpoint.connection()

    async def parts(self, names: Sequence[bytes]) -> Sequence[Part]:
        """All *names* as one part."""
        return (Part(await self._endpoint.connection(), range(len(names))),)

    async def endpoints(self) -> Sequence[Endpoint]:
        """The server's endpoint."""
        return (self._endpoint,)

    def shift(self) -> int:
        """Always 0."""
        return 0

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with the running loop's connection, and with each one that is opened."""
        self._endpoint.prepare = prepare
        connection = self._endpoint.connection_now()
        if connection is not None:
            prepare(connection)

    def on_shift(self, listener: Callable[[], None]) -> None:
        """Never calls *listener*: names move only with a failover, which needs a new connection."""

    async def close(self) -> None:
        """Close the connections of the running loop, and let other loops close theirs."""
        await self._endpoint.close()
