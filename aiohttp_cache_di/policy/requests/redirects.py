"""When a stored redirect may be used."""

from __future__ import annotations

from typing import Final

from multidict import istr

from aiohttp_cache_di.policy.decisions import Fetch, GatewayTimeout
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.cache_status import generated
from aiohttp_cache_di.rfc9111.directives import response_directives
from aiohttp_cache_di.rfc9111.freshness import current_age_s, explicit_lifetime_s
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, Headers, StoredResponse

__all__ = ["hop_anew", "is_fresh_by_origin", "leads_on", "may_be_used_alone"]

_LOCATION: Final = istr("Location")


def leads_on(status: int, headers: Headers) -> bool:
    """Whether aiohttp follows the response to another URL."""
    return status in REDIRECTS and _LOCATION in headers


def may_be_used_alone(stored: StoredResponse, rules: Rules, *, now: float) -> bool:
    """Whether *stored* may be used even if the response that it leads to is not stored.

    A redirect that is kept by a lifetime of the user's may lead to a URL that is valid only once. So it is used alone
    only as long as the origin itself says, and otherwise only together with the stored response that it leads to.
    """
    if not leads_on(stored.status, stored.headers):
        return True
    if rules.cache_control and now >= stored.fresh_until:  # stale use was allowed, so the origin need only state one
        return _stated_s(stored, shared=rules.shared) is not None
    return is_fresh_by_origin(stored, now=now, shared=rules.shared)


def is_fresh_by_origin(stored: StoredResponse, *, now: float, shared: bool) -> bool:
    """Whether *stored* is fresh by the origin's own directives."""
    stated_s = _stated_s(stored, shared=shared)
    return stated_s is not None and current_age_s(stored, now=now) < stated_s


def _stated_s(stored: StoredResponse, *, shared: bool) -> float | None:
    directives = response_directives(stored.headers)
    if directives.no_cache:
        return None
    return explicit_lifetime_s(stored.headers, directives, received_at=stored.received_at, shared=shared)


def hop_anew(stored: StoredResponse, rules: Rules) -> Fetch | GatewayTimeout:
    """What to do instead of using the redirect *stored* alone."""
    return GatewayTimeout("miss", generated("only-if-cached")) if rules.only_if_cached else Fetch("miss", stored=stored)
