"""All uses of redis-py and hiredis beyond their documented API; a test guards each of them.

redis-py opens, encrypts and authenticates a connection, by its own options and credentials, and asks sentinels for the
server. Its pools lend a connection to one task at a time, so a thousand concurrent tasks need a thousand connections.
Here one connection serves them all, so its stream is taken over once it is open. The stream has no public name:
`TOUCHED` has the two attributes that refer to it. Without them a connection is used by its public methods, which is
slower (`backends.redis.connections.driven`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from aiohttp_cache_di.errors import MissingDependencyError

__all__ = [
    "SLOTS",
    "TOUCHED",
    "ClusterMap",
    "driver",
    "error_named",
    "host_of",
    "introduction",
    "is_tls",
    "new_reader",
    "no_retry",
    "open_by_sentinels",
    "open_node",
    "open_server",
    "push_type",
    "read_cluster",
    "sentinel_settings",
    "slot_function",
    "take_stream",
]

SLOTS: Final = 16384
"""The number of slots, into which a Redis Cluster divides all names."""

TOUCHED: Final = ("_reader", "_writer")
"""Attributes of redis-py's connections without a public name: the two ends of its stream."""

_AHEAD_BYTES: Final = 1 << 20
CLOSED_WITHIN_S: Final = 1.0
"""How long closing may take once its caller is cancelled: TLS waits for the other side, which may be frozen."""


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
    """The arguments by which a client tells the server its name and version.

    Without them redis-py 8 reads its version from files whenever a client is made, perhaps in a running loop.
    """
    package: Any = importlib.import_module("redis")
    make = getattr(package, "DriverInfo", None)
    return {} if make is None else {"driver_info": make(lib_version=package.__version__)}


def push_type() -> type[list[Any]]:
    """The type that hiredis uses for pushes (RESP3), in place of that for arrays."""
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
        protocol_error: makes the exception for bytes that are not the protocol.
        reply_error: makes the value for an error reply.
        nothing: the value that is returned while no reply is complete.

    Returns:
        A function that takes bytes, and one that returns the next reply.
    """
    hiredis: Any = importlib.import_module("hiredis")
    reader = hiredis.Reader(protocolError=protocol_error, replyError=reply_error, notEnoughData=nothing)
    return reader.feed, reader.gets


def error_named(name: str) -> type[Exception]:
    """The exception class of redis-py with that *name*."""
    found: type[Exception] = getattr(importlib.import_module("redis.exceptions"), name)
    return found


def no_retry() -> Any:
    """The driver's setting never to repeat a failed command: the engine decides when a store is used again."""
    retry: Any = importlib.import_module("redis.asyncio.retry").Retry
    no_backoff: Any = importlib.import_module("redis.backoff").NoBackoff
    return retry(no_backoff(), 0)


def slot_function() -> Callable[[bytes], int]:
    """The function that returns the slot of a name."""
    found: Callable[[bytes], int] = importlib.import_module("redis.crc").key_slot
    return found


def is_tls(kind: type) -> bool:
    """Whether connections of the class *kind* are TLS."""
    return issubclass(kind, driver().SSLConnection)


async def open_server(pool: Any) -> Any:
    """Open a connection by *pool*'s settings.

    redis-py may read files for it: certificates for TLS, and its own metadata if the client was made without
    `introduction`. That is done in a thread.

    Raises:
        Exception: any error of the driver, as in the functions below; nothing stays open.
    """
    return await _opened(await _made(pool.make_connection, pool.connection_class, pool.connection_kwargs))


async def open_node(host: str, port: int, settings: Mapping[str, Any]) -> Any:
    """As `open_server`, to a server of a cluster; *settings* are those of `ClusterMap`."""
    arguments: dict[str, Any] = {**settings, "host": host, "port": port, "retry": no_retry()}
    kind: type = arguments.pop("connection_class")
    return await _opened(await _made(lambda: kind(**arguments), kind, arguments))


