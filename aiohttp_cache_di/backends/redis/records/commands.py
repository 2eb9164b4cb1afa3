"""Commands for records, and checks of their replies: the expected value, or an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

from aiohttp_cache_di.backends.redis.connections.connection import Connection, expect_no_error
from aiohttp_cache_di.backends.redis.connections.wire import Reply, ServerError, beginning, command, rest
from aiohttp_cache_di.errors import StorageError

__all__ = ["LARGE", "get", "get_upto", "head", "number", "page", "size_of", "storing", "submit_mget", "value"]

FOR_EVER_S: Final = 100 * 365 * 86400.0  # longer lifetimes get no expiry: the server refuses what overflows its clock
LARGE: Final = 4  # values of the largest size that one MGET may return, or that are asked for at a time


def get(name: bytes) -> bytes:
    """GET the value of *name*."""
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name)


def value(reply: Reply) -> bytes | None:
    """The value in *reply*; None also for a value of another type than a string."""
    if type(reply) is bytes or reply is None:
        return reply
    if type(reply) is ServerError and reply.code == "WRONGTYPE":
        return None
    raise _unexpected(reply, "a value")


def get_upto(name: bytes, size: int) -> bytes:
    """GETRANGE the value of *name*, one byte more than *size* at most, which shows that a value is larger."""
    return command(b"GETRANGE", name, b"0", b"%d" % size)


def submit_mget(
    connection: Connection, names: Sequence[bytes], max_bytes: Callable[[], int]
) -> asyncio.Future[list[bytes | None]]:
    """MGET the values of *names*, of *max_bytes* each; None also for a value of another type than a string."""
    count = len(names)

    def values(reply: Reply) -> list[bytes | None]:
        items = _items(reply)
        if items is None or len(items) != count:
            raise _unexpected(reply, "as many values as it was asked for")
        return [item if type(item) is bytes else None for item in items]

    ask = beginning(b"MGET", more=count) + rest(*names)
    return connection.submit(ask, values, max_bytes=lambda: min(count, LARGE) * max_bytes())


def storing(name: bytes, data: bytes, until: float) -> bytes:
    """SET *data* under *name*, to expire at the POSIX time *until*."""
    left_s = until - time.time()
    if left_s <= 0:  # expired by now, but it still replaces the old record
        return command(b"UNLINK", name)
    if left_s > FOR_EVER_S:
        return command(b"SET", name, data)
    return command(b"SET", name, data, b"PX", b"%d" % max(1, int(left_s * 1000)))


def page(reply: Reply) -> tuple[bytes, list[bytes]]:
    """The cursor of the next page of names, and the names of this one."""
    parts = _items(reply) or []
    names = _items(parts[1]) if len(parts) == 2 else None
    if names is None or type(parts[0]) is not bytes or not all(type(name) is bytes for name in names):
        raise _unexpected(reply, "a page of names")
    return parts[0], list(names)


def head(reply: Reply) -> bytes:
    """The beginning of a value; empty for a value of another type than a string."""
    return value(reply) or b""


def number(reply: Reply) -> int:
    """A count, or a time."""
    if type(reply) is not int:
        raise _unexpected(reply, "a number")
    return reply


def size_of(reply: Reply) -> int:
    """The size of a value; 0 for a value of another type than a string."""
    return 0 if type(reply) is ServerError and reply.code == "WRONGTYPE" else number(reply)


def _items(reply: Reply) -> Sequence[Reply] | None:
    return cast("Sequence[Reply]", reply) if isinstance(reply, list) else None


def _unexpected(reply: Reply, expected: str) -> StorageError:
    expect_no_error(reply)
    return StorageError(f"redis did not send {expected}")
