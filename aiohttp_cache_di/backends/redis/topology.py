"""How a Redis server is reached: its address, the options of the driver, and one channel per event loop."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp_cache_di._redis import driver, take_stream
from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.options import BACKEND_OPTIONS
from aiohttp_cache_di.backends.redis.connections import Connection
from aiohttp_cache_di.backends.redis.driven import DrivenConnection
from aiohttp_cache_di.backends.redis.near import NearTier
from aiohttp_cache_di.backends.redis.wire import ServerError, command
from aiohttp_cache_di.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisLink", "sorted_options"]

logger = logging.getLogger(__name__)

DEFAULT_NEAR_TIER_BYTES = 32 * 1024 * 1024
CONNECT_TIMEOUT_S = 1.0  # a store that takes longer to greet is slower than most origins
SOCKET_TIMEOUT_S = 1.0
NEAR_OPTIONS = frozenset({"near_tier_s", "near_tier_bytes"})
NOT_OPTIONS = frozenset({"self", "decode_responses", "encoding", "encoding_errors", "single_connection_client"})

_inherited: list[Connection] = []
"""Connections that a forked child got from its parent: they may not be used, closed or collected here."""


def _driver_options() -> frozenset[str]:
    """The names that ``redis.asyncio.Redis`` takes and that make sense here."""
    return frozenset(inspect.signature(driver().Redis.__init__).parameters) - NOT_OPTIONS


def sorted_options(owner: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of every backend among those *given*, and the options of a `RedisLink`.

    Raises:
        TypeError: an option is neither.
        MissingDependencyError: redis is not installed.
    """
    of_link = NEAR_OPTIONS | _driver_options()
    refuse_unknown(owner, given, BACKEND_OPTIONS | of_link)
    return {name: given[name] for name in given.keys() & BACKEND_OPTIONS}, {
        name: given[name] for name in given.keys() & of_link
    }


def _from_address(address: str) -> dict[str, Any]:
    """Take *address* apart into arguments for the client; no message of an error repeats any of it."""
    asyncio_connection: Any = importlib.import_module("redis.asyncio.connection")
    try:
        parts: dict[str, Any] = dict(asyncio_connection.parse_url(address))
    except ValueError as exc:
        secure = str(exc) if "Invalid value for" in str(exc) or "following schemes" in str(exc) else ""
        hint = secure or "it should look like redis://user:password@host:6379/0, with special characters %-encoded"
        raise ConfigurationError(f"the address of the Redis server cannot be read: {hint}") from None
    kind = parts.pop("connection_class", None)
    if kind is asyncio_connection.SSLConnection:
        parts["ssl"] = True
    if "path" in parts:
        parts["unix_socket_path"] = parts.pop("path")
    if unknown := parts.keys() - _driver_options():
        names = ", ".join(sorted(unknown))
        raise ConfigurationError(f"the address of the Redis server has options that do not exist: {names}")
    return parts


def _make_client(address: str, options: Mapping[str, Any]) -> Redis:
    retry: Any = importlib.import_module("redis.asyncio.retry").Retry
    no_backoff: Any = importlib.import_module("redis.backoff").NoBackoff
    arguments: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "protocol": 2,
        "retry": retry(no_backoff(), 0),  # the engine decides when a store that failed is asked again
        **_from_address(address),
        **options,
    }
    client: Redis = driver().Redis(**arguments)
    return client


def _checked_client(connection: Any) -> Any:
    """Return *connection* if it is an asyncio client of a single server."""
    pool: Any = getattr(connection, "connection_pool", None)
    kind = getattr(pool, "connection_class", None)
    if not hasattr(pool, "make_connection") or not inspect.iscoroutinefunction(getattr(kind, "connect", None)):
        name = f"{type(connection).__module__}.{type(connection).__qualname__}"
        raise ConfigurationError(f"connection has to be a redis.asyncio.Redis, not a {name}")
    return connection


