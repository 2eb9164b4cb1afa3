"""Redirects that are stored for the sake of what they lead to: when they may be used."""

from __future__ import annotations

from aiohttp_cache_di.policy.decisions import Fetch, GatewayTimeout, Rules
from aiohttp_cache_di.policy.rules import is_redirect
from aiohttp_cache_di.rfc9111.cache_status import generated
from aiohttp_cache_di.rfc9111.directives import response_directives
from aiohttp_cache_di.rfc9111.freshness import current_age_s, explicit_lifetime_s
from aiohttp_cache_di.rfc9111.messages import Headers, StoredResponse

__all__ = ["hop_anew", "leads_on", "may_be_used_alone"]


def leads_on(status: int, headers: Headers) -> bool:
    """Whether aiohttp goes on from a response to another URL."""
    return is_redirect(status) and "Location" in headers


def may_be_used_alone(stored: StoredResponse, rules: Rules, *, now: float) -> bool:
    """Whether *stored* may be used whatever it leads to.

    By the user's rules alone a redirect is kept without a word of the origin's that it will hold: it may lead to a URL
    that is good for one request. So it is used for as long as the origin itself says, and beyond that only together
    with the response that it leads to.
    """
    headers = stored.headers
    if rules.cache_control or not leads_on(stored.status, headers):
        return True
    if response_directives(headers).no_cache:
        return False
    stated_s = explicit_lifetime_s(headers, received_at=stored.received_at, shared=rules.shared)
    return stated_s is not None and current_age_s(stored, now=now) < stated_s


def hop_anew(stored: StoredResponse, rules: Rules) -> Fetch | GatewayTimeout:
    """What to do in place of using the redirect *stored* without what it leads to."""
    return GatewayTimeout("miss", generated("only-if-cached")) if rules.only_if_cached else Fetch("miss", stored=stored)
