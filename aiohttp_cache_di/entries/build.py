"""Entries made from aiohttp's responses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache

from aiohttp import ClientResponse

from aiohttp_cache_di._aiohttp import body_read_of
from aiohttp_cache_di.rfc9111.messages import RawHeaders, StoredResponse
from aiohttp_cache_di.rfc9111.storability import SET_COOKIE

__all__ = ["SET_COOKIE", "body_of", "entry_of", "kept_lines", "reason_of", "version_of"]


async def body_of(response: ClientResponse) -> bytes:
    """The body of *response*: what was read of it before it was given up, or else all there is to read."""
    body = body_read_of(response)
    return await response.read() if body is None else body


def kept_lines(lines: RawHeaders, drop: frozenset[str], *, add: Iterable[tuple[str, str]] = ()) -> RawHeaders:
    """The header lines to store.

    Args:
        drop: names, lower case, of those that are not.
        add: fields to store besides.
    """
    names = _in_bytes(drop)
    if not add and names.isdisjoint(map(bytes.lower, dict(lines))):  # as nearly always
        return tuple(lines)
    return (
        *[(bytes(name), bytes(value)) for name, value in lines if name.lower() not in names],
        *[(name.encode(), value.encode()) for name, value in add],
    )


def reason_of(response: ClientResponse) -> bytes | None:
    """The reason phrase of *response* as it came."""
    reason = response.reason
    return None if reason is None else reason.encode("utf-8", "surrogateescape")


def version_of(response: ClientResponse) -> tuple[int, int]:
    """The HTTP version of *response*."""
    version = response.version
    return (1, 1) if version is None else (version.major, version.minor)


def entry_of(response: ClientResponse, *, body: bytes, fresh_until: float = float("inf")) -> StoredResponse:
    """Make a stored entry, without a key and Set-Cookie, from aiohttp's response, its body and nothing else."""
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
