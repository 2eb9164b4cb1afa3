"""The Redis protocol (RESP2 and RESP3) without input and output: commands are encoded here, replies parsed by hiredis.

hiredis has no size limit for a reply. So a `connection` counts the bytes of an incomplete reply, and is ended when they
exceed what the command allows.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp_cache_di._redis import new_reader, push_type

__all__ = ["ProtocolError", "Reply", "ReplyParser", "ServerError", "beginning", "command", "rest"]

_NOTHING: Final = object()

Reply: TypeAlias = Any
"""None, bytes, int, float, bool, a list or dict of replies, or a `ServerError`; a push has its own type of list."""


class ProtocolError(Exception):
    """The received bytes are not the Redis protocol; the connection cannot be used any more."""


class ServerError(NamedTuple):
    """An error reply: a value rather than an exception, since it may be one item of an array."""

    code: str
    """Its first word, upper case: ``WRONGTYPE``, ``NOAUTH``, ``OOM`` …"""
    message: str
    """The whole text; it may quote the command, so it is never part of our messages."""


def command(*parts: bytes) -> bytes:
    """Encode a command; copies each part once."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces += (b"$%d\r\n" % len(part), part, b"\r\n")
    return b"".join(pieces)


def beginning(*parts: bytes, more: int) -> bytes:
    """Encode the first *parts* of a command that has *more* further parts (`rest`)."""
    return b"*%d\r\n%b" % (len(parts) + more, rest(*parts))


def rest(*parts: bytes) -> bytes:
    """Encode the last *parts* of a command; fast for short parts, but copies each twice."""
    return b"$%d\r\n%b\r\n" * len(parts) % tuple(chain.from_iterable(zip(map(len, parts), parts, strict=True)))


class ReplyParser:
    """Parses received bytes into replies; keeps an incomplete reply until the rest arrives.

    Attributes:
        push_type: the type of a push.
    """

    __slots__ = ("_feed", "_gets", "push_type")

    def __init__(self) -> None:
        self._feed, self._gets = new_reader(ProtocolError, _error, _NOTHING)
        self.push_type: type[list[Any]] = push_type()

    def feed(self, data: bytes) -> list[Reply]:
        """Parse *data* and return the replies that are complete now, in order.

        Raises:
            ProtocolError: it is not the Redis protocol.
        """
        gets = self._gets
        replies: list[Reply] = []
        try:
            self._feed(data)
            while (reply := gets()) is not _NOTHING:
                replies.append(reply)
        except ProtocolError:
            raise
        except Exception as exc:  # such as a map with a list as a key, or an array larger than memory
            raise ProtocolError(f"a reply cannot be taken: {type(exc).__name__}") from exc
        return replies


def _error(line: str) -> ServerError:
    return ServerError(line.partition(" ")[0].upper(), line)
