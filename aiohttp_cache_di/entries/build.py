"""Making entries from aiohttp's responses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache

from aiohttp import ClientResponse

from aiohttp_cache_di._aiohttp import body_read_of
from aiohttp_cache_di.rfc9111.messages import HeaderLines, RawHeaders, StoredResponse
from aiohttp_cache_di.rfc9111.storability import SET_COOKIE

__all__ = ["body_of", "entry_of", "kept_lines", "names_in", "reason_of", "version_of"]


async def body_of(response: ClientResponse) -> bytes:
    """The body of *response*: the one read before, even if *response* was released since; otherwise it is read now."""
    body = body_read_of(response)
    return await response.read() if body is None else body


def names_in(lines: HeaderLines) -> frozenset[bytes]:
    """The lower-case names of header *lines*."""
    return frozenset(map(bytes.lower, dict(lines)))


def kept_lines(
    lines: RawHeaders,
    drop: frozenset[str],
    *,
    names: frozenset[bytes] | None = None,
    add: Iterable[tuple[str, str]] = (),
) -> RawHeaders:
    """The header lines to store.

    Args:
        drop: the lower-case names of fields that are not stored.
        names: the `names_in` *lines*, if they are known.
        add: further fields to store.
    """
    dropped = _in_bytes(drop)
    if not add and dropped.isdisjoint(names_in(lines) if names is None else names):  # the common case
        return tuple(lines)
    return (
        *[(bytes(name), bytes(value)) for name, value in lines if name.lower() not in dropped],
        *[(name.encode(), value.encode()) for name, value in add],
    )


def reason_of(response: ClientResponse) -> bytes | None:
    """The reason phrase of *response*, in bytes as it arrived."""
    reason = response.reason
    return None if reason is None else reason.encode("utf-8", "surrogateescape")


def version_of(response: ClientResponse) -> tuple[int, int]:
    """The HTTP version of *response*."""
    version = response.version
    # One shared tuple for HTTP/1.1, so that the garbage collector has fewer objects to visit for entries in memory.
    return (1, 1) if version is None or version == (1, 1) else (version.major, version.minor)


def entry_of(response: ClientResponse, *, body: bytes, fresh_until: float = float("inf")) -> StoredResponse:
    """Make an entry, without a key and without Set-Cookie, from aiohttp's response and its body alone."""
    now = time.time()
    return StoredResponse(
        reason=reason_of(response),
        version=version_of(response),
        raw_headers=kept_lines(response.raw_headers, SET_COOKIE),
        key="",
        method=response.method,
        url=str(response.url),
        status=response.status,
        requested_at=now,
        received_at=now,
        created_at=now,
        fresh_until=fresh_until,
        store_until=fresh_until,
        body=body,
    )


@lru_cache(maxsize=64)
def _in_bytes(names: frozenset[str]) -> frozenset[bytes]:
    return frozenset(name.encode("utf-8", "surrogateescape") for name in names)
