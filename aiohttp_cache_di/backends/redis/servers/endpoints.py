"""One server: a connection for each event loop, opened when it is first needed."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Any

from aiohttp_cache_di._redis import take_stream
from aiohttp_cache_di.backends.calls import SharedTask
from aiohttp_cache_di.backends.redis.connections.connection import Connection
from aiohttp_cache_di.backends.redis.connections.driven import DrivenConnection
from aiohttp_cache_di.backends.redis.servers.ways import Way
from aiohttp_cache_di.errors import StorageError

__all__ = ["Endpoint"]

_inherited: list[Connection] = []
"""Connections that a forked child got from its parent: they must not be used, closed or garbage collected here."""


def _no_preparation(connection: Connection) -> None:
    """Prepare nothing."""


class _Connections(dict[asyncio.AbstractEventLoop, Connection]):
    """The connections of one endpoint, by their loops.

    They do not refer to the endpoint, so that they still exist when it is finalised and can be closed then. Otherwise
    all would be garbage collected together, and a transport that is finalised first warns that it was not closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pid: int = os.getpid()

    def set_aside(self) -> None:
        """In a forked child, keep the parent's connections out of use."""
        if self.pid != os.getpid():
            self.pid = os.getpid()
            _inherited.extend(self.values())
            self.clear()

    def let_go(self) -> None:
        """Close all connections from outside of their loops, without waiting."""
        while True:
            try:
                loop, connection = self.popitem()
            except KeyError:  # none is left: a loop in another thread may be closing them, too
                return
            try:
                loop.call_soon_threadsafe(connection.abort)
            except RuntimeError:  # the loop is closed
                connection.abandon()

    def end(self) -> None:
        """Close all connections, since their endpoint is being finalised."""
        self.set_aside()
        self.let_go()


class Endpoint:
    """A server's connections: opened when they are first needed in a loop, and again when they were lost.

    Args:
        way: opens connections to the server.
    """

    def __init__(self, way: Way) -> None:
        self._connections = _Connections()
        weakref.finalize(self, self._connections.end).atexit = False
        self._way = way
        self._opening: SharedTask[Connection] = SharedTask(way.where)
        self.prepare: Callable[[Connection], None] = _no_preparation
        """Called with each new connection before it is used."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"

    @property
    def where(self) -> str:
        """The address without user, password and options."""
        return self._way.where

    def connection_now(self) -> Connection | None:
        """The running loop's connection if it is open."""
        connection = self._connections.get(asyncio.get_running_loop())
        return None if connection is None or connection.closed or connection.retired else connection

    async def connection(self) -> Connection:
        """The running loop's connection, opened if necessary; concurrent callers share one attempt.

        Raises:
            StorageError: the server cannot be reached, or refuses the connection.
        """
        connection = self.connection_now()
        if connection is not None:
            return connection
        self._forget_dead()
        return await self._opening.run(self._open)

    async def close(self) -> None:
        """Close the connections of this loop and of closed loops, and let other loops close theirs."""
        loop = asyncio.get_running_loop()
        self._forget_dead()
        task = self._opening.here()
        own: Connection | None = None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        finally:  # also if the caller is cancelled
            own = self._connections.pop(loop, None)
            self._connections.let_go()
            if own is not None:
                own.abort()
        if own is not None:
            await own.wait_closed()

    async def _open(self) -> Connection:
        driven: Any = None
        connection: Connection | None = None
        try:
            driven = await self._way.open()
            connection = self._take_over(driven)
            self.prepare(connection)
        except BaseException as exc:
            if connection is not None:
                connection.abort()
            if driven is not None:
                await driven.disconnect(nowait=True)
            if not isinstance(exc, Exception) or isinstance(exc, StorageError):
                raise
            raise StorageError(f"{self.where} cannot be used: {type(exc).__name__}") from exc
        self._connections[connection.loop] = connection
        return connection

    def _take_over(self, driven: Any) -> Connection:
        """Move the stream of the driver's open, authenticated connection to one of ours."""
        stream = take_stream(driven)
        if stream is None:
            return DrivenConnection(self.where, driven)
        writer, ahead = stream
        connection = Connection(self.where, driven.socket_timeout)
        connection.adopt(writer)
        if ahead:  # a push that has arrived already
            connection.data_received(ahead)
        return connection

    def _forget_dead(self) -> None:
        """Drop connections that were lost, or belong to a closed loop or a parent process."""
        self._connections.set_aside()
        for loop, connection in list(self._connections.items()):
            if loop.is_closed():
                connection.abandon()
            if connection.closed:
                self._connections.pop(loop, None)
