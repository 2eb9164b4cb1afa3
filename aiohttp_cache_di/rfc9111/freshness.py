"""How old a response is and how long it stays fresh (RFC 9111 §4.2)."""

from __future__ import annotations

import math
from typing import Final

from multidict import istr

from aiohttp_cache_di.rfc9111.dates import parse_http_date
from aiohttp_cache_di.rfc9111.directives import ResponseDirectives
from aiohttp_cache_di.rfc9111.fields import MAX_DELTA_S, combined, parse_delta_s, single, split_list
from aiohttp_cache_di.rfc9111.messages import Headers, StoredResponse

__all__ = [
    "MAX_SKEW_S",
    "age_value_s",
    "current_age_s",
    "date_at",
    "explicit_lifetime_s",
    "heuristic_lifetime_s",
    "initial_age_s",
    "last_modified_at",
    "remaining_s",
    "stating_field",
    "whole_s",
]

_DATE: Final = istr("Date")
_AGE: Final = istr("Age")
_EXPIRES: Final = istr("Expires")
_LAST_MODIFIED: Final = istr("Last-Modified")

MAX_SKEW_S = 60.0
"""How much the clocks of machines that share a store may differ, in seconds."""

_INITIAL_AGE = "initial_age_s"


def date_at(headers: Headers, *, received_at: float) -> float:
    """When the origin generated the message: its Date, or *received_at* if that is absent, repeated or invalid.

    A recipient with a clock uses the time of receipt for a missing Date (RFC 9110 §6.6.1).
    """
    value = single(headers, _DATE)
    at = None if value is None else parse_http_date(value, now=received_at)
    return received_at if at is None else at


def last_modified_at(headers: Headers, *, now: float) -> float | None:
    """The POSIX time of Last-Modified; None if it is absent or invalid."""
    value = single(headers, _LAST_MODIFIED)
    return None if value is None else parse_http_date(value, now=now)


def age_value_s(headers: Headers) -> int:
    """The Age that came with the message: the first member of the field, 0 if absent or invalid (RFC 9111 §5.1)."""
    if _AGE not in headers:
        return 0
    members = split_list(combined(headers, _AGE) or "")
    return (parse_delta_s(members[0]) or 0) if members else 0


def initial_age_s(headers: Headers, *, requested_at: float, received_at: float) -> float:
    """The age at receipt, ``corrected_initial_age`` (RFC 9111 §4.2.3).

    A Date in the future, or a clock that was set back meanwhile, makes the age 0, not negative.
    """
    # Date has whole seconds: compare with a whole second, so that a response of this second has the age 0.
    apparent_age_s = math.floor(received_at) - date_at(headers, received_at=received_at)
    response_delay_s = max(0.0, received_at - requested_at)
    return max(0.0, apparent_age_s, age_value_s(headers) + response_delay_s)


def current_age_s(stored: StoredResponse, *, now: float) -> float:
    """Seconds since the origin generated or last validated *stored*, never negative (RFC 9111 §4.2.3).

    Args:
        now: POSIX time, UTC; if earlier than ``stored.received_at``, that is used.
    """
    received_at = stored.received_at
    # Memoised, because each hit needs it, and a stored response does not change.
    memo = vars(stored)
    age_s: float | None = memo.get(_INITIAL_AGE)
    if age_s is None:
        age_s = initial_age_s(stored.headers, requested_at=stored.requested_at, received_at=received_at)
        memo[_INITIAL_AGE] = age_s
    return age_s + now - received_at if now > received_at else age_s


def remaining_s(stored: StoredResponse, *, now: float) -> float:
    """Seconds for which *stored* is still fresh; negative once its lifetime is over.

    A response that was received more than `MAX_SKEW_S` after *now* was stored while a clock was wrong, so that its age
    is not known: it gets ``-inf``, unless it is fresh for ever.
    """
    left_s = stored.fresh_until - now
    return left_s if stored.received_at <= now + MAX_SKEW_S or left_s == math.inf else -math.inf


def explicit_lifetime_s(
    headers: Headers, directives: ResponseDirectives, *, received_at: float, shared: bool
) -> float | None:
    """The freshness lifetime in seconds that the origin states; None if it states none (RFC 9111 §4.2.1).

    s-maxage (in a shared cache) takes precedence over max-age, and that over Expires. An Expires that is repeated or
    invalid counts as past (RFC 9111 §5.3).

    Args:
        directives: the directives of *headers*.
    """
    if shared and directives.s_maxage_s is not None:
        return directives.s_maxage_s
    if directives.max_age_s is not None:
        return directives.max_age_s
    if _EXPIRES not in headers:
        return None
    value = single(headers, _EXPIRES)
    expires_at = None if value is None else parse_http_date(value, now=received_at)
    if expires_at is None:
        return 0.0
    return max(0.0, expires_at - date_at(headers, received_at=received_at))


def stating_field(directives: ResponseDirectives, *, shared: bool) -> str:
    """The name of the directive or field with the lifetime that `explicit_lifetime_s` returns."""
    if shared and directives.s_maxage_s is not None:
        return "s-maxage"
    return "max-age" if directives.max_age_s is not None else "Expires"


def heuristic_lifetime_s(
    headers: Headers, *, url: str, received_at: float, fraction: float, max_s: float, with_query: bool
) -> float:
    """The lifetime in seconds of a response that states none: *fraction* of the time since Last-Modified.

    0 without a Last-Modified in the past, and 0 for a URL with a query unless *with_query*: stricter than RFC 9111
    §4.2.2, because such URLs mostly address programs.

    Args:
        max_s: the longest lifetime.
    """
    modified_at = last_modified_at(headers, now=received_at)
    if modified_at is None or (not with_query and url.partition("?")[2]):
        return 0.0
    unmodified_s = date_at(headers, received_at=received_at) - modified_at
    return min(max(0.0, unmodified_s) * fraction, max_s)


def whole_s(seconds: float) -> int:
    """*seconds* rounded down, for a field with an integer; between plus and minus `MAX_DELTA_S`."""
    return math.floor(seconds) if -MAX_DELTA_S < seconds < MAX_DELTA_S else int(math.copysign(MAX_DELTA_S, seconds))
