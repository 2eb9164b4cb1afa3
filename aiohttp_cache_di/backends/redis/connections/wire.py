"""The Redis protocol (RESP2 and RESP3) without any input or output: commands to bytes here, to replies by hiredis.

hiredis has no bound for a reply: it takes what comes until the reply is whole. `connections` counts the bytes of one
that is not whole yet, and ends the connection when they are more than the command can have asked for.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp_cache_di._redis import new_reader, push_type

__all__ = ["ProtocolError", "Reply", "ReplyParser", "ServerError", "beginning", "command", "rest"]

_NOTHING: Final = object()

Reply: TypeAlias = Any
"""None, bytes, int, float, bool, a list or dict of replies, or a `ServerError`; a push has a list type of its own."""


class ProtocolError(Exception):
    """What came is not the Redis protocol: the connection is of no further use."""


class ServerError(NamedTuple):
    """An error reply: a value rather than an exception, because in an array it is one item among others."""

    code: str
    """Its first word, upper case: ``WRONGTYPE``, ``NOAUTH``, ``OOM`` …"""
    message: str
    """All of it; may quote the command, so it goes into no message of ours."""


def command(*parts: bytes) -> bytes:
    """Encode one command; a large part is copied once."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces += (b"$%d\r\n" % len(part), part, b"\r\n")
    return b"".join(pieces)


def beginning(*parts: bytes, more: int) -> bytes:
    """Encode the first *parts* of a command, which *more* parts follow (`rest`)."""
    return b"*%d\r\n%b" % (len(parts) + more, rest(*parts))


def rest(*parts: bytes) -> bytes:
    """Encode the last *parts* of a command, which are short: in one step, in which a long one is copied twice."""
    values: list[int | bytes] = []
    for part in parts:
        values += (len(part), part)
    return b"$%d\r\n%b\r\n" * len(parts) % tuple(values)


class ReplyParser:
    """Turns what arrives into replies; keeps what is incomplete until the rest comes.

    Attributes:
        push_type: the type of a message that came unasked.
    """

    __slots__ = ("_feed", "_gets", "push_type")

    def __init__(self) -> None:
        self._feed, self._gets = new_reader(ProtocolError, _error, _NOTHING)
        self.push_type: type[list[Any]] = push_type()

    def feed(self, data: bytes) -> list[Reply]:
        """Take what arrived and return the replies that are complete now, in order.

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
        except Exception as exc:  # a map whose key is a list, more items than there is memory for
            raise ProtocolError(f"a reply cannot be taken: {type(exc).__name__}") from exc
        return replies


def _error(line: str) -> ServerError:
    return ServerError(line.partition(" ")[0].upper(), line)
