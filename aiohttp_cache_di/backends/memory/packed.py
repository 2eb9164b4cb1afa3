"""Responses at rest in memory."""

from __future__ import annotations

import math
from functools import cache

import msgspec

from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["Packed", "at_rest"]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """An entry at rest: two pieces of bytes weigh half of what its objects do, and give the collector no work.

    Args:
        head: its fields but the key, which the table has, and the body, as MessagePack.
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

    def unpacked(self, key: str) -> StoredResponse:
        """The entry that is kept under *key*."""
        return msgspec.structs.replace(_decoder().decode(self.head), key=key, body=self.body)


def at_rest(entry: StoredResponse, key: str) -> Packed | StoredResponse:
    """*entry* as it is kept under *key*: as it is, where it has no packed form."""
    try:
        head = _encode(msgspec.structs.replace(entry, key="", body=b""))
    except (TypeError, ValueError, OverflowError):
        return entry if entry.key == key else msgspec.structs.replace(entry, key=key)
    until = entry.store_until
    # A copy, since the encoder leaves room behind what it returns; and one infinity is enough for all.
    return Packed(bytes(memoryview(head)), entry.body, math.inf if until == math.inf else until, entry.objects_bytes)


_encode = msgspec.msgpack.Encoder().encode


@cache
def _decoder() -> msgspec.msgpack.Decoder[StoredResponse]:
    return msgspec.msgpack.Decoder(StoredResponse)
