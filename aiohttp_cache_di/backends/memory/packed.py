"""The packed form of responses in memory."""

from __future__ import annotations

import math
from functools import cache
from typing import Final, TypeAlias

import msgspec

from aiohttp_cache_di.rfc9111.messages import HeaderLines, RawHeaders, StoredResponse

__all__ = ["CommonLines", "Packed"]

MAX_LINES: Final = 256
MAX_LINE_BYTES: Final = 1024  # enough for a content security policy; with MAX_LINES, half a MiB at most for all
ALL_OF: Final = 100
ONE_IN: Final = 16
# Headers whose lines are in one response only, or in many at one time and in none later.
OF_FEW: Final = frozenset({b"etag", b"date", b"expires", b"age"})

Line: TypeAlias = tuple[bytes, bytes]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A packed entry: two bytes objects take half the memory of its objects, and no work of the garbage collector.

    Args:
        head: the header lines and all other fields, except the key (which the table has) and the body, as MessagePack.
        body: the same object as in the `StoredResponse`.
        store_until: as in `StoredResponse`.
        objects_bytes: as in `StoredResponse`.
    """

    head: bytes
    body: bytes
    store_until: float
    objects_bytes: int

    @property
    def open_bytes(self) -> int:
        """The additional size while the entry is also kept unpacked."""
        return len(self.head) + self.objects_bytes


class CommonLines:
    """Header lines that many responses share; packed entries have numbers instead of these lines.

    Most header lines are the same in all responses of a service. A line gets a number when it is noted for the second
    time, for good; `MAX_LINES` of them are enough. The lines of the first `ALL_OF` entries are noted, and later those
    of one entry in `ONE_IN`: a common line gets its number soon enough. Not thread-safe, except `unpacked`.
    """

    def __init__(self) -> None:
        self._numbers: dict[Line, int] = {}
        self._lines: list[Line] = []
        self._seen: dict[Line, None] = {}  # lines that were noted once, lately
        self._packed = 0  # entries
        self._decode = _decoder().decode

    def at_rest(self, entry: StoredResponse, key: str) -> Packed | StoredResponse:
        """The packed form of *entry* under *key*, or the entry itself if it cannot be packed."""
        lines = entry.raw_headers
        self._packed += 1
        if len(self._lines) < MAX_LINES and (self._packed <= ALL_OF or not self._packed % ONE_IN):
            self._note(lines)
        try:
            mixed = tuple(map(self._numbers.get, lines, lines))  # the number of each line, or else the line itself
            head = _encode((mixed, msgspec.structs.replace(entry, key="", body=b"", raw_headers=())))
        except (TypeError, ValueError, OverflowError):
            return entry if entry.key == key else msgspec.structs.replace(entry, key=key)
        until = entry.store_until
        # A copy, since the encoder over-allocates the bytes that it returns. All entries share one infinity.
        head = bytes(memoryview(head))
        return Packed(head, entry.body, math.inf if until == math.inf else until, entry.objects_bytes)

    def unpacked(self, packed: Packed, key: str) -> StoredResponse:
        """The entry that was *packed* under *key*."""
        mixed, rest = self._decode(packed.head)
        common = self._lines
        lines: RawHeaders = tuple([line if isinstance(line, tuple) else common[line] for line in mixed])
        return msgspec.structs.replace(rest, key=key, body=packed.body, raw_headers=lines)

    def _note(self, lines: HeaderLines) -> None:
        """Note *lines*; those that were noted before get a number."""
        for line in lines:
            name, value = line
            if line in self._numbers or name.lower() in OF_FEW or len(self._lines) >= MAX_LINES:
                continue
            if line in self._seen:
                self._numbers[line] = len(self._lines)
                self._lines.append(line)
            elif len(name) + len(value) <= MAX_LINE_BYTES:
                if len(self._seen) >= MAX_LINES:
                    self._seen.clear()
                self._seen[line] = None


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[tuple[tuple[int | Line, ...], StoredResponse]]:
    return msgspec.msgpack.Decoder(tuple[tuple[int | Line, ...], StoredResponse])
