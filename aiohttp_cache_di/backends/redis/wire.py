"""The Redis protocol (RESP2 and RESP3) without any input or output: commands to bytes, bytes to replies."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

__all__ = ["ProtocolError", "Push", "Reply", "ReplyParser", "ServerError", "command"]

CRLF = b"\r\n"
MAX_LINE_BYTES = 64 * 1024  # the server's own bound for an inline line (PROTO_INLINE_MAX_SIZE)
MAX_BULK_BYTES = 512 * 1024 * 1024  # the server's own bound (proto-max-bulk-len)
MAX_ITEMS = 1024 * 1024  # the server's own bound for a multi-bulk
MAX_DEPTH = 16  # no reply to a command of ours is nested deeper than three

Reply: TypeAlias = Any
"""None, bytes, int, float, bool, a list of replies, a `Push` or a `ServerError`."""


class ProtocolError(Exception):
    """What came is not the Redis protocol: the connection is of no further use."""


class ServerError(NamedTuple):
    """An error reply: a value rather than an exception, because in an array it is one item among others."""

    code: str
    """Its first word, upper case: ``WRONGTYPE``, ``NOAUTH``, ``OOM`` …"""
    message: str
    """All of it; may quote the command, so it goes into no message of ours."""


class Push(NamedTuple):
    """An out-of-band message of the server (RESP3)."""

    items: list[Reply]


class _IncompleteError(Exception):
    """More bytes are needed: *need* in all, counted from the first one not yet used."""

    def __init__(self, need: int) -> None:
        self.need = need


def command(*parts: bytes) -> bytes:
    """Encode one command."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


class ReplyParser:
    """Turns what arrives into replies; keeps what is incomplete until the rest comes."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0

    def feed(self, data: bytes) -> list[Reply]:
        """Take what arrived and return the replies that are complete now, in order.

        Raises:
            ProtocolError: it is not the Redis protocol.
        """
        if self._chunks:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        replies: list[Reply] = []
        position, size = 0, len(data)
        try:
            while position < size:
                reply, position = _parse(data, position, 0)
                replies.append(reply)
        except _IncompleteError as incomplete:
            rest = data[position:] if position else data
            self._chunks.append(rest)
            self._have = len(rest)
            self._need = incomplete.need - position
        except ValueError as exc:
            raise ProtocolError("a number was expected") from exc
        return replies


def _parse(data: bytes, start: int, depth: int) -> tuple[Reply, int]:
    """Parse the reply at *start*; return it and where it ends."""
    line_end = data.find(CRLF, start)
    if line_end < 0:
        if len(data) - start > MAX_LINE_BYTES:
            raise ProtocolError("a line does not end")
        raise _IncompleteError(len(data) + 1)
    kind = data[start : start + 1]
    after = line_end + 2
    if kind == b"$":
        return _bulk(data, int(data[start + 1 : line_end]), after)
    line = data[start + 1 : line_end]
    if kind == b"+":
        return line, after
    if kind == b":":
        return int(line), after
    if kind == b"-":
        return _error(line), after
    return _rare(kind, line, data, after, depth)


def _bulk(data: bytes, size: int, start: int) -> tuple[bytes | None, int]:
    if size < 0:
        return None, start
    if size > MAX_BULK_BYTES:
        raise ProtocolError("a string is longer than a server can send")
    end = start + size
    if end + 2 > len(data):
        raise _IncompleteError(end + 2)
    if data[end : end + 2] != CRLF:
        raise ProtocolError("a string does not end where it should")
    return data[start:end], end + 2


def _rare(kind: bytes, line: bytes, data: bytes, after: int, depth: int) -> tuple[Reply, int]:
    """Parse what is neither a string, nor a number, nor an error."""
    if kind in b"*~>%|":
        items, end = _items(data, int(line) * (2 if kind in b"%|" else 1), after, depth)
        if kind == b"|":  # attributes of the reply that follows: of no use here
            return _parse(data, end, depth)
        return (Push(items or []) if kind == b">" else items), end
    if kind == b"_":
        return None, after
    if kind == b"#":
        return line == b"t", after
    if kind == b",":
        return float(line), after
    if kind == b"(":
        return int(line), after
    if kind in b"=!":
        text, end = _bulk(data, int(line), after)
        return (_error(text or b"") if kind == b"!" else (text or b"")[4:]), end
    raise ProtocolError("a reply begins with a byte that the protocol does not know")


def _items(data: bytes, count: int, position: int, depth: int) -> tuple[list[Reply] | None, int]:
    if count < 0:
        return None, position
    if count > MAX_ITEMS or depth >= MAX_DEPTH:
        raise ProtocolError("an array is larger or deeper than any that was asked for")
    items: list[Reply] = []
    for _ in range(count):
        if position >= len(data):
            raise _IncompleteError(len(data) + 1)
        item, position = _parse(data, position, depth + 1)
        items.append(item)
    return items, position


def _error(line: bytes) -> ServerError:
    message = line.decode("utf-8", "replace")
    return ServerError(message.partition(" ")[0].upper(), message)
