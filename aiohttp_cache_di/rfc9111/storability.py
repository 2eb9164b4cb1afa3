"""Which responses may be stored, and what of them (RFC 9111 §3)."""

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
"""Statuses that may get a lifetime which the origin did not state (RFC 9110 §15.1)."""

UNDERSTOOD_STATUSES = frozenset(
    {*range(200, 207), *range(300, 304), 305, 307, 308, *range(400, 418), 421, 422, 426, *range(500, 506)}
) - {304}
"""Final statuses of RFC 9110, whose requirements on caches are kept here (for ``must-understand``)."""

CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since")
"""Fields that make a request conditional."""

CONDITIONAL_OR_RANGE = (*CONDITIONS, "If-Range", "Range")
"""Fields that ask for one caller's own answer."""

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
"""Fields of one connection or one proxy, which are never stored (RFC 9111 §3.1, RFC 9110 §7.6.1)."""

# Not of RFC 9111: a cookie set for one request must not be set again by a later one.
SET_COOKIE = frozenset({"set-cookie", "set-cookie2"})
_NEVER_STORED = HOP_BY_HOP | SET_COOKIE


def sets_cookie(headers: Headers) -> bool:
    """Whether a response sets a cookie, for the caller who has asked."""
    return any(name in headers for name in SET_COOKIE)


def why_not_storable(
    request: Request, status: int, headers: Headers, directives: ResponseDirectives, *, shared: bool
) -> Detail | None:
    """Why RFC 9111 §3 forbids to store a response, in a word or two; None when it allows it.

    Whether storing it is of any use (a lifetime, a validator) is another question.
    """
    if status < 200 or status == 304:
        return "status"
    if status in (412, 416) and any(name in request.headers for name in CONDITIONAL_OR_RANGE):
        return "answers-condition"  # it says nothing of the resource as such
    if status == 206 and not _is_single_part(request, headers):
        return "partial"
    return forbidding_directive(request, status, directives, shared=shared)


def forbidding_directive(
    request: Request, status: int, directives: ResponseDirectives, *, shared: bool
) -> Detail | None:
    """Which of *directives*, or the lack of which, forbids to store or to keep a response; None when none does."""
    if directives.must_understand:
        # A cache that knows the directive heeds it in place of no-store (RFC 9111 §5.2.2.3).
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
    # A coded part cannot be decoded by itself, so clients hand over something other than the bytes of that range.
    return request.method == "GET" and "Range" in request.headers and "Content-Encoding" not in headers


def _allows_shared_with_credentials(directives: ResponseDirectives) -> bool:
    """RFC 9111 §3.5."""
    return directives.must_revalidate or directives.public or directives.s_maxage_s is not None


def unstorable_fields(headers: Headers, directives: ResponseDirectives, *, shared: bool) -> frozenset[str]:
    """Names (lower case) of the fields of a response that must not be stored.

    Fields of the connection, those that Connection names, cookies being set, and the fields in ``no-cache="…"`` and
    (for a shared cache) ``private="…"``: left out, they are never reused without validation (RFC 9111 §5.2.2.4).
    """
    if _CONNECTION not in headers and not directives.no_cache_fields and not directives.private_fields:
        return _NEVER_STORED
    connection = combined(headers, _CONNECTION)
    names = set(_NEVER_STORED)
    names.update(name.lower() for name in split_list(connection or "") if is_token(name))
    # Never appropriate as a connection option (RFC 9110 §7.6.1), and what it says of storing must be kept.
    names.discard("cache-control")
    names |= directives.no_cache_fields
    if shared:
        names |= directives.private_fields
    return frozenset(names)