class RedisLink:
    """A server and the way to it; opens its channel when it is first needed in a loop, and again when it was lost.

    Args:
        address: ``redis://``, ``rediss://`` or ``unix://``.
        connection: an existing client, whose settings are used and which stays open; *address* counts for nothing.
        near_tier_s: seconds for which copies may be kept in this process; None for no copies.
        near_tier_bytes: what they may weigh together.
        options: arguments for ``redis.asyncio.Redis``, over those in the address.

    Raises:
        ConfigurationError: an option or the address has a value that cannot be used.
    """

    def __init__(
        self,
        address: str,
        connection: Redis | None,
        *,
        near_tier_s: float | None = None,
        near_tier_bytes: int = DEFAULT_NEAR_TIER_BYTES,
        **options: Any,
    ) -> None:
        self._channels: dict[asyncio.AbstractEventLoop, Connection] = {}
        self._pid = os.getpid()
        if near_tier_s is not None and not near_tier_s > 0:
            raise ConfigurationError(f"near_tier_s={near_tier_s!r}: give seconds above 0, or None for no near tier")
        self.client = _make_client(address, options) if connection is None else _checked_client(connection)
        self.near_tier_s = near_tier_s
        self.near_tier_bytes = near_tier_bytes
        self._pool: Any = self.client.connection_pool
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[Connection]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.where}>"

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self._let_go()

    @property
    def where(self) -> str:
        """The address without user, password and options."""
        settings: Mapping[str, Any] = self._pool.connection_kwargs
        if "path" in settings:
            return f"unix://{settings['path']}"
        return f"redis://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db') or 0}"

    def channel_now(self) -> Connection | None:
        """The channel of the running loop if it is open."""
        channel = self._channels.get(asyncio.get_running_loop())
        return None if channel is None or channel.closed or channel.retired else channel

    async def channel(self) -> Connection:
        """The channel of the running loop, opened if need be; all who ask meanwhile wait for the same one.

        Raises:
            StorageError: the server cannot be reached or refuses us.
        """
        loop = asyncio.get_running_loop()
        channel = self.channel_now()
        if channel is not None:
            return channel
        task = self._opening.get(loop)
        if task is None:
            self._forget_dead()
            task = self._opening[loop] = loop.create_task(self._open())
            task.add_done_callback(lambda done: self._opened(loop, done))
        try:
            return await asyncio.shield(task)  # one who stops waiting takes the connection from nobody
        except asyncio.CancelledError as exc:
            me = asyncio.current_task()
            if task.cancelled() and not (me is not None and me.cancelling()):
                raise StorageError(f"{self.where} was closed while it was being opened") from exc
            raise

    async def close(self) -> None:
        """Close the channels of this loop and of closed ones, and have other loops close theirs."""
        loop = asyncio.get_running_loop()
        self._forget_dead()
        task = self._opening.get(loop)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        own = self._channels.pop(loop, None)
        self._let_go()
        if own is not None:
            own.abort()
            await own.wait_closed()

    def _let_go(self) -> None:
        """Close all channels from outside of their loops, without waiting."""
        while self._channels:
            loop, channel = self._channels.popitem()
            try:
                loop.call_soon_threadsafe(channel.abort)
            except RuntimeError:  # that loop is closed
                channel.abandon()

    async def _open(self) -> Connection:
        connection: Any = self._pool.make_connection()
        channel: Connection | None = None
        try:
            await connection.connect()
            channel = self._take_over(connection)
            if channel.near is not None:
                await self._track(channel)
        except BaseException as exc:
            if channel is not None:
                channel.abort()
            await connection.disconnect(nowait=True)
            if not isinstance(exc, Exception) or isinstance(exc, StorageError):
                raise
            raise StorageError(f"{self.where} cannot be used: {type(exc).__name__}") from exc
        return channel

    def _take_over(self, connection: Any) -> Connection:
        """Move the socket of a connection that the driver has opened and authenticated to a channel.

        The driver has no public name for the stream. A connection that has none goes on being used as it is.
        """
        stream = take_stream(connection)
        if stream is None:
            return DrivenConnection(self.where, connection)
        writer, ahead = stream
        near = NearTier(self.near_tier_s, self.near_tier_bytes) if self.near_tier_s is not None else None
        channel = Connection(self.where, connection.socket_timeout, near)
        channel.adopt(writer)
        if ahead:  # a message that came unasked
            channel.data_received(ahead)
        return channel

    async def _track(self, channel: Connection) -> None:
        """Have the server tell when keys that were read here change; without that, their lifetime alone bounds them."""
        for step in (command(b"HELLO", b"3"), command(b"CLIENT", b"TRACKING", b"ON", b"NOLOOP")):
            if not await channel.submit(step, lambda reply: type(reply) is not ServerError):
                logger.info("%s cannot track keys; copies of entries live for %g s", self.where, self.near_tier_s)
                return

    def _opened(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Connection]) -> None:
        self._opening.pop(loop, None)
        if not task.cancelled() and task.exception() is None:
            self._channels[loop] = task.result()

    def _forget_dead(self) -> None:
        """Drop the channels that were lost, that belong to a closed loop, or that a parent process owns."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            _inherited.extend(self._channels.values())
            self._channels.clear()
            self._opening.clear()
        for loop in [loop for loop in self._opening if loop.is_closed()]:
            del self._opening[loop]
        for loop, channel in list(self._channels.items()):
            if loop.is_closed():
                channel.abandon()
            if channel.closed:
                self._channels.pop(loop, None)
