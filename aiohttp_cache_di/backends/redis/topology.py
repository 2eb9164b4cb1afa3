"""Which servers there are, and which of them has a key. Today it is one; what there are more of find their door here.

A store asks its topology for the endpoint of a name, for all endpoints when it walks, and has a batch of names parted
by endpoint. It never opens a connection by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from aiohttp_cache_di.backends.redis.connections import Connection
from aiohttp_cache_di.backends.redis.endpoints import Endpoint

__all__ = ["SingleServer", "Topology"]


class Topology(Protocol):
    """The servers that hold the records of a store."""

    @property
    def where(self) -> str:
        """What to call them in messages: without user and password."""
        ...

    @property
    def secrets(self) -> Collection[str] | None:
        """What is used to log in; None where that is not known."""
        ...

    def endpoints(self) -> Sequence[Endpoint]:
        """All that hold records."""
        ...

    def endpoint_of(self, name: bytes) -> Endpoint:
        """The one that holds *name*."""
        ...

    def parts(self, names: Sequence[bytes]) -> Sequence[tuple[Endpoint, Sequence[int]]]:
        """Which of *names*, by their places among them, are at which endpoint."""
        ...

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with each connection that is opened from now on, before it is used."""

    async def close(self) -> None:
        """Close the connections of the running loop, and have other loops close theirs."""


class SingleServer:
    """One server, whose name the driver's client may look up: by DNS, or by asking sentinels.

    Args:
        client: of the driver.
    """

    def __init__(self, client: Any) -> None:
        self._endpoint = Endpoint(client.connection_pool)
        self._endpoints = (self._endpoint,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"

    @property
    def where(self) -> str:
        """The address without user, password and options."""
        return self._endpoint.where

    @property
    def secrets(self) -> Collection[str] | None:
        """The password and what else is used to log in."""
        return self._endpoint.secrets

    def endpoints(self) -> Sequence[Endpoint]:
        """The one."""
        return self._endpoints

    def endpoint_of(self, name: bytes) -> Endpoint:
        """The one."""
        return self._endpoint

    def parts(self, names: Sequence[bytes]) -> Sequence[tuple[Endpoint, Sequence[int]]]:
        """All of them are at the one."""
        return ((self._endpoint, range(len(names))),)

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with each connection that is opened from now on, before it is used."""
        self._endpoint.prepare = prepare

    async def close(self) -> None:
        """Close the connections of the running loop, and have other loops close theirs."""
        await self._endpoint.close()
