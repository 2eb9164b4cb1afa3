"""Which responses may be stored, and which of their header fields (RFC 9111 §3)."""

from __future__ import annotations

from typing import Final

from multidict import istr

from aiohttp_cache_di.rfc9111.cache_status import Detail
from aiohttp_cache_di.rfc9111.directives import ResponseDirectives
from aiohttp_cache_di.rfc9111.fields import combined, is_token, split_list
from aiohttp_cache_di.rfc9111.messages import Headers, Request

__all__ = [
    "CONDITIONAL_OR_RANGE",
    "CONDITIONS",
    "HEURISTIC_STATUSES",
    "HOP_BY_HOP",
    "SET_COOKIE",
    "UNDERSTOOD_STATUSES",
    "forbidding_directive",
    "sets_cookie",
    "unstorable_fields",
    "why_not_storable",
]

_CONNECTION: Final = istr("Connection")
_AUTHORIZATION: Final = istr("Authorization")

HEURISTIC_STATUSES = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses of responses that may get a heuristic lifetime (RFC 9110 §15.1)."""

UNDERSTOOD_STATUSES = frozenset(
    {*range(200, 207), *range(300, 304), 305, 307, 308, *range(400, 418), 421, 422, 426, *range(500, 506)}
) - {304}
"""Final statuses of RFC 9110, whose caching requirements this package implements (for ``must-understand``)."""

CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since")
"""Fields that make a request conditional."""

CONDITIONAL_OR_RANGE = (*CONDITIONS, "If-Range", "Range")
"""Fields that make the response depend on what the caller has already."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields for one connection or one proxy, which are never stored (RFC 9111 §3.1, RFC 9110 §7.6.1)."""

# Not in RFC 9111: a cookie that was set for one request must not be set again for a later one.
SET_COOKIE = frozenset({"set-cookie", "set-cookie2"})
_NEVER_STORED = HOP_BY_HOP | SET_COOKIE


def sets_cookie(headers: Headers) -> bool:
    """Whether a response sets a cookie."""
    return any(name in headers for name in SET_COOKIE)


def why_not_storable(
    request: Request, status: int, headers: Headers, directives: ResponseDirectives, *, shared: bool
) -> Detail | None:
    """Why RFC 9111 §3 forbids storing a response, as a detail of Cache-Status; None if it allows it.

    Whether storing it is useful (it has a lifetime or a validator) is not considered here.
    """
    if status < 200 or status == 304:
        return "status"
    if status in (412, 416) and any(name in request.headers for name in CONDITIONAL_OR_RANGE):
        return "answers-condition"  # it concerns this request's condition, not the resource
    if status == 206 and not _is_single_part(request, headers):
        return "partial"
    return forbidding_directive(request, status, directives, shared=shared)


def forbidding_directive(
    request: Request, status: int, directives: ResponseDirectives, *, shared: bool
) -> Detail | None:
    """The directive that forbids storing a response, or "authorization" if one is missing; None if it is allowed."""
    if directives.must_understand:
        # A cache that knows must-understand applies it instead of no-store (RFC 9111 §5.2.2.3).
        if status not in UNDERSTOOD_STATUSES:
            return "must-understand"
    elif directives.no_store:
        return "no-store"
    if shared and directives.private:
        return "private"
    if shared and _AUTHORIZATION in request.headers and not _allows_shared_with_credentials(directives):
        return "authorization"
    return None


def _is_single_part(request: Request, headers: Headers) -> bool:
    # A part of a coded body cannot be decoded by itself, so the client's bytes are not those of the range.
    return request.method == "GET" and "Range" in request.headers and "Content-Encoding" not in headers


def _allows_shared_with_credentials(directives: ResponseDirectives) -> bool:
    """Whether a shared cache may store a response to a request with Authorization (RFC 9111 §3.5)."""
    return directives.must_revalidate or directives.public or directives.s_maxage_s is not None


def unstorable_fields(headers: Headers, directives: ResponseDirectives, *, shared: bool) -> frozenset[str]:
    """The lower-case names of the fields of a response that must not be stored.

    These are the hop-by-hop fields, those that Connection names, Set-Cookie, and the fields in ``no-cache="…"`` and (in
    a shared cache) ``private="…"``: if they are not stored, they cannot be reused without validation (RFC 9111
    §5.2.2.4).
    """
    if _CONNECTION not in headers and not directives.no_cache_fields and not directives.private_fields:
        return _NEVER_STORED
    connection = combined(headers, _CONNECTION)
    names = set(_NEVER_STORED)
    names.update(name.lower() for name in split_list(connection or "") if is_token(name))
    # Cache-Control is never a connection option (RFC 9110 §7.6.1), and its directives must be stored.
    names.discard("cache-control")
    names |= directives.no_cache_fields
    if shared:
        names |= directives.private_fields
    return frozenset(names)
