"""What the head of a response tells about its body: whether there is one, where it ends, why it cannot be stored."""

from __future__ import annotations

import enum

from aiohttp import ClientResponse, StreamReader, hdrs

from aiohttp_cache_di._aiohttp import DecodingWatch

__all__ = ["Unkept", "has_known_end", "is_framed", "known_size", "why_not_kept", "why_not_whole"]

BODILESS_STATUSES = (204, 304)


class Unkept(enum.Enum):
    """Why there is no copy of a body; the values are details of Cache-Status."""

    CUT = "cut"  # it did not arrive completely
    UNFRAMED = "close-delimited"  # its end looks like a lost connection, or it still has a transfer coding
    ENDLESS = "event-stream"  # it has no end
    TOO_LARGE = "too-large"  # larger than max_body_bytes
    DAMAGED = "damaged"  # its content coding was not complete, or its length is not the announced one
    NO_ROOM = "no-room"  # other copies take all the memory of the budget
    UNSEEN = "unseen"  # its stream is not aiohttp's own, a part was read before, or the decoder cannot be watched
    REFUSED = "store-failed"  # the store failed while it was written in pieces
    FAILED = "error"  # the cache failed

    @property
    def is_lasting(self) -> bool:
        """Whether the next body of the same URL is likely not to be stored, either."""
        return self not in (Unkept.CUT, Unkept.NO_ROOM, Unkept.REFUSED, Unkept.FAILED)


def is_framed(response: ClientResponse) -> bool:
    """Whether the end of the body can be distinguished from a lost connection (RFC 9112 §6.3).

    A body that ends with the connection may have been cut, and is not stored. Nor is one with a transfer coding other
    than chunked: aiohttp does not decode it, and Transfer-Encoding, which names the coding, is never stored.
    """
    headers = response.headers
    if hdrs.TRANSFER_ENCODING not in headers:
        return hdrs.CONTENT_LENGTH in headers or is_bodiless(response)
    codings = [coding.strip().lower() for coding in headers.getall(hdrs.TRANSFER_ENCODING)]
    return codings == ["chunked"] or is_bodiless(response)


def is_bodiless(response: ClientResponse) -> bool:
    """Whether the response has no body, regardless of its Content-Length (RFC 9112 §6.3)."""
    return response.method == hdrs.METH_HEAD or response.status in BODILESS_STATUSES


def has_known_end(response: ClientResponse) -> bool:
    """Whether the head states the length of the body."""
    headers = response.headers
    return is_bodiless(response) or (hdrs.CONTENT_LENGTH in headers and hdrs.TRANSFER_ENCODING not in headers)


def why_not_kept(response: ClientResponse, max_bytes: float) -> Unkept | None:
    """The reason in the head not to copy the body; None to copy it."""
    if response.method == hdrs.METH_HEAD:
        return None
    if not is_framed(response):
        return Unkept.UNFRAMED
    length = _length(response)
    if length is not None and length > max_bytes:
        return Unkept.TOO_LARGE
    if response.headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("text/event-stream"):
        return Unkept.ENDLESS
    return None


def known_size(response: ClientResponse, *, decoded: bool) -> int | None:
    """The number of bytes that the reader will get, if the head tells; None for a decoded body, whose size is unknown.

    Args:
        decoded: whether the body is decoded.
    """
    if is_bodiless(response):
        return 0
    return None if decoded or hdrs.TRANSFER_ENCODING in response.headers else _length(response)


def _length(response: ClientResponse) -> int | None:
    """The value of Content-Length; None if there is none, or it is not a number."""
    length = response.headers.get(hdrs.CONTENT_LENGTH, "")
    return int(length) if length.isdecimal() else None


def why_not_whole(
    copied: int, stream: StreamReader, size: int | None, max_bytes: float, watch: DecodingWatch | None
) -> Unkept | None:
    """Why *copied* bytes are not the whole body of *stream*, which has ended; None if they are."""
    if stream.total_bytes > max_bytes:
        return Unkept.TOO_LARGE
    if watch is not None and not watch.finished:
        return Unkept.DAMAGED
    if copied != stream.total_bytes:
        return Unkept.UNSEEN
    return Unkept.DAMAGED if size is not None and copied != size else None
