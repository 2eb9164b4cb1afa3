"""The server's invalidations (client-side caching, RESP3), translated to the keys of a store.

On a connection with tracking, the server sends one invalidation for each key that was read over it and then changed by
any client. Our own changes are included, so that a change whose outcome was not waited for is heard of, too.
Invalidations come over the connection by which the key was read, in order with its replies: values that were parsed
before one are outdated, values after it are newer. When the connection is lost, or slots move to another server, any
key may have changed without an invalidation.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from functools import partial
from weakref import ref

from aiohttp_cache_di.backends.loops import LoopLocal
from aiohttp_cache_di.backends.redis.connections.connection import Connection
from aiohttp_cache_di.backends.redis.connections.wire import Reply, ServerError, command
from aiohttp_cache_di.backends.redis.records.names import Names
from aiohttp_cache_di.backends.redis.servers.topology import Topology
from aiohttp_cache_di.backends.store.capabilities import ChangeListener

__all__ = ["Tracking"]

logger: logging.Logger = logging.getLogger(__name__)


class Tracking:
    """Passes the server's invalidations on to listeners, each in its own loop.

    Args:
        topology: the servers; its connections in a loop track keys from the first listener in that loop on.
        names: the names of records, which are translated to keys.
    """

    def __init__(self, topology: Topology, names: Names) -> None:
        self._topology = topology
        self._names = names
        self._listeners = LoopLocal(list[ChangeListener])

    def listen(self, listener: ChangeListener) -> None:
        """Call *listener* in the running loop with keys that have changed; None: any may have."""
        listeners = self._listeners.here()
        listeners.append(listener)
        if len(listeners) > 1:
            return
        self._topology.on_open(self._opened)
        self._topology.on_shift(lambda: _tell(listeners, None))

    def _opened(self, connection: Connection) -> None:
        """Switch tracking on for *connection*."""
        if self._listeners.get(connection.loop) is None or connection.on_push is not None or not connection.can_push:
            return

        tracking, loop = ref(self), connection.loop  # a weak reference: a connection must not keep a store alive

        def changed(names: Reply) -> None:
            here = tracking()
            if here is not None:
                _tell(here._listeners.get(loop) or (), here._keys(names))

        def pushed(message: list[Reply]) -> None:
            if message and message[0] == b"invalidate":
                changed(message[1] if len(message) > 1 else None)

        def answered(reply: Reply) -> None:
            if type(reply) is ServerError:
                logger.info("%s cannot track keys (%s); copies live for their lifetime", connection.where, reply.code)

        connection.on_push = pushed
        connection.on_lost = partial(changed, None)
        connection.tell(command(b"HELLO", b"3"))
        connection.tell(command(b"CLIENT", b"TRACKING", b"ON"), answered)

    def _keys(self, names: Reply) -> Collection[str] | None:
        """The keys of our records among *names*; None for all, as after FLUSHALL or for an unexpected message."""
        if not isinstance(names, list):
            return None
        keys: list[str] = []
        for name in names:  # pyright: ignore[reportUnknownVariableType]  # the server may send anything
            if not isinstance(name, bytes):
                return None
            key = self._names.key(name)
            if key is not None:
                keys.append(key)
        return keys


def _tell(listeners: Iterable[ChangeListener], keys: Collection[str] | None) -> None:
    for listener in listeners:
        listener(keys)