async def open_by_sentinels(pool: Any, hosts: Collection[str]) -> Any:
    """As `open_server`, to the primary of a service, after asking sentinels for it.

    The clients that ask the sentinels are made for each connection, since redis-py's own belong to one event loop.

    Args:
        pool: the pool of a client that ``Sentinel.master_for`` has made.
        hosts: the hosts of sentinels that are asked; others are not.

    Raises:
        MasterNotFoundError: no sentinel knows the primary; the message says of each that was not reached why.
    """
    fresh = await asyncio.to_thread(_copy_of_pool, pool, hosts)  # in a thread, since redis-py reads files for it
    connection = await _made(fresh.make_connection, fresh.connection_class, fresh.connection_kwargs)
    connection.kept_pool = fresh  # kept alive: the connection itself has only a weak reference

    pools = [each.connection_pool for each in fresh.sentinel_manager.sentinels]
    if pools and is_tls(pools[0].connection_class):
        asking = [each.get_available_connection() for each in pools]
        await asyncio.to_thread(_read_certificates, asking)
        for each, its in zip(pools, asking, strict=True):
            await each.release(its)

    async def close() -> None:
        await asyncio.gather(*(each.disconnect() for each in pools))

    try:
        return await _opened(connection, close)
    except error_named("ConnectionError") as exc:  # its MasterNotFoundError
        exc.args = (_with_addresses(str(exc), fresh.sentinel_manager.sentinels),)
        raise


def _with_addresses(message: str, sentinels: Sequence[Any]) -> str:
    """The *message* with addresses of *sentinels* in place of all their settings, which hide what happened."""
    for each in sentinels:
        its: Mapping[str, Any] = each.connection_pool.connection_kwargs
        message = message.replace(str(each), f"{host_of(its)}:{its.get('port', 26379)}")
    return message


def host_of(settings: Mapping[str, Any]) -> str:
    """The host that a connection with *settings* is made to."""
    return str(settings.get("host") or "localhost")


def sentinel_settings(pool: Any) -> list[Mapping[str, Any]]:
    """The settings of connections to each sentinel that *pool* asks; see `open_by_sentinels`."""
    return [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]


async def _opened(connection: Any, finish: Callable[[], Coroutine[Any, Any, None]] | None = None) -> Any:
    """Open *connection*, and then close by *finish* what was needed for that.

    If the caller is cancelled, even while *finish* runs, nothing stays open.
    """
    try:
        try:
            await connection.connect()
        finally:
            if finish is not None:
                await _awaited_to_the_end(finish())
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


async def _made(make: Callable[[], Any], kind: type, settings: Mapping[str, Any]) -> Any:
    if not is_tls(kind) and settings.keys() & {"driver_info", "lib_version"}:
        return make()
    return await asyncio.to_thread(_made_in_thread, make)


def _made_in_thread(make: Callable[[], Any]) -> Any:
    connection: Any = make()
    _read_certificates([connection])
    return connection


def _read_certificates(connections: Iterable[Any]) -> None:
    """Read the certificates for TLS, those of the system too, once for *connections*, which have the same settings.

    redis-py would do so for each in the event loop, where it takes some 50 ms. Call it in a thread.
    """
    shared: Any = None
    for connection in connections:
        context = getattr(connection, "ssl_context", None)
        if context is None:
            return
        if shared is None:
            shared = context
            with contextlib.suppress(Exception):  # errors in the certificates are raised again when it connects
                shared.get()
        connection.ssl_context = shared


class ClusterMap(NamedTuple):
    """The state of a cluster, as read by redis-py.

    Args:
        primaries: host and port of the server that has each of the `SLOTS`; None if none has it.
        servers: host and port of all servers, including replicas.
        settings: arguments of connections to any of them.
    """

    primaries: Sequence[tuple[str, int] | None]
    servers: Sequence[tuple[str, int]]
    settings: Mapping[str, Any]


