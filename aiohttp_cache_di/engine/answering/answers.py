"""Making responses from stored entries: whole, 304, 206 or 416; and the 504 for a request that has no entry."""

from __future__ import annotations

import time
from typing import Any, assert_never, cast
from weakref import WeakKeyDictionary

from aiohttp import ClientRequest, ClientResponse, hdrs

from aiohttp_cache_di._aiohttp import hand_on_cookies, hand_on_traces
from aiohttp_cache_di.entries.fields import set_cookies
from aiohttp_cache_di.entries.filed import FiledPart, FiledResponse, with_body
from aiohttp_cache_di.policy.decisions import GatewayTimeout, NotModified, Partial, RangeNotSatisfiable, Reuse, Serve
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import RawHeaders, StoredResponse
from aiohttp_cache_di.rfc9111.ranges import content_range
from aiohttp_cache_di.rfc9111.validation import entity_tag
from aiohttp_cache_di.telemetry.reasons import FORWARDED

__all__ = ["answer_from", "cached_class_for", "gateway_timeout", "plain_answer"]

# The fields of a 304 (RFC 9110 §15.4.5), and Last-Modified, which origins send too and callers need for the next
# If-Modified-Since; other fields would describe a body that is not sent.
_SENT_WITH_304 = frozenset(
    {b"cache-control", b"content-location", b"date", b"etag", b"expires", b"last-modified", b"vary"}
)


def answer_from(reuse: Reuse, request: ClientRequest, *, standard: bool, cache_status: str = "") -> CachedResponse:
    """Make the response that *reuse* decides on.

    Args:
        standard: add Age and Cache-Status to the headers (RFC 9111 §4, RFC 9211).
        cache_status: replaces the one of *reuse*.
    """
    status = cache_status or reuse.cache_status
    extra: tuple[tuple[str, str], ...] = ()
    match reuse:
        case Serve():
            stored = reuse.stored
            if request.method == hdrs.METH_HEAD and (stored.body_bytes or stored.method != hdrs.METH_HEAD):
                stored = with_body(stored, b"", method=hdrs.METH_HEAD)
        case NotModified():
            lines = tuple(line for line in reuse.stored.raw_headers if line[0].lower() in _SENT_WITH_304)
            stored = with_body(
                reuse.stored, b"", method=request.method, status=304, reason=b"Not Modified", raw_headers=lines
            )
        case Partial():
            stored = _partial(reuse)
        case RangeNotSatisfiable():
            lines = ((b"Content-Range", content_range(None, None, reuse.complete_bytes).encode()),)
            lines += ((b"Content-Length", b"0"),)
            stored = with_body(reuse.stored, b"", status=416, reason=b"Range Not Satisfiable", raw_headers=lines)
        case _:
            assert_never(reuse)
    if standard:
        age = () if isinstance(reuse, RangeNotSatisfiable) else (("Age", str(reuse.age_s)),)
        extra = (*age, ("Cache-Status", status))
    response = _respond(stored, request, cache_status=status, extra_headers=extra)
    response.tell_how(_how(reuse, request), at=time.time())
    return response


def _how(reuse: Reuse, request: ClientRequest) -> str:
    """How the caller's condition or range was applied to the entry, in words; "" if it has none."""
    match reuse:
        case NotModified() if hdrs.IF_NONE_MATCH in request.headers:
            return f"the caller's {hdrs.IF_NONE_MATCH} has its ETag: {entity_tag(reuse.stored.headers)}"
        case NotModified():
            return f"it has not changed since the date in the caller's {hdrs.IF_MODIFIED_SINCE}"
        case Partial():
            of = "" if reuse.complete_bytes is None else f" of {reuse.complete_bytes}"
            return f"bytes {reuse.first}-{reuse.last}{of} are cut from it"
        case RangeNotSatisfiable():
            return f"the range lies beyond its {reuse.complete_bytes} bytes"
        case _:
            return ""


def plain_answer(stored: StoredResponse, request: ClientRequest, *, now: float, standard: bool) -> CachedResponse:
    """Make the response to a plain hit: as `answer_from`, but Age and Cache-Status are made when they are read."""
    return _respond(stored, request, served_at=now, standard=standard)


def gateway_timeout(decision: GatewayTimeout, request: ClientRequest, *, now: float, why: str) -> CachedResponse:
    """The 504 for a request that has ``only_if_cached`` and no usable entry (RFC 9111 §5.2.1.7).

    Args:
        why: why a stored response is not used, if that says more than the reason of *decision*.
    """
    body = f"The request may only be answered from the cache; {why or FORWARDED[decision.reason]}.".encode()
    stored = StoredResponse(
        key="",
        method=request.method,
        url=str(request.url),
        status=504,
        reason=b"Gateway Timeout",
        raw_headers=((b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", str(len(body)).encode())),
        requested_at=now,
        received_at=now,
        created_at=now,
        fresh_until=now,
        body=b"" if request.method == hdrs.METH_HEAD else body,
    )
    status = decision.cache_status
    return _respond(stored, request, cache_status=status, extra_headers=(("Cache-Status", status),))


def _partial(reuse: Partial) -> StoredResponse:
    first, length = reuse.first - reuse.body_at, reuse.last - reuse.first + 1
    body: bytes | FiledPart
    if isinstance(reuse.stored, FiledResponse):
        body = FiledPart(reuse.stored.file, first, length)
    else:
        body = reuse.stored.body[first : first + length]
    kept: RawHeaders = tuple(
        line for line in reuse.stored.raw_headers if line[0].lower() not in (b"content-range", b"content-length")
    )
    described = content_range(reuse.first, reuse.last, reuse.complete_bytes)
    lines = (*kept, (b"Content-Range", described.encode()), (b"Content-Length", str(length).encode()))
    return with_body(reuse.stored, body, status=206, reason=b"Partial Content", raw_headers=lines)


def _respond(
    stored: StoredResponse,
    request: ClientRequest,
    *,
    cache_status: str = "",
    extra_headers: tuple[tuple[str, str], ...] = (),
    served_at: float = 0.0,
    standard: bool = False,
) -> CachedResponse:
    """Make a response from *stored*, with the traces and cookies that aiohttp expects of a response to *request*."""
    response = cached_class_for(request.response_class).from_stored(
        stored,
        url=request.original_url,
        session=request.session,
        request_info=request.request_info,
        cache_status=cache_status,
        extra_headers=extra_headers,
        served_at=served_at,
        standard=standard,
    )
    hand_on_traces(request, response)
    cookies = set_cookies(stored)
    if cookies:
        hand_on_cookies(response, cookies)
    return response


def cached_class_for(response_class: type[ClientResponse]) -> type[CachedResponse]:
    """The class of hits for a session with *response_class*; it derives from that and from `CachedResponse`."""
    if response_class is ClientResponse:
        return CachedResponse
    found = _hit_classes.get(response_class)
    if found is None:
        found = response_class if issubclass(response_class, CachedResponse) else _both(response_class)
        _hit_classes[response_class] = found
    return found


_hit_classes: WeakKeyDictionary[type[ClientResponse], type[CachedResponse]] = WeakKeyDictionary()


def _both(response_class: type[ClientResponse]) -> type[CachedResponse]:
    own_init = response_class.__init__ is not ClientResponse.__init__
    bases: Any = (response_class, CachedResponse)
    return cast("type[CachedResponse]", type(f"Cached{response_class.__name__}", bases, {"_has_own_init": own_init}))
