"""The header fields, cookies and expiry of an entry, as aiohttp would have parsed them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from aiohttp import hdrs
from aiohttp.http_parser import HttpResponseParser, HttpResponseParserPy
from multidict import CIMultiDict, CIMultiDictProxy, istr

from aiohttp_cache_di.rfc9111.messages import StoredResponse, decoded

__all__ = ["as_datetime", "expires_at", "parsed_fields", "set_cookies"]

# aiohttp's C parser has its own spelling for the names that it knows, which is visible when callers iterate over them.
_SPELLINGS: dict[str, str] = (
    {}
    if HttpResponseParser is HttpResponseParserPy
    else {name.lower(): name for name in vars(hdrs).values() if isinstance(name, istr)}
)
_SET_COOKIE: Final = hdrs.SET_COOKIE.lower().encode()  # aiohttp does not read Set-Cookie2


def parsed_fields(stored: StoredResponse) -> CIMultiDictProxy[str]:
    """The header fields of *stored* as aiohttp would have parsed them; memoised in the entry."""
    memo = vars(stored)
    found: CIMultiDictProxy[str] | None = memo.get("fields")
    if found is None:
        fields: CIMultiDict[str] = CIMultiDict()
        for name, value in decoded(stored.raw_headers):
            # A few other characters have lower-case letters of ASCII.
            spelling = _SPELLINGS.get(name.lower(), name) if name.isascii() else name
            fields.add(spelling, value)
        memo["fields"] = found = CIMultiDictProxy(fields)
    return found


def set_cookies(stored: StoredResponse) -> tuple[str, ...]:
    """The values of Set-Cookie in *stored*, which are there only with ``store_cookies``; memoised in the entry."""
    memo = vars(stored)
    found: tuple[str, ...] | None = memo.get("set_cookies")
    if found is None:
        lines = (value for name, value in stored.raw_headers if name.lower() == _SET_COOKIE)
        memo["set_cookies"] = found = tuple(value.decode("utf-8", "surrogateescape") for value in lines)
    return found


def expires_at(stored: StoredResponse) -> datetime | None:
    """When *stored* stops being fresh, or has done so, in UTC; None for never."""
    return as_datetime(stored.fresh_until, arrived_at=stored.received_at)


def as_datetime(at: float, *, arrived_at: float) -> datetime | None:
    """The POSIX time *at*, at which a response stops being fresh, as a datetime in UTC; None for never.

    Args:
        arrived_at: when it arrived, which stands for ``-inf``: each use of it needs a validation.
    """
    if at == math.inf:
        return None
    try:
        return datetime.fromtimestamp(arrived_at if at == -math.inf else max(at, 0.0), UTC)
    except (OverflowError, ValueError):  # beyond the year 9999, which counts as never
        return None
