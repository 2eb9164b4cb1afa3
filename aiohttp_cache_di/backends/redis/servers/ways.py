"""How connections to a server are opened: by its address, or after asking sentinels for the present primary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from msgspec import Struct

from aiohttp_cache_di._redis import host_of, is_tls, open_by_sentinels, open_node, open_server, sentinel_settings
from aiohttp_cache_di.backends.redis.servers.lookups import attempt, looked_up

__all__ = ["Way", "once_named", "secrets_in", "way_by_sentinels", "way_to_node", "way_to_server"]

T = TypeVar("T")

_SECRET: Final = ("password", "ssl_password")


class Way(Struct, frozen=True):
    """The settings for connections to one server; belongs to no event loop.

    Args:
        where: the name of the server in messages, without user, password and options.
        settings: arguments of the connections, which include the credentials.
        open: opens and authenticates a connection of the driver, which the caller owns; raises the driver's errors.
    """

    where: str
    settings: Sequence[Mapping[str, Any]]
    open: Callable[[], Coroutine[Any, Any, Any]]

    def __repr__(self) -> str:
        return f"<Way {self.where}>"  # the settings hold the password

    @property
    def secrets(self) -> Collection[str] | None:
        """The password and other credentials; None if only a credential provider knows them."""
        return secrets_in(*self.settings)


def way_to_server(pool: Any) -> Way:
    """The way to the server of the driver's *pool*; only the pool's settings are used, not its connections."""
    settings: Mapping[str, Any] = pool.connection_kwargs
    if "path" in settings:
        where = f"unix://{settings['path']}"
    else:
        place = f"{host_of(settings)}:{settings.get('port', 6379)}/{settings.get('db') or 0}"
        where = f"{_scheme(pool.connection_class)}://{place}"
    return Way(where, [settings], partial(_open_named, settings, partial(open_server, pool)))


def way_to_node(host: str, port: int, settings: Mapping[str, Any]) -> Way:
    """The way to a server of a cluster.

    Args:
        host: host of the server, as in the map of the cluster.
        port: its port.
        settings: arguments of connections to any server of the cluster.
    """
    where = f"{_scheme(settings['connection_class'])}://{host}:{port}"
    opening = partial(open_node, host, port, settings)
    return Way(where, [settings], partial(_open_named, {**settings, "host": host}, opening))


def way_by_sentinels(pool: Any) -> Way:
    """The way to the primary of a service; sentinels are asked for it each time.

    Args:
        pool: the pool of a client that the driver's ``master_for`` has made.
    """
    sentinels = sentinel_settings(pool)
    hosts = ",".join(f"{host_of(each)}:{each.get('port', 26379)}" for each in sentinels)
    where = f"{_scheme(pool.connection_class)}+sentinel://{hosts}/{pool.service_name}"

    opening = partial(open_by_sentinels, pool)
    names = list(map(host_of, sentinels))
    return Way(where, [pool.connection_kwargs, *sentinels], partial(once_named, names, pool.connection_kwargs, opening))


async def once_named(
    hosts: Iterable[str], settings: Mapping[str, Any], opening: Callable[[Collection[str]], Coroutine[Any, Any, T]]
) -> T:
    """The result of *opening* to those of *hosts* whose names can be looked up in the time that connecting may take.

    Raises:
        TimeoutError: no name can.
    """
    wanted = set(hosts)
    found = await looked_up(wanted, settings.get("socket_connect_timeout"))
    if wanted and not found:
        raise TimeoutError(f"no name server has answered for {', '.join(sorted(wanted))}")
    with attempt(found):
        return await opening(found)


async def _open_named(settings: Mapping[str, Any], opening: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """As `once_named`, for the host in *settings*, if there is one."""
    if "path" in settings:
        return await opening()
    return await once_named([host_of(settings)], settings, lambda _: opening())


def secrets_in(*settings: Mapping[str, Any]) -> Collection[str] | None:
    """The credentials in *settings* of connections; None if only a credential provider knows them."""
    if any(each.get("credential_provider") is not None for each in settings):
        return None
    return [value for each in settings for name in _SECRET if isinstance(value := each.get(name), str)]


def _scheme(kind: type) -> str:
    return "rediss" if is_tls(kind) else "redis"
