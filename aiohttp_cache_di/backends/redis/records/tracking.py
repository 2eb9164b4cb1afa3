"""The server's news of keys that have changed (client-side caching, RESP3), as the keys of a store.

A connection that tracks is told of every key that was read over it and has changed since, once, by whichever client; of
our own changes too, so that one whose outcome was not waited for is heard all the same. The news comes over the
connection by which the key was read, in order with its replies: what has been read and parsed before is changed by it,
and what is read after it is newer. When the connection is lost, any key may have changed unheard; so it may when it
is another server's by now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeAlias
from weakref import WeakKeyDictionary, ref

from aiohttp_cache_di.backends.redis.connections.connection import Connection
from aiohttp_cache_di.backends.redis.connections.wire import Reply, ServerError, command
from aiohttp_cache_di.backends.redis.records.names import Names
from aiohttp_cache_di.backends.redis.servers.topology import Topology

__all__ = ["Listener", "Tracking"]

logger: logging.Logger = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[Collection[str] | None], None]


class Tracking:
    """Passes the server's news on to those who listen, each in its own loop.

    Args:
        topology: whose connections track, from the first listener in their loop on.
        names: of the records whose keys are told.
    """

    def __init__(self, topology: Topology, names: Names) -> None:
        self._topology = topology
        self._names = names
        self._listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Listener]] = WeakKeyDictionary()

    def listen(self, listener: Listener) -> None:
        """Call *listener* in the running loop with the keys of what has changed; None: any may have."""
        listeners = self._listeners.setdefault(asyncio.get_running_loop(), [])
        listeners.append(listener)
        if len(listeners) > 1:
            return
        self._topology.on_open(self._opened)
        self._topology.on_shift(lambda: _tell(listeners, None))

    def _opened(self, connection: Connection) -> None:
        """Have the server track what is read over *connection* from now on."""
        if connection.loop not in self._listeners or connection.on_push is not None or not connection.can_push:
            return

        tracking, loop = ref(self), connection.loop  # a connection keeps no store alive that is of use to none

        def changed(names: Reply) -> None:
            here = tracking()
            if here is not None:
                _tell(here._listeners.get(loop, ()), here._keys(names))

        def pushed(message: list[Reply]) -> None:
            if message and message[0] == b"invalidate":
                changed(message[1] if len(message) > 1 else None)

        def answered(reply: Reply) -> None:
            if type(reply) is ServerError:
                logger.info("%s cannot track keys (%s); copies live for their lifetime", connection.where, reply.code)

        connection.on_push = pushed
        connection.on_lost = partial(changed, None)
        connection.submit(command(b"HELLO", b"3"), lambda reply: None)
        connection.submit(command(b"CLIENT", b"TRACKING", b"ON"), answered)

    def _keys(self, names: Reply) -> Collection[str] | None:
        """The keys of ours among *names*; None for all: the server was flushed, or it cannot be told what changed."""
        if not isinstance(names, list):
            return None
        keys: list[str] = []
        for name in names:  # pyright: ignore[reportUnknownVariableType]  # whatever the server sends
            if not isinstance(name, bytes):
                return None
            key = self._names.key(name)
            if key is not None:
                keys.append(key)
        return keys


def _tell(listeners: Iterable[Listener], keys: Collection[str] | None) -> None:
    for listener in listeners:
        listener(keys)
