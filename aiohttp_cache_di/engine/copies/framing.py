"""What the head of a response tells of its body: whether there is one, where it ends, and why it may not be kept."""

from __future__ import annotations

import enum

from aiohttp import ClientResponse, StreamReader, hdrs

from aiohttp_cache_di._aiohttp import DecodingWatch

__all__ = ["Unkept", "has_known_end", "is_framed", "known_size", "why_not_kept", "why_not_whole"]

BODILESS_STATUSES = (204, 304)


class Unkept(enum.Enum):
    """Why there is no copy of a body, in a word."""

    CUT = "cut"  # it did not arrive to its end
    UNFRAMED = "close-delimited"  # its end cannot be told from a connection that broke, or it is coded still
    ENDLESS = "event-stream"  # it has no end
    TOO_LARGE = "too-large"  # for max_body_bytes
    DAMAGED = "damaged"  # its content coding did not come to its end, or it is not as long as announced
    NO_ROOM = "no-room"  # the copies under way take all the memory that is set aside for them
    UNSEEN = "unseen"  # its stream is not aiohttp's own, or what has arrived of it, or the end of its coding, is hidden
    REFUSED = "store-failed"  # which was to take it as it arrives
    FAILED = "error"  # of the cache

    @property
    def is_lasting(self) -> bool:
        """Whether the next body from the same place is likely to meet the same fate."""
        return self not in (Unkept.CUT, Unkept.NO_ROOM, Unkept.REFUSED, Unkept.FAILED)


def is_framed(response: ClientResponse) -> bool:
    """Whether the end of the body can be told from a connection that broke (RFC 9112 §6.3).

    A body that ends where the connection ends may have been cut; it is handed on and never stored. Nor is one with a
    transfer coding beside chunked: aiohttp does not undo it, and the field that tells of it is of the connection.
    """
    if is_bodiless(response):
        return True
    headers = response.headers
    if hdrs.TRANSFER_ENCODING in headers:
        return [coding.strip().lower() for coding in headers.getall(hdrs.TRANSFER_ENCODING)] == ["chunked"]
    return hdrs.CONTENT_LENGTH in headers


def is_bodiless(response: ClientResponse) -> bool:
    """Whether there is no body, whatever the head says of one (RFC 9112 §6.3)."""
    return response.method == hdrs.METH_HEAD or response.status in BODILESS_STATUSES


def has_known_end(response: ClientResponse) -> bool:
    """Whether the head says how many bytes are still to come."""
    headers = response.headers
    return is_bodiless(response) or (hdrs.CONTENT_LENGTH in headers and hdrs.TRANSFER_ENCODING not in headers)


def why_not_kept(response: ClientResponse, max_bytes: float) -> Unkept | None:
    """Why not to begin a copy, as far as the head tells; None to begin one."""
    if response.method == hdrs.METH_HEAD:
        return None
    headers = response.headers
    length = headers.get(hdrs.CONTENT_LENGTH)
    if (length is None or hdrs.TRANSFER_ENCODING in headers) and not is_framed(response):
        return Unkept.UNFRAMED
    if length is not None and length.isdecimal() and int(length) > max_bytes:
        return Unkept.TOO_LARGE
    if headers.get(hdrs.CONTENT_TYPE, "").lower().startswith("text/event-stream"):
        return Unkept.ENDLESS
    return None


def known_size(response: ClientResponse, *, decoded: bool) -> int | None:
    """How many bytes the reader will see, if the head says so: what is decoded may be far more than what is sent.

    Args:
        decoded: whether the body comes out of a decoder.
    """
    headers = response.headers
    if is_bodiless(response):
        return 0
    length = headers.get(hdrs.CONTENT_LENGTH, "")
    if not length.isdecimal() or decoded or hdrs.TRANSFER_ENCODING in headers:
        return None
    return int(length)


def why_not_whole(
    copied: int, stream: StreamReader, size: int | None, max_bytes: float, watch: DecodingWatch | None
) -> Unkept | None:
    """Why *copied* bytes are not the whole body of *stream*, which has ended."""
    if stream.total_bytes > max_bytes:
        return Unkept.TOO_LARGE
    if watch is not None and not watch.finished:
        return Unkept.DAMAGED
    if copied != stream.total_bytes:
        return Unkept.UNSEEN
    return Unkept.DAMAGED if size is not None and copied != size else None
