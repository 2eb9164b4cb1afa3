"""How a server is reached: by an address of its own, or by asking sentinels where it is today.

A way is settings alone. It belongs to no event loop, and what it opens is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Final, Protocol

from aiohttp_cache_di._redis import SentinelConnections, insisted, is_tls, new_connection, node_connection

__all__ = ["DirectWay", "NodeWay", "Pool", "SentinelWay", "Way", "secrets_in"]

_SECRET: Final = ("password", "ssl_password")


class Pool(Protocol):
    """What is used of the driver's pools: they hold the settings, and make connections by them."""

    connection_kwargs: Mapping[str, Any]

    def make_connection(self) -> Any:
        """Make a connection that is not open yet."""


class Way(Protocol):
    """The way to one server."""

    @property
    def where(self) -> str:
        """What to call the server in messages: without user, password and options."""
        ...

    @property
    def secrets(self) -> Collection[str] | None:
        """The password and what else is used to log in; None where a provider of credentials knows it alone."""
        ...

    async def open(self) -> Any:
        """An open and authenticated connection of the driver.

        Raises:
            Exception: whatever the driver raises; nothing stays open.
        """
        ...


class DirectWay:
    """To a server whose address is known.

    Args:
        pool: of the driver; no connection is lent from it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @property
    def where(self) -> str:
        """The address without user, password and options."""
        settings = self._pool.connection_kwargs
        if "path" in settings:
            return f"unix://{settings['path']}"
        scheme = _scheme(tls=is_tls(getattr(self._pool, "connection_class", object)))
        return f"{scheme}://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db') or 0}"

    @property
    def secrets(self) -> Collection[str] | None:
        """See `Way`."""
        return secrets_in(self._pool.connection_kwargs)

    async def open(self) -> Any:
        """See `Way`."""
        return await _opened(await new_connection(self._pool))


class NodeWay:
    """To a server of a cluster.

    Args:
        host: as the cluster names it.
        port: likewise.
        settings: of connections to all servers of the cluster.
    """

    def __init__(self, host: str, port: int, settings: Mapping[str, Any]) -> None:
        self._host = host
        self._port = port
        self._settings = settings

    @property
    def where(self) -> str:
        """The address."""
        scheme = _scheme(tls=is_tls(self._settings.get("connection_class", object)))
        return f"{scheme}://{self._host}:{self._port}"

    @property
    def secrets(self) -> Collection[str] | None:
        """See `Way`."""
        return secrets_in(self._settings)

    async def open(self) -> Any:
        """See `Way`."""
        return await _opened(await node_connection(self._host, self._port, self._settings))


class SentinelWay:
    """To the server that sentinels name as the primary of a service when they are asked.

    Args:
        pool: of a client of the driver, as its ``master_for`` makes it.
    """

    def __init__(self, pool: Any) -> None:
        self._connections = SentinelConnections(pool)

    @property
    def where(self) -> str:
        """The sentinels and the name of the service."""
        hosts = ",".join(f"{host}:{port}" for host, port in self._connections.sentinels)
        return f"{_scheme(tls=self._connections.is_tls)}+sentinel://{hosts}/{self._connections.service}"

    @property
    def secrets(self) -> Collection[str] | None:
        """See `Way`."""
        found: list[str] = []
        for settings in self._connections.settings:
            some = secrets_in(settings)
            if some is None:
                return None
            found += some
        return found

    async def open(self) -> Any:
        """See `Way`."""
        connection, close = await self._connections.new()
        return await _opened(connection, close)


def _scheme(*, tls: bool) -> str:
    return "rediss" if tls else "redis"


def secrets_in(settings: Mapping[str, Any]) -> Collection[str] | None:
    """What *settings* of a connection have to log in with; None where a provider of credentials knows it alone."""
    if settings.get("credential_provider") is not None:
        return None
    return [value for name in _SECRET if isinstance(value := settings.get(name), str)]


async def _opened(connection: Any, finish: Callable[[], Coroutine[Any, Any, None]] | None = None) -> Any:
    """*connection* when it is open; what was needed for that is closed by *finish*.

    One who is cancelled after it has opened, while the rest is being closed, leaves nothing open either.
    """
    try:
        try:
            await connection.connect()
        finally:
            if finish is not None:
                await insisted(finish())
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection
