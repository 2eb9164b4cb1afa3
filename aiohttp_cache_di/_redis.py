"""What this package takes of redis-py and hiredis beyond the documented client, in one place; a test guards each part.

redis-py opens, encrypts and authenticates a connection, by its own options and credentials, and finds the server where
sentinels know it. It lends a connection to one task at a time, so what is under way for a thousand tasks needs a
thousand of them. Here one connection serves them all, so its stream is taken over when it is open. For the stream there
is no public name: `TOUCHED` names the two attributes that hold it. Without them a connection is used by its public
methods, which is slower (`backends.redis.driven`).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from aiohttp_cache_di.errors import MissingDependencyError

__all__ = [
    "TOUCHED",
    "driver",
    "error_named",
    "introduction",
    "new_connection",
    "new_reader",
    "push_type",
    "take_stream",
]

TOUCHED: Final = ("_reader", "_writer")
"""Attributes of redis-py's connections without a public name: the two ends of its stream."""

_AHEAD_BYTES: Final = 1 << 20


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


async def new_connection(pool: Any) -> Any:
    """A connection of *pool*'s settings that is not open yet.

    redis-py reads files for it: certificates for TLS, and its own metadata where the client was made without
    `introduction`. That is done in a thread.
    """
    is_tls = issubclass(getattr(pool, "connection_class", object), driver().SSLConnection)
    if not is_tls and pool.connection_kwargs.keys() & {"driver_info", "lib_version"}:
        return pool.make_connection()
    return await asyncio.to_thread(_make_connection, pool)


def _make_connection(pool: Any) -> Any:
    connection: Any = pool.make_connection()
    context = getattr(connection, "ssl_context", None)
    if context is not None:
        with contextlib.suppress(Exception):  # what is wrong with the certificates is told when it connects
            context.get()
    return connection


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
