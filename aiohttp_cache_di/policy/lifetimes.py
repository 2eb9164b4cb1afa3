"""How long a response is fresh and how long it is kept, by the user's rules and the origin's directives."""

from __future__ import annotations

import math

from msgspec import Struct

from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.directives import RequestDirectives, ResponseDirectives, response_directives
from aiohttp_cache_di.rfc9111.freshness import (
    explicit_lifetime_s,
    heuristic_lifetime_s,
    initial_age_s,
    stating_field,
)
from aiohttp_cache_di.rfc9111.messages import END_OF_TIME, Request, Response, StoredResponse
from aiohttp_cache_di.rfc9111.storability import HEURISTIC_STATUSES
from aiohttp_cache_di.rfc9111.validation import has_validator

__all__ = [
    "Lifetime",
    "answers_others",
    "lifetime",
    "may_serve_stale",
    "stale_if_error_s",
    "stale_while_revalidate_s",
]

DEFAULT_GRACE_S = 86400.0
"""How long a stale response is kept, to be validated, or to be used if the origin cannot be reached."""
_NO_ERRORS = frozenset(status for status in HEURISTIC_STATUSES if status < 400)


class Lifetime(Struct, frozen=True, gc=False):
    """The times of a response that may be stored, as in `StoredResponse`."""

    fresh_until: float
    store_until: float


def lifetime(
    request: Request, response: Response, directives: ResponseDirectives, rules: Rules, told: list[str] | None = None
) -> Lifetime | None:
    """When the lifetime of *response* ends and when the store may drop it; None when storing it is of no use.

    Args:
        told: a list to which the source of the lifetime is added, in words.
    """
    if rules.cache_control:
        found = _by_standard(request, response, directives, rules, told)
    else:
        found = _by_rules(response, rules, told)
    if found is None or max(found.fresh_until, found.store_until) < END_OF_TIME or found.fresh_until == math.inf:
        return found
    return Lifetime(_at_most(found.fresh_until), _at_most(found.store_until))


def _at_most(until: float) -> float:
    return until if until < END_OF_TIME else math.inf


def _by_rules(response: Response, rules: Rules, told: list[str] | None) -> Lifetime | None:
    _tell(told, "expire_after", rules.lifetime_s)
    lifetime_s = math.inf if rules.lifetime_s is None else rules.lifetime_s
    if lifetime_s <= 0:
        return None
    fresh_until = _end_of(lifetime_s, response.received_at, rules)
    return Lifetime(
        fresh_until, fresh_until + max(rules.stale_if_error_s or 0.0, rules.stale_while_revalidate_s or 0.0)
    )


def _by_standard(
    request: Request, response: Response, directives: ResponseDirectives, rules: Rules, told: list[str] | None
) -> Lifetime | None:
    fresh_until, stated_s = _fresh_until(request, response, directives, rules, told)
    if fresh_until is None:
        return None
    is_useful = fresh_until > response.received_at
    if has_validator(response.headers):
        is_useful, grace_s = True, DEFAULT_GRACE_S
    else:
        grace_s = 0.0
    if _permits_stale(directives, shared=rules.shared):
        window_s = max(
            _window_s(directives.stale_if_error_s, rules.stale_if_error_s),
            _window_s(directives.stale_while_revalidate_s, rules.stale_while_revalidate_s),
        )
        states_none = stated_s is None and not is_useful
        # A response that states no lifetime is of use only within a stale window; an error is not even then.
        grace_s = window_s if states_none else max(DEFAULT_GRACE_S, window_s)
        has_window = window_s > 0 and (stated_s is not None or response.status in _NO_ERRORS)
        is_useful = is_useful or has_window or (stated_s is not None and stated_s > 0)
    if not is_useful:
        return None
    return Lifetime(fresh_until, max(fresh_until, response.received_at) + grace_s)


