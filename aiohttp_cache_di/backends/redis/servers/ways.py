"""How a server is reached: by an address of its own, or by asking sentinels where it is today."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from aiohttp_cache_di._redis import is_tls, open_by_sentinels, open_node, open_server, sentinel_settings

__all__ = ["Way", "secrets_in", "way_by_sentinels", "way_to_node", "way_to_server"]

_SECRET: Final = ("password", "ssl_password")


class Way(Struct, frozen=True):
    """The way to one server: settings alone. It belongs to no event loop, and what it opens is the caller's.

    Args:
        where: what to call the server in messages: without user, password and options.
        settings: of the connections that are opened on it, by which they log in.
        open: gives an open and authenticated connection of the driver, or raises what the driver raises.
    """

    where: str
    settings: Sequence[Mapping[str, Any]]
    open: Callable[[], Coroutine[Any, Any, Any]]

    def __repr__(self) -> str:
        return f"<Way {self.where}>"  # the settings hold the password

    @property
    def secrets(self) -> Collection[str] | None:
        """The password and what else is used to log in; None where a provider of credentials knows it alone."""
        return secrets_in(*self.settings)


def way_to_server(pool: Any) -> Way:
    """The way to the server that the driver's *pool* is for, from which no connection is lent."""
    settings: Mapping[str, Any] = pool.connection_kwargs
    if "path" in settings:
        where = f"unix://{settings['path']}"
    else:
        place = f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db') or 0}"
        where = f"{_scheme(pool.connection_class)}://{place}"
    return Way(where, [settings], partial(open_server, pool))


def way_to_node(host: str, port: int, settings: Mapping[str, Any]) -> Way:
    """The way to a server of a cluster.

    Args:
        host: as the cluster names it.
        port: likewise.
        settings: of connections to all servers of the cluster.
    """
    where = f"{_scheme(settings['connection_class'])}://{host}:{port}"
    return Way(where, [settings], partial(open_node, host, port, settings))


def way_by_sentinels(pool: Any) -> Way:
    """The way to the server that sentinels name as the primary of a service when they are asked.

    Args:
        pool: of a client of the driver, as its ``master_for`` makes it.
    """
    sentinels = sentinel_settings(pool)
    hosts = ",".join(f"{each.get('host', 'localhost')}:{each.get('port', 26379)}" for each in sentinels)
    where = f"{_scheme(pool.connection_class)}+sentinel://{hosts}/{pool.service_name}"
    return Way(where, [pool.connection_kwargs, *sentinels], partial(open_by_sentinels, pool))


def secrets_in(*settings: Mapping[str, Any]) -> Collection[str] | None:
    """What *settings* of connections have to log in with; None where a provider of credentials knows it alone."""
    if any(each.get("credential_provider") is not None for each in settings):
        return None
    return [value for each in settings for name in _SECRET if isinstance(value := each.get(name), str)]


def _scheme(kind: type) -> str:
    return "rediss" if is_tls(kind) else "redis"
