"""Making the topology of a store from an address and options, or from a client of redis-py."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp_cache_di._redis import driver, introduction, is_tls, no_retry
from aiohttp_cache_di.addresses import hosts_of, mask_redis_address, refuse_odd_redis_address
from aiohttp_cache_di.backends.redis.servers.cluster import Cluster, Known
from aiohttp_cache_di.backends.redis.servers.topology import SingleServer, Topology
from aiohttp_cache_di.backends.redis.servers.ways import way_by_sentinels, way_to_server
from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["driver_options", "topology_at", "topology_of"]

CONNECT_TIMEOUT_S = 1.0  # a server that takes longer to connect is slower than most origins
SOCKET_TIMEOUT_S = 1.0
SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
NOT_OPTIONS: Final = frozenset(
    {
        "self",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "single_connection_client",
        # All records are read from and written to primaries.
        "read_from_replicas",
        "load_balancing_strategy",
        # For redis-py's own commands, which are not used.
        "cluster_error_retry_attempts",
        "connection_error_retry_attempts",
        "reinitialize_steps",
        "startup_nodes",
        "path",
    }
)
OF_SENTINEL: Final = frozenset({"service_name", "sentinel_kwargs", "min_other_sentinels"})
IN_ADDRESS: Final = {"sentinel_username": "username", "sentinel_password": "password"}
"""Options in an address that are for connections to the sentinels themselves."""


class _Address(NamedTuple):
    """A parsed address.

    Args:
        kind: "cluster", "sentinel", or "" for one server.
        hosts: hosts and ports of servers of a cluster, or of sentinels.
        service: the name of the service that sentinels are asked for.
        sentinel: credentials for the sentinels.
        options: options of connections to the server.
    """

    kind: str
    hosts: str
    service: str
    sentinel: dict[str, Any]
    options: dict[str, Any]


def driver_options() -> frozenset[str]:
    """The names of the driver's options that are accepted here, for one server or several."""
    return _options_of("Redis") | _options_of("RedisCluster") | OF_SENTINEL


def topology_at(address: str, options: Mapping[str, Any]) -> Topology:
    """The topology at *address*; *options* of the driver override those in the address.

    Raises:
        ConfigurationError: the address or an option cannot be used.
    """
    read = _read(address)
    arguments: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "protocol": 2,
        **({} if (read.options.keys() | options.keys()) & {"lib_name", "lib_version"} else introduction()),
        "retry": no_retry(),
        **read.options,
        **options,
    }
    _refuse_of_others(read.kind, mask_redis_address(address), arguments)
    if read.kind == "cluster":
        arguments.pop("db", None)
        return Cluster(Known(hosts_of(read.hosts, REDIS_PORT), arguments))
    if read.kind == "sentinel":
        return _of_sentinels(read, arguments)
    return SingleServer(way_to_server(driver().Redis(**arguments).connection_pool))


def topology_of(client: Any, options: Mapping[str, Any]) -> Topology:
    """The topology that *client* is for; its settings are used, and it is never closed.

    Raises:
        ConfigurationError: it is not an asyncio client of redis-py, or it is for replicas.
    """
    service: str | None = options.get("service_name")
    if isinstance(client, driver().RedisCluster):
        return Cluster(_known_of(client))
    if isinstance(client, driver().Sentinel):
        if service is None:
            raise ConfigurationError(
                "connection is a Sentinel, which knows of many servers: say service_name='…', "
                "or give what its master_for('…') makes"
            )
        client = client.master_for(service)
    pool: Any = getattr(client, "connection_pool", None)
    kind = getattr(pool, "connection_class", None)
    if not hasattr(pool, "make_connection") or not inspect.iscoroutinefunction(getattr(kind, "connect", None)):
        name = f"{type(client).__module__}.{type(client).__qualname__}"
        hint = "; an address is given as address=" if isinstance(client, str) else ""
        kinds = "redis.asyncio.Redis, RedisCluster or Sentinel"
        raise ConfigurationError(f"connection has to be a {kinds}, not a {name}{hint}")
    if not isinstance(pool, _sentinel_pool()):
        return SingleServer(way_to_server(pool))
    if not pool.is_master:
        raise ConfigurationError("connection is to replicas, which take no writes: give what master_for() makes")
    return SingleServer(way_by_sentinels(pool))