def _fresh_until(
    request: Request, response: Response, directives: ResponseDirectives, rules: Rules, told: list[str] | None
) -> tuple[float | None, float | None]:
    """When the lifetime ends (None: RFC 9111 §3 forbids to store it), and the lifetime that the origin stated."""
    headers, received_at = response.headers, response.received_at
    may_add = response.status in HEURISTIC_STATUSES or directives.public
    added_s = rules.lifetime_s if may_add else None
    if added_s is not None and rules.override_origin:
        _tell(told, "expire_after, which overrides the origin,", added_s)
        return (_end_of(added_s, received_at, rules), None) if added_s > 0 else (None, None)
    stated_s = explicit_lifetime_s(headers, directives, received_at=received_at, shared=rules.shared)
    if stated_s is None and not may_add and not (directives.private and not rules.shared):
        return None, None
    if directives.no_cache:
        _tell(told, "no-cache from the origin")
        return -math.inf, stated_s
    if stated_s is None and added_s is not None:
        _tell(told, "expire_after", added_s)
        return (_end_of(added_s, received_at, rules), None) if added_s > 0 else (None, None)
    age_s = initial_age_s(headers, requested_at=response.requested_at, received_at=received_at)
    if stated_s is not None:
        if told is not None:
            told.append(f"{stating_field(directives, shared=rules.shared)}={stated_s:g} from the origin")
        return received_at + stated_s - age_s, stated_s
    heuristic_s = _heuristic_s(request, response, rules) if may_add else 0.0
    _tell(told, "no lifetime from the origin; by heuristic_fraction since Last-Modified", heuristic_s)
    return received_at + heuristic_s - age_s, None


def _end_of(lifetime_s: float, received_at: float, rules: Rules) -> float:
    """When the user's lifetime ends: at the given date, or *lifetime_s* after the response was received."""
    return received_at + lifetime_s if rules.ends_at is None else rules.ends_at


def _tell(told: list[str] | None, what: str, seconds: float | None = None) -> None:
    if told is not None:
        told.append(what if seconds is None else f"{what} {'for ever' if seconds == math.inf else f'{seconds:g} s'}")


def _heuristic_s(request: Request, response: Response, rules: Rules) -> float:
    return heuristic_lifetime_s(
        response.headers,
        url=request.url,
        received_at=response.received_at,
        fraction=rules.heuristic_fraction,
        max_s=rules.heuristic_max_s,
        with_query=rules.heuristic_with_query,
    )


def _window_s(stated_s: float | None, own_s: float | None) -> float:
    """The stale window: as *stated_s* by the origin or the request, else the user's *own_s*."""
    return (own_s or 0.0) if stated_s is None else stated_s


def _permits_stale(directives: ResponseDirectives, *, shared: bool) -> bool:
    if directives.no_cache or directives.must_revalidate:
        return False
    # s-maxage implies proxy-revalidate (RFC 9111 §5.2.2.10).
    return not (shared and (directives.proxy_revalidate or directives.s_maxage_s is not None))


def may_serve_stale(stored: StoredResponse, rules: Rules) -> bool:
    """Whether *stored* may be used when stale (RFC 9111 §4.2.4)."""
    return not rules.cache_control or _permits_stale(response_directives(stored.headers), shared=rules.shared)


def stale_while_revalidate_s(stored: StoredResponse, rules: Rules) -> float:
    """How long *stored* may be used when stale while it is validated: as the origin says, else the user."""
    stated_s = response_directives(stored.headers).stale_while_revalidate_s if rules.cache_control else None
    return _window_s(stated_s, rules.stale_while_revalidate_s)


def stale_if_error_s(stored: StoredResponse, directives: RequestDirectives, rules: Rules) -> float:
    """How long *stored* may be used when stale instead of an error: by the request, else the origin, else the user."""
    if not rules.cache_control:
        return rules.stale_if_error_s or 0.0
    own_s = _window_s(response_directives(stored.headers).stale_if_error_s, rules.stale_if_error_s)
    return _window_s(directives.stale_if_error_s, own_s)


def answers_others(stored: StoredResponse, rules: Rules) -> bool:
    """Whether equal requests that wait for *stored* to come can use it or validate it, so that waiting pays."""
    return (
        stored.fresh_until > stored.received_at
        or has_validator(stored.headers)
        or stale_while_revalidate_s(stored, rules) > 0
    )
