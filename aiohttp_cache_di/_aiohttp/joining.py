"""Putting a stored part of a body before the rest of it that a response brings."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import ClientResponse, StreamReader, hdrs
from multidict import CIMultiDict, CIMultiDictProxy

from aiohttp_cache_di._aiohttp.names import Needs, can

__all__ = ["can_prepend", "prepend"]

_CAN: Final = can(Needs.PARTS)


def can_prepend(response: ClientResponse) -> bool:
    """Whether `prepend` can be used on *response*."""
    return _CAN and isinstance(response.content, StreamReader) and response.content.exception() is None


def prepend(response: ClientResponse, body: bytes, *, complete_bytes: int) -> None:
    """Turn *response*, a 206 of which nothing has been read, into a 200 whose body is *body* and then its own.

    Args:
        complete_bytes: the length of both together.
    """
    described = {hdrs.CONTENT_RANGE, hdrs.CONTENT_LENGTH}
    headers = CIMultiDict((name, value) for name, value in response.headers.items() if name.title() not in described)
    headers[hdrs.CONTENT_LENGTH] = str(complete_bytes)
    lines = tuple(line for line in response.raw_headers if line[0].title().decode("latin-1") not in described)
    response.status, response.reason = 200, "OK"
    response._headers = CIMultiDictProxy(headers)
    response._raw_headers = (*lines, (b"Content-Length", str(complete_bytes).encode()))
    response._cache.clear()  # values computed from the head
    stream: Any = response.content
    stream._buffer.appendleft(body)
    stream._size += len(body)
    stream._cursor -= len(body)