def _known_of(client: Any) -> Known:
    """The settings of a user's client of a cluster, and the servers that it was given."""
    manager = client.nodes_manager
    settings: dict[str, Any] = dict(client.connection_kwargs)
    known = _options_of("RedisCluster")
    arguments = {name: value for name, value in settings.items() if name in known}
    if is_tls(settings["connection_class"]):
        arguments["ssl"] = True
    if manager.address_remap is not None:
        arguments["address_remap"] = manager.address_remap
    return Known([(node.host, int(node.port)) for node in manager.startup_nodes.values()], arguments)


def _options_of(name: str) -> frozenset[str]:
    made: Any = getattr(driver(), name)
    return frozenset(inspect.signature(made.__init__).parameters) - NOT_OPTIONS


def _sentinel_pool() -> Any:
    return importlib.import_module("redis.asyncio.sentinel").SentinelConnectionPool


def _of_sentinels(read: _Address, arguments: dict[str, Any]) -> Topology:
    service = arguments.pop("service_name", read.service)
    asking = {
        name: value for name, value in arguments.items() if name.startswith(("socket_", "ssl", "driver_", "lib_"))
    }
    asking |= {"protocol": 2, "retry": no_retry(), **read.sentinel, **arguments.pop("sentinel_kwargs", {})}
    manager = driver().Sentinel(
        hosts_of(read.hosts, SENTINEL_PORT),
        min_other_sentinels=arguments.pop("min_other_sentinels", 0),
        sentinel_kwargs=asking,
    )
    return SingleServer(way_by_sentinels(manager.master_for(service, **arguments).connection_pool))


def _read(address: str) -> _Address:
    """Parse *address*; no error message repeats its password."""
    if not isinstance(address, str):
        raise ConfigurationError(f"address= takes the URL of a Redis server as text, not {type(address).__name__}")
    shown = mask_redis_address(address)
    try:
        refuse_odd_redis_address(address)
    except ValueError as exc:
        raise ConfigurationError(f"the address of the Redis server cannot be read: {shown}: {exc}") from None
    scheme, _, rest = address.partition("://")
    scheme, _, kind = scheme.lower().partition("+")
    before_query, question, query = rest.partition("?")
    authority, _, path = before_query.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
    plain = address if not kind else f"{scheme}://{userinfo}{at}{hosts.partition(',')[0]}/{path}{question}{query}"
    options = _parsed(plain, shown)
    sentinel: dict[str, Any] = {}
    if kind:
        options.pop("host", None)
        options.pop("port", None)
    if kind == "sentinel":
        sentinel = {to: options.pop(name) for name, to in IN_ADDRESS.items() if name in options}
    if unknown := options.keys() - _options_of("RedisCluster" if kind == "cluster" else "Redis"):
        names = ", ".join(sorted(unknown))
        raise ConfigurationError(f"the address of the Redis server ({shown}) has options that do not exist: {names}")
    return _Address(kind, hosts, service, sentinel, options)


def _parsed(address: str, shown: str) -> dict[str, Any]:
    asyncio_connection: Any = importlib.import_module("redis.asyncio.connection")
    try:
        parts: dict[str, Any] = dict(asyncio_connection.parse_url(address))
    except ValueError as exc:
        secure = str(exc) if "Invalid value for" in str(exc) or "following schemes" in str(exc) else ""
        hint = secure or "it should look like redis://user:password@host:6379/0, with special characters %-encoded"
        raise ConfigurationError(f"the address of the Redis server cannot be read: {shown}: {hint}") from None
    if parts.pop("connection_class", None) is asyncio_connection.SSLConnection:
        parts["ssl"] = True
    if "path" in parts:
        parts["unix_socket_path"] = parts.pop("path")
    return parts


def _refuse_of_others(kind: str, shown: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that only another kind of address can use."""
    if kind == "cluster" and arguments.get("db"):
        raise ConfigurationError(f"{shown}: a Redis Cluster has no database but 0, so leave db={arguments['db']!r} out")
    of_sentinel: frozenset[str] = OF_SENTINEL if kind == "sentinel" else frozenset()
    allowed = _options_of("RedisCluster" if kind == "cluster" else "Redis") | of_sentinel
    if unknown := arguments.keys() - allowed:
        names = ", ".join(sorted(unknown))
        raise ConfigurationError(f"{shown}: {names} cannot be used with this kind of address")
