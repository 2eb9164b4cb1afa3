"""What this package takes of redis-py and hiredis beyond the documented client, in one place; a test guards each part.

redis-py opens, encrypts and authenticates a connection, by its own options and credentials, and finds the server where
sentinels know it. It lends a connection to one task at a time, so what is under way for a thousand tasks needs a
thousand of them. Here one connection serves them all, so its stream is taken over when it is open. For the stream there
is no public name: `TOUCHED` names the two attributes that hold it. Without them a connection is used by its public
methods, which is slower (`backends.redis.connections.driven`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from aiohttp_cache_di.errors import MissingDependencyError

__all__ = [
    "SLOTS",
    "TOUCHED",
    "ClusterMap",
    "SentinelConnections",
    "driver",
    "error_named",
    "insisted",
    "introduction",
    "is_tls",
    "new_connection",
    "new_reader",
    "no_retry",
    "node_connection",
    "push_type",
    "read_cluster",
    "slot_function",
    "take_stream",
]

SLOTS: Final = 16384
"""Into how many parts a Redis Cluster divides all names."""

TOUCHED: Final = ("_reader", "_writer")
"""Attributes of redis-py's connections without a public name: the two ends of its stream."""

_AHEAD_BYTES: Final = 1 << 20
CLOSED_WITHIN_S: Final = 1.0
"""What closing may take once it is not waited for any more: TLS waits for the other side, which may be frozen."""


def driver() -> Any:
    """The module ``redis.asyncio``.

    Raises:
        MissingDependencyError: redis or hiredis is not installed.
    """
    try:
        module = importlib.import_module("redis.asyncio")
        push_type()
    except ImportError as exc:
        raise MissingDependencyError(
            "RedisBackend needs redis and hiredis (3.2 or later): pip install 'aiohttp-cache-di[redis]'"
        ) from exc
    return module


def introduction() -> dict[str, Any]:
    """The argument by which a client introduces itself to the server.

    Without it redis-py 8 looks its version up in its files whenever a client is made, perhaps in a running loop.
    """
    package: Any = importlib.import_module("redis")
    make = getattr(package, "DriverInfo", None)
    return {} if make is None else {"driver_info": make(lib_version=package.__version__)}


def push_type() -> type[list[Any]]:
    """The type by which hiredis tells a message that came unasked (RESP3) from an array."""
    hiredis = importlib.import_module("hiredis")
    found: type[list[Any]] | None = getattr(hiredis, "PushNotification", None)
    if found is None:
        raise ImportError("hiredis cannot tell a push from a reply", name="hiredis")
    return found


def new_reader(
    protocol_error: Callable[[str], Exception], reply_error: Callable[[str], object], nothing: object
) -> tuple[Callable[[bytes], None], Callable[[], Any]]:
    """Make a parser of the Redis protocol.

    Args:
        protocol_error: makes what is raised when the bytes are not the protocol.
        reply_error: makes what stands for an error reply.
        nothing: what is returned while no reply is complete.

    Returns:
        What takes bytes, and what returns the next reply.
    """
    hiredis: Any = importlib.import_module("hiredis")
    reader = hiredis.Reader(protocolError=protocol_error, replyError=reply_error, notEnoughData=nothing)
    return reader.feed, reader.gets


def error_named(name: str) -> type[Exception]:
    """One of redis-py's exceptions."""
    found: type[Exception] = getattr(importlib.import_module("redis.exceptions"), name)
    return found


def no_retry() -> Any:
    """How often the driver tries again what has failed: the engine decides when a store is asked again."""
    retry: Any = importlib.import_module("redis.asyncio.retry").Retry
    no_backoff: Any = importlib.import_module("redis.backoff").NoBackoff
    return retry(no_backoff(), 0)


def slot_function() -> Callable[[bytes], int]:
    """Tells the slot of a name."""
    found: Callable[[bytes], int] = importlib.import_module("redis.crc").key_slot
    return found


def is_tls(kind: type) -> bool:
    """Whether connections of the class *kind* are TLS."""
    return issubclass(kind, driver().SSLConnection)


async def new_connection(pool: Any) -> Any:
    """A connection of *pool*'s settings that is not open yet.

    redis-py reads files for it: certificates for TLS, and its own metadata where the client was made without
    `introduction`. That is done in a thread.
    """
    return await _made(pool.make_connection, getattr(pool, "connection_class", object), pool.connection_kwargs)


async def node_connection(host: str, port: int, settings: Mapping[str, Any]) -> Any:
    """As `new_connection`, to a server of a cluster; *settings* are those of `ClusterMap`."""
    arguments: dict[str, Any] = {**settings, "host": host, "port": port, "retry": no_retry()}
    kind: type = arguments.pop("connection_class")
    return await _made(lambda: kind(**arguments), kind, arguments)


async def _made(make: Callable[[], Any], kind: type, settings: Mapping[str, Any]) -> Any:
    if not is_tls(kind) and settings.keys() & {"driver_info", "lib_version"}:
        return make()
    return await asyncio.to_thread(_made_aside, make)


def _made_aside(make: Callable[[], Any]) -> Any:
    connection: Any = make()
    context = getattr(connection, "ssl_context", None)
    if context is not None:
        with contextlib.suppress(Exception):  # what is wrong with the certificates is told when it connects
            context.get()
    return connection


class ClusterMap(NamedTuple):
    """What redis-py has found out about a cluster.

    Args:
        primaries: host and port of the server that has each of the `SLOTS`; None where none has it.
        servers: host and port of all servers, replicas too.
        settings: of connections to any of them.
    """

    primaries: Sequence[tuple[str, int] | None]
    servers: Sequence[tuple[str, int]]
    settings: Mapping[str, Any]