async def read_cluster(servers: Sequence[tuple[str, int]], arguments: Mapping[str, Any]) -> ClusterMap:
    """Read the state of a cluster from one of *servers*, by redis-py; nothing stays open.

    A new client is made each time: a client that is kept forgets servers that fail, belongs to one event loop, and
    holds connections.

    Args:
        servers: host and port of servers to ask.
        arguments: arguments of ``redis.asyncio.RedisCluster``.
    """
    client = await asyncio.to_thread(_cluster_client, servers, arguments)  # in a thread: it may resolve host names
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
        await _awaited_to_the_end(_closed(manager))


_OF_NODES: Final = frozenset({"max_connections", "response_callbacks"})
"""Settings of redis-py's nodes that are not arguments of connections."""


def _cluster_client(servers: Sequence[tuple[str, int]], arguments: Mapping[str, Any]) -> Any:
    node: Any = importlib.import_module("redis.asyncio.cluster").ClusterNode
    client = driver().RedisCluster(
        # In random order, so that processes do not all begin with the same server, which may hang.
        startup_nodes=[node(host, port) for host, port in random.sample(servers, len(servers))],
        **{"require_full_coverage": False, **arguments, "retry": no_retry()},
    )
    if hasattr(node, "release"):  # redis-py 5.2 has none
        nodes = list(client.nodes_manager.startup_nodes.values())
        connections = [each.acquire_connection() for each in nodes]
        _read_certificates(connections)
        for each, its in zip(nodes, connections, strict=True):
            each.release(its)
    return client


async def _awaited_to_the_end(closing: Coroutine[Any, Any, None]) -> None:
    """Await *closing* to its end even if the caller is cancelled, which is raised afterwards; ignore its errors.

    The driver closes connections one after the other: if that were cancelled, the remaining ones would stay open.
    """
    task = asyncio.ensure_future(closing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task], timeout=None if cancelled is None else CLOSED_WITHIN_S)
        except asyncio.CancelledError as exc:
            cancelled = exc
        else:
            task.cancel()  # has no effect unless the timeout has passed
    if not task.cancelled():
        task.exception()
    if cancelled is not None:
        raise cancelled


async def _closed(manager: Any) -> None:
    for nodes in ("nodes_cache", "startup_nodes"):
        with contextlib.suppress(Exception):  # such as TLS errors of a connection that is already closed
            await manager.aclose(nodes)


def _copy_of_pool(pool: Any, hosts: Collection[str]) -> Any:
    """A copy of *pool* with new clients to ask the sentinels on *hosts*."""
    manager = copy.copy(pool.sentinel_manager)
    settings_of = sentinel_settings(pool)
    manager.sentinels = [
        _copy_of_client(each) for each, its in zip(manager.sentinels, settings_of, strict=True) if host_of(its) in hosts
    ]
    settings = {**pool.connection_kwargs, "retry": no_retry()}
    settings.pop("connection_pool", None)
    return type(pool)(
        pool.service_name,
        manager,
        connection_class=pool.connection_class,
        check_connection=pool.check_connection,
        **settings,
    )


def _copy_of_client(client: Any) -> Any:
    pool = client.connection_pool
    return driver().Redis(
        connection_pool=driver().ConnectionPool(
            connection_class=pool.connection_class, **{**pool.connection_kwargs, "retry": no_retry()}
        )
    )


def take_stream(connection: Any) -> tuple[asyncio.StreamWriter, bytes] | None:
    """Take the stream of an open connection, with the bytes that it has received but not used; None if there is none.

    After that the connection cannot be used any more; it neither closes the stream nor warns that it is open.
    """
    reader, writer = (getattr(connection, name, None) for name in TOUCHED)
    if not isinstance(reader, asyncio.StreamReader) or not hasattr(getattr(writer, "transport", None), "set_protocol"):
        return None
    ahead = _received(reader)
    for name in TOUCHED:
        setattr(connection, name, None)
    return cast(asyncio.StreamWriter, writer), ahead


def _received(reader: asyncio.StreamReader) -> bytes:
    """The bytes that *reader* has received already, without letting the loop receive more."""
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
