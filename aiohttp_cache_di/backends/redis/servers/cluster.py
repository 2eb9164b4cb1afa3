"""A Redis Cluster: the map of slots to servers, and what happens when it changes.

redis-py reads the state of the cluster (`aiohttp_cache_di._redis.read_cluster`). The result is a map, which all event
loops share. It is read again

- before a connection is opened, unless it was read a moment ago: the lost connection may have been to a dead server,
  whose replica is the primary now;
- when a server replies that it does not have a name (MOVED), or that the cluster is down;
- before a walk over all names.

So the cluster is not polled while all is well, and while a server is gone each attempt to use it reads the map. A
command that was sent to the wrong server is redirected to the right one without its caller noticing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final

from msgspec.structs import replace

from aiohttp_cache_di._redis import SLOTS, ClusterMap, read_cluster, slot_function
from aiohttp_cache_di.backends.calls import SharedTask, end
from aiohttp_cache_di.backends.loops import LoopLocal
from aiohttp_cache_di.backends.redis.connections.connection import Connection, Sent
from aiohttp_cache_di.backends.redis.connections.wire import ServerError, command
from aiohttp_cache_di.backends.redis.servers.endpoints import Endpoint
from aiohttp_cache_di.backends.redis.servers.topology import Part
from aiohttp_cache_di.backends.redis.servers.ways import once_named, secrets_in, way_to_node
from aiohttp_cache_di.backends.tasks import background
from aiohttp_cache_di.errors import StorageError

__all__ = ["Cluster", "Known"]

FRESH_S: Final = 0.25  # how long the map is not read again although a connection is missing
MAX_HOPS: Final = 5  # redirections of a command; the specification says 16, for clients that do not read the map
ASKING: Final = command(b"ASKING")
_DOUBTFUL: Final = frozenset({"CLUSTERDOWN", "MASTERDOWN", "READONLY", "LOADING"})
_REDIRECTION: Final = re.compile(r"(?:MOVED|ASK) (\d+) (\S*):(\d+)")

Address = tuple[str, int]


class Known:
    """The user's settings of a cluster.

    Args:
        servers: some of its servers, of which one has to answer.
        arguments: arguments of ``redis.asyncio.RedisCluster``.
    """

    def __init__(self, servers: Sequence[Address], arguments: Mapping[str, Any]) -> None:
        self.servers: tuple[Address, ...] = tuple(servers)
        self.arguments = arguments

    @property
    def where(self) -> str:
        """The servers, without user and password."""
        scheme = "rediss" if self.arguments.get("ssl") else "redis"
        return f"{scheme}+cluster://" + ",".join(f"{host}:{port}" for host, port in self.servers)

    def reached_at(self, host: str, port: int) -> Address:
        """The address to connect to for a server that the cluster announces as *host* and *port*."""
        remap: Callable[[Address], Address] | None = self.arguments.get("address_remap")
        return (host, port) if remap is None else remap((host, port))


class Cluster:
    """The servers of a cluster, as a `Topology`.

    Args:
        known: the user's settings.
    """

    by_slot = True

    def __init__(self, known: Known) -> None:
        self.known = known
        self._slot_of = slot_function()
        self._slots: list[Endpoint | None] = [None] * SLOTS
        self._endpoints: dict[Address, Endpoint] = {}
        self._fresh_until = 0.0
        self._shift = 0
        self._reading_map: SharedTask[None] = SharedTask(known.where)
        self._redirecting: set[asyncio.Task[None]] = set()
        self._prepare: Callable[[Connection], None] | None = None
        self._listeners = LoopLocal(list[Callable[[], None]])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"

    @property
    def where(self) -> str:
        """The servers that the user has named, without user and password."""
        return self.known.where

    @property
    def secrets(self) -> Collection[str] | None:
        """The password and other credentials."""
        return secrets_in(self.known.arguments)

    # ---- connections

    async def connection(self, name: bytes) -> Connection:
        """The running loop's connection to the server that has *name*, opened if necessary."""
        return self._connection_now(name) or await self._opened_connection(name)

    def _connection_now(self, name: bytes) -> Connection | None:
        endpoint = self._slots[self._slot_of(name)]
        return None if endpoint is None else endpoint.connection_now()

    async def _opened_connection(self, name: bytes) -> Connection:
        """A connection that is opened after reading the map: the lost one may have been to a dead server."""
        slot = self._slot_of(name)
        doubted = self._slots[slot]
        try:
            await self._refresh_map(doubted=doubted)
        except StorageError:
            if doubted is None:
                raise
        endpoint = self._slots[slot]
        if endpoint is None:
            raise self._uncovered(slot)
        return await endpoint.connection()

    async def parts(self, names: Sequence[bytes]) -> Sequence[Part]:
        """*names* by the server that has them; a server that cannot be reached does not affect the others."""
        places: dict[Connection, list[int]] = {}
        missing: list[int] = []
        for index, name in enumerate(names):
            connection = self._connection_now(name)
            if connection is None:
                missing.append(index)
            else:
                places.setdefault(connection, []).append(index)
        if not missing:
            return [Part(connection, indexes) for connection, indexes in places.items()]
        opened = await asyncio.gather(
            *(self._opened_connection(names[index]) for index in missing), return_exceptions=True
        )
        failed: list[Part] = []
        for index, found in zip(missing, opened, strict=True):
            if isinstance(found, StorageError):
                failed.append(Part(found, [index]))
            elif isinstance(found, BaseException):
                raise found
            else:
                places.setdefault(found, []).append(index)
        return [*(Part(connection, indexes) for connection, indexes in places.items()), *failed]

    async def endpoints(self) -> Sequence[Endpoint]:
        """All primaries that have slots, after reading the map."""
        await self._refresh_map(now=True)
        return [endpoint for endpoint in dict.fromkeys(self._slots) if endpoint is not None]

    def shift(self) -> int:
        """A number that grows when slots change their server."""
        return self._shift

    def on_open(self, prepare: Callable[[Connection], None]) -> None:
        """Call *prepare* with each connection of the running loop, and each that is opened, before it is used."""
        self._prepare = prepare
        for endpoint in list(self._endpoints.values()):
            connection = endpoint.connection_now()
            if connection is not None:
                prepare(connection)

    def on_shift(self, listener: Callable[[], None]) -> None:
        """Call *listener* in the running loop when slots have changed their server."""
        self._listeners.here().append(listener)

    async def close(self) -> None:
        """Close the connections of the running loop, and let other loops close theirs."""
        for _ in range(2):  # again for tasks that replies have started meanwhile; after that, no reply can come
            await end(*self._under_way())
            self._fresh_until = 0.0
            for endpoint in list(self._endpoints.values()):
                await endpoint.close()
            if not self._under_way():
                return

    def _under_way(self) -> list[asyncio.Task[None]]:
        """The background tasks of the running loop."""
        loop = asyncio.get_running_loop()
        return [task for task in (*self._redirecting, self._reading_map.here()) if task and task.get_loop() is loop]

    # ---- the map

    def endpoint_of_slot(self, slot: int) -> Endpoint | None:
        """The server that has *slot* by the map; None if none has."""
        return self._slots[slot]

    async def _refresh_map(self, *, doubted: Endpoint | None = None, now: bool = False) -> None:
        """Read the map unless it is fresh; all callers share one read."""
        if not now and monotonic() < self._fresh_until:
            return
        await self._reading_map.run(partial(self._read_map, doubted))

    async def _read_map(self, doubted: Endpoint | None = None) -> None:
        """Read the map from servers with an open connection, or else from any known server."""
        others = [(address, each) for address, each in list(self._endpoints.items()) if each is not doubted]
        healthy = [address for address, endpoint in others if endpoint.connection_now() is not None]
        failure: Exception | None = None
        for servers in (healthy, list(dict.fromkeys((*(address for address, _ in others), *self.known.servers)))):
            if servers:
                try:
                    self._use_map(await self._map_from(servers))
                except Exception as exc:
                    failure = exc.__cause__ if isinstance(exc.__cause__, Exception) else exc
                else:
                    return
        raise StorageError(f"{self.where} cannot be used: {type(failure).__name__}") from failure

    async def _map_from(self, servers: Sequence[Address]) -> ClusterMap:
        arguments = self.known.arguments

        def read(hosts: Collection[str]) -> Coroutine[Any, Any, ClusterMap]:
            return read_cluster([address for address in servers if address[0] in hosts], arguments)

        return await once_named([host for host, _ in servers], arguments, read)

    def _use_map(self, found: ClusterMap) -> None:
        self._fresh_until = monotonic() + FRESH_S
        endpoints = {each: self._endpoints.setdefault(each, self._new(each, found)) for each in found.servers}
        slots = [None if address is None else endpoints[address] for address in found.primaries]
        has_shifted = any(old is not None and old is not new for old, new in zip(self._slots, slots, strict=True))
        self._slots = slots
        for address in self._endpoints.keys() - endpoints.keys():  # their connections end with them
            self._endpoints.pop(address, None)
        if has_shifted:
            self._tell_shift()

    def _new(self, address: Address, found: ClusterMap) -> Endpoint:
        endpoint = Endpoint(way_to_node(*address, found.settings))
        endpoint.prepare = partial(self._opened, address)
        return endpoint

    def _tell_shift(self) -> None:
        self._shift += 1
        for loop, listeners in self._listeners.items():
            for listener in listeners:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(listener)

    # ---- commands that were sent to the wrong server

    def _opened(self, address: Address, connection: Connection) -> None:
        connection.on_refused = partial(_refused_by, weakref.ref(self), address)
        if self._prepare is not None:
            self._prepare(connection)

    def _refused(self, address: Address, sent: Sent, error: ServerError) -> bool:
        """Redirect *sent*, which the server at *address* has refused with *error*; return whether that is possible."""
        if error.code in _DOUBTFUL:
            self._doubt()
            return False
        redirection = _REDIRECTION.match(error.message) if error.code in ("MOVED", "ASK") else None
        if redirection is None:
            return False
        is_asking = error.code == "ASK"
        if not is_asking:
            self._doubt()
        if sent.hops >= MAX_HOPS or sent.waiter.done():
            return False
        slot, host, port = redirection.groups()
        named = self.known.reached_at(host, int(port)) if host else (address[0], int(port))
        onward = replace(sent, hops=sent.hops + 1)
        endpoint = self._endpoints.get(named)
        connection = None if endpoint is None else endpoint.connection_now()
        if connection is not None:
            _send(connection, onward, is_asking=is_asking)
        else:
            task = background(self._send_later(onward, int(slot), named, is_asking=is_asking))
            self._redirecting.add(task)
            task.add_done_callback(self._redirecting.discard)
        return True

    def _doubt(self) -> None:
        """Read the map in the background, unless it is fresh."""
        if monotonic() >= self._fresh_until:
            self._reading_map.begin(self._read_map)

    async def _send_later(self, sent: Sent, slot: int, named: Address, *, is_asking: bool) -> None:
        try:
            endpoint = self._endpoints.get(named)
            if endpoint is None:
                await self._refresh_map(now=True)
                endpoint = self._endpoints.get(named) or self._slots[slot]
            if endpoint is None:
                raise self._uncovered(slot)
            _send(await endpoint.connection(), sent, is_asking=is_asking)
        except BaseException as exc:
            if not sent.waiter.done():
                is_ours = isinstance(exc, StorageError)
                sent.waiter.set_exception(exc if is_ours else StorageError(f"{self.where} is being closed"))
            if not isinstance(exc, StorageError):
                raise

    def _uncovered(self, slot: int) -> StorageError:
        return StorageError(f"no server of {self.where} has the slot {slot}")


def _refused_by(cluster: weakref.ref[Cluster], address: Address, sent: Sent, error: ServerError) -> bool:
    """As `Cluster._refused`, by a weak reference: a connection must not keep a cluster alive."""
    found = cluster()
    return found is not None and found._refused(address, sent, error)


def _send(connection: Connection, sent: Sent, *, is_asking: bool) -> None:
    with connection.together():
        if is_asking:
            connection.tell(ASKING)
        connection.take(sent)