async def read_cluster(servers: Sequence[tuple[str, int]], arguments: Mapping[str, Any]) -> ClusterMap:
    """Have redis-py find out the state of a cluster from one of *servers*; nothing stays open.

    A client is made for it each time: one that is kept forgets the servers that it was given when they fail, belongs
    to one event loop, and holds connections.

    Args:
        arguments: of ``redis.asyncio.RedisCluster``.
    """
    client = await asyncio.to_thread(_cluster_client, servers, arguments)  # which may look a name up
    manager = client.nodes_manager
    try:
        await manager.initialize()
        found = manager.slots_cache
        slots = [found.get(slot) for slot in range(SLOTS)]
        names = {id(nodes): (str(nodes[0].host), int(nodes[0].port)) for nodes in found.values() if nodes}
        servers = [(str(node.host), int(node.port)) for node in client.get_nodes()]
        settings = {name: value for name, value in client.connection_kwargs.items() if name not in _OF_NODES}
        return ClusterMap([names.get(id(nodes)) for nodes in slots], servers, settings)
    finally:
        await insisted(_closed(manager))


_OF_NODES: Final = frozenset({"max_connections", "response_callbacks"})
"""Settings that redis-py's nodes keep for themselves."""


def _cluster_client(servers: Sequence[tuple[str, int]], arguments: Mapping[str, Any]) -> Any:
    node: Any = importlib.import_module("redis.asyncio.cluster").ClusterNode
    return driver().RedisCluster(
        # In no order, so that one which hangs is not the first that each process asks.
        startup_nodes=[node(host, port) for host, port in random.sample(servers, len(servers))],
        **{"require_full_coverage": False, **arguments, "retry": no_retry()},
    )


async def insisted(closing: Coroutine[Any, Any, None]) -> None:
    """Await *closing* to its end; one who is cancelled meanwhile is so afterwards.

    The driver closes connections one after the other and gives each a moment: what is left in the middle stays open.
    """
    task = asyncio.ensure_future(closing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task], timeout=None if cancelled is None else CLOSED_WITHIN_S)
        except asyncio.CancelledError as exc:
            cancelled = exc
        else:
            task.cancel()  # which is of no effect unless it has taken too long
    if cancelled is not None:
        raise cancelled
    task.result()


async def _closed(manager: Any) -> None:
    for nodes in ("nodes_cache", "startup_nodes"):
        await manager.aclose(nodes)


class SentinelConnections:
    """Connections to the primary of a service, each found by asking sentinels anew.

    The clients that ask are made for each connection: redis-py's own belong to one event loop.

    Args:
        pool: of a client that ``Sentinel.master_for`` has made.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @property
    def service(self) -> str:
        """Its name."""
        return str(self._pool.service_name)

    @property
    def sentinels(self) -> list[tuple[str, int]]:
        """Host and port of each."""
        return [(str(each.get("host", "localhost")), int(each.get("port", 26379))) for each in self.settings[1:]]

    @property
    def is_tls(self) -> bool:
        """Whether connections to the primary are TLS."""
        return is_tls(self._pool.connection_class)

    @property
    def settings(self) -> list[Mapping[str, Any]]:
        """Of connections to the primary, and to each sentinel."""
        return [
            self._pool.connection_kwargs,
            *(each.connection_pool.connection_kwargs for each in self._pool.sentinel_manager.sentinels),
        ]

    async def new(self) -> tuple[Any, Callable[[], Coroutine[Any, Any, None]]]:
        """A connection that is not open yet, and what is to be called when it is open or cannot be."""
        pool = await asyncio.to_thread(self._fresh)  # redis-py reads files for it
        connection = await new_connection(pool)
        connection.kept_pool = pool  # of which the connection itself has a weak reference

        async def close() -> None:
            await asyncio.gather(*(each.connection_pool.disconnect() for each in pool.sentinel_manager.sentinels))

        return connection, close

    def _fresh(self) -> Any:
        pool: Any = self._pool
        manager = copy.copy(pool.sentinel_manager)
        manager.sentinels = [_fresh_client(each) for each in manager.sentinels]
        settings = {**pool.connection_kwargs, "retry": no_retry()}
        settings.pop("connection_pool", None)
        return type(pool)(
            pool.service_name,
            manager,
            connection_class=pool.connection_class,
            check_connection=pool.check_connection,
            **settings,
        )


def _fresh_client(client: Any) -> Any:
    pool = client.connection_pool
    return driver().Redis(
        connection_pool=driver().ConnectionPool(
            connection_class=pool.connection_class, **{**pool.connection_kwargs, "retry": no_retry()}
        )
    )


def take_stream(connection: Any) -> tuple[asyncio.StreamWriter, bytes] | None:
    """Take the stream of an open connection, and what it has received and not used; None when there is none to take.

    The connection is of no further use then, and neither closes the stream nor complains of it.
    """
    reader, writer = (getattr(connection, name, None) for name in TOUCHED)
    if not isinstance(reader, asyncio.StreamReader) or not hasattr(getattr(writer, "transport", None), "set_protocol"):
        return None
    ahead = _at_hand(reader)
    for name in TOUCHED:
        setattr(connection, name, None)
    return cast(asyncio.StreamWriter, writer), ahead


def _at_hand(reader: asyncio.StreamReader) -> bytes:
    """What *reader* has received already, without giving the loop a chance to receive more."""
    found: list[bytes] = []
    while True:
        step: Coroutine[Any, Any, bytes] = reader.read(_AHEAD_BYTES)
        try:
            step.send(None)
        except StopIteration as done:
            data: bytes = done.value
            if not data:  # the end of the stream
                return b"".join(found)
            found.append(data)
        else:  # it would wait
            step.close()
            return b"".join(found)
