"""What is known of a response, whoever gave it: turned into an entry, and back into what aiohttp would tell of it."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from aiohttp import ClientResponse, hdrs
from aiohttp.http_parser import HttpResponseParser, HttpResponseParserPy
from multidict import CIMultiDict, CIMultiDictProxy, istr

from aiohttp_cache_di._aiohttp import body_read_of
from aiohttp_cache_di.rfc9111.messages import StoredResponse

__all__ = ["as_datetime", "body_of", "entry_of", "expires_at", "parsed_fields", "set_cookies"]

# aiohttp's C parser spells the names that it knows in its own way, which whoever iterates over them sees.
_SPELLINGS: dict[bytes, str] = (
    {}
    if HttpResponseParser is HttpResponseParserPy
    else {name.lower().encode(): name for name in vars(hdrs).values() if isinstance(name, istr)}
)


def parsed_fields(stored: StoredResponse) -> CIMultiDictProxy[str]:
    """The header fields of *stored* as aiohttp would have parsed them; made once per entry."""
    memo = vars(stored)
    found: CIMultiDictProxy[str] | None = memo.get("fields")
    if found is None:
        fields: CIMultiDict[str] = CIMultiDict()
        for name, value in stored.raw_headers:
            spelling = _SPELLINGS.get(name.lower()) or name.decode("utf-8", "surrogateescape")
            fields.add(spelling, value.decode("utf-8", "surrogateescape"))
        memo["fields"] = found = CIMultiDictProxy(fields)
    return found


def set_cookies(stored: StoredResponse) -> tuple[str, ...]:
    """The values of Set-Cookie in *stored*, where the user has them stored; looked for once per entry."""
    memo = vars(stored)
    found: tuple[str, ...] | None = memo.get("set_cookies")
    if found is None:
        lines = (value for name, value in stored.raw_headers if name.lower() == b"set-cookie")
        memo["set_cookies"] = found = tuple(value.decode("utf-8", "surrogateescape") for value in lines)
    return found


def expires_at(stored: StoredResponse) -> datetime | None:
    """When *stored* stops being fresh, in UTC; None for never."""
    return as_datetime(stored.fresh_until, earliest=stored.received_at)


def as_datetime(at: float, *, earliest: float) -> datetime | None:
    """The POSIX time *at* as a datetime in UTC, no earlier than *earliest*; None for never."""
    if at == math.inf:
        return None
    try:
        return datetime.fromtimestamp(max(at, earliest), UTC)
    except (OverflowError, ValueError):  # beyond the year 9999: never, as far as anyone can tell
        return None


async def body_of(response: ClientResponse) -> bytes:
    """The body of *response*: what was read of it before it was given up, or else all there is to read."""
    body = body_read_of(response)
    return await response.read() if body is None else body


def entry_of(
    response: ClientResponse,
    *,
    body: bytes,
    key: str = "",
    fresh_until: float = float("inf"),
    drop: frozenset[str] = frozenset({"set-cookie", "set-cookie2"}),
) -> StoredResponse:
    """Make a stored entry from aiohttp's response, its body and nothing else.

    Args:
        drop: names, lower case, of header fields that are not stored.
    """
    now = time.time()
    reason = response.reason
    version = response.version
    return StoredResponse(
        key=key,
        method=response.method,
        url=str(response.url),
        status=response.status,
        reason=None if reason is None else reason.encode("utf-8", "surrogateescape"),
        version=(1, 1) if version is None else (version.major, version.minor),
        raw_headers=tuple(
            (bytes(name), bytes(value))
            for name, value in response.raw_headers
            if name.decode("ascii", "replace").lower() not in drop
        ),
        requested_at=now,
        received_at=now,
        created_at=now,
        fresh_until=fresh_until,
        store_until=fresh_until,
        body=body,
    )
