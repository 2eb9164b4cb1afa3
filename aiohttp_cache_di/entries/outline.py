"""Describing a stored response from the beginning of its bytes, without reading its body from the store.

The body comes last, so zeros can stand for the bytes that are not read. Without them, neither checksum nor signature
can be verified: the result is for people, and never used to answer a request.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from aiohttp_cache_di.entries.checks import is_possible
from aiohttp_cache_di.entries.codec import span_of_response
from aiohttp_cache_di.entries.info import EntryInfo, info_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["OUTLINE_BYTES", "outline", "outline_apart"]

OUTLINE_BYTES: Final = 2048
"""The beginning of a frame that contains the head of nearly every response."""

MAX_BYTES: Final = 68 * 1024 * 1024
"""The largest frame that is described, since its body is in memory as zeros for a moment."""

_LENGTHS: Final = {0xC4: 2, 0xC5: 3, 0xC6: 5}  # length of the prefix of binary data in MessagePack, by its first byte


class _Bodiless(StoredResponse, frozen=True, array_like=True, dict=True, kw_only=True):
    body: msgspec.Raw = msgspec.Raw()


_decode = msgspec.msgpack.Decoder(_Bodiless).decode
_decode_apart = msgspec.msgpack.Decoder(StoredResponse).decode


def outline(beginning: bytes, size: int, key: str) -> EntryInfo | None:
    """The description of the response under *key*, from the *beginning* of its frame, which has *size* bytes.

    None if it is not a response, or *beginning* does not contain all of its head.
    """
    span = span_of_response(beginning, size) if size <= MAX_BYTES else None
    if span is None:
        return None
    start, end = span
    beginning = beginning[:end]
    payload = beginning[start:] + bytes(end - len(beginning))
    with suppress(msgspec.MsgspecError, ValueError, RecursionError, MemoryError):
        entry = _decode(payload)
        body = memoryview(entry.body)
        length = _LENGTHS.get(body[0]) if len(body) else None
        if length is None or len(payload) - len(body) > len(beginning) - start - length or not is_possible(entry):
            return None
        force_setattr(entry, "key", key)  # nothing else refers to the object yet
        return info_of(entry, body_bytes=len(body) - length)
    return None


def outline_apart(frame: object, body_bytes: int, key: str) -> EntryInfo | None:
    """As `outline`, for the *frame* of a response whose body, of *body_bytes*, is stored apart."""
    if not isinstance(frame, bytes) or (span := span_of_response(frame, len(frame))) is None:
        return None
    with suppress(msgspec.MsgspecError, ValueError, RecursionError, MemoryError):
        entry = _decode_apart(frame[slice(*span)])
        if is_possible(entry):
            force_setattr(entry, "key", key)  # nothing else refers to the object yet
            return info_of(entry, body_bytes=body_bytes)
    return None
