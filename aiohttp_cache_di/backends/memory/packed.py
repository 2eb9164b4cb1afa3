"""Responses at rest in memory."""

from __future__ import annotations

import math
from functools import cache
from typing import Final, TypeAlias

import msgspec

from aiohttp_cache_di.rfc9111.messages import RawHeaders, StoredResponse

__all__ = ["CommonLines", "Packed"]

MAX_LINES: Final = 256
MAX_LINE_BYTES: Final = 1024  # as a content security policy may take; with MAX_LINES, all take half a MiB at most
OF_FEW: Final = frozenset(
    {b"etag", b"date", b"expires", b"age"}
)  # of one response, or of many at a time and none later

Line: TypeAlias = tuple[bytes, bytes]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """An entry at rest: two pieces of bytes weigh half of what its objects do, and give the collector no work.

    Args:
        head: its header lines, and its other fields but the key, which the table has, and the body, as MessagePack.
        body: as in `StoredResponse`: the same object.
        store_until: as in `StoredResponse`.
        objects_bytes: as in `StoredResponse`.
    """

    head: bytes
    body: bytes
    store_until: float
    objects_bytes: int

    @property
    def open_bytes(self) -> int:
        """What it weighs besides while it is open."""
        return len(self.head) + self.objects_bytes


class CommonLines:
    """Header lines that many responses have; in a packed entry, a number stands for each.

    Most of a head are lines that all responses of a service share. A line is numbered when it comes a second time, and
    stays so: the first `MAX_LINES` are enough. Not thread-safe, but for `unpacked`.
    """

    def __init__(self) -> None:
        self._numbers: dict[Line, int] = {}
        self._lines: list[Line] = []
        self._seen: dict[Line, None] = {}  # once, lately
        self._decode = _decoder().decode

    def at_rest(self, entry: StoredResponse, key: str) -> Packed | StoredResponse:
        """*entry* as it is kept under *key*: as it is, where it has no packed form."""
        lines, number_of = entry.raw_headers, self._numbers.get
        try:
            mixed = [
                self._noted(line) if number is None else number
                for line, number in zip(lines, map(number_of, lines), strict=True)
            ]
            head = _encode((mixed, msgspec.structs.replace(entry, key="", body=b"", raw_headers=())))
        except (TypeError, ValueError, OverflowError):
            return entry if entry.key == key else msgspec.structs.replace(entry, key=key)
        until = entry.store_until
        # A copy, since the encoder leaves room behind what it returns; and one infinity is enough for all.
        head = bytes(memoryview(head))
        return Packed(head, entry.body, math.inf if until == math.inf else until, entry.objects_bytes)

    def unpacked(self, packed: Packed, key: str) -> StoredResponse:
        """The entry that is kept under *key*."""
        mixed, rest = self._decode(packed.head)
        common = self._lines
        lines: RawHeaders = tuple([line if isinstance(line, tuple) else common[line] for line in mixed])
        return msgspec.structs.replace(rest, key=key, body=packed.body, raw_headers=lines)

    def _noted(self, line: Line) -> int | Line:
        """*line*, or the number that it has from now on."""
        name, value = line
        if name.lower() in OF_FEW or len(self._lines) >= MAX_LINES:
            return line
        if line in self._seen:
            self._numbers[line] = number = len(self._lines)
            self._lines.append(line)
            return number
        if len(name) + len(value) <= MAX_LINE_BYTES:
            if len(self._seen) >= MAX_LINES:
                self._seen.clear()
            self._seen[line] = None
        return line


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[tuple[tuple[int | Line, ...], StoredResponse]]:
    return msgspec.msgpack.Decoder(tuple[tuple[int | Line, ...], StoredResponse])
