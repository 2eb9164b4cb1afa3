"""What to do with a response from the origin: store it, use it on what is stored, or hand it on (RFC 9111 §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace
from multidict import CIMultiDict, istr

from aiohttp_cache_di.policy.decisions import (
    Complete,
    Fetch,
    Pass,
    Plan,
    Refetch,
    ResponseDecision,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.lifetimes import lifetime
from aiohttp_cache_di.policy.parts import completes
from aiohttp_cache_di.policy.requests.redirects import leads_on
from aiohttp_cache_di.policy.requests.request import is_off
from aiohttp_cache_di.policy.responses.failure import ERROR_STATUSES, on_failure
from aiohttp_cache_di.policy.responses.not_modified import on_not_modified
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.cache_status import Detail, forwarded
from aiohttp_cache_di.rfc9111.dates import format_http_date
from aiohttp_cache_di.rfc9111.directives import ResponseDirectives, response_directives
from aiohttp_cache_di.rfc9111.fields import single
from aiohttp_cache_di.rfc9111.freshness import explicit_lifetime_s
from aiohttp_cache_di.rfc9111.invalidation import is_same_url
from aiohttp_cache_di.rfc9111.messages import Headers, Request, Response, StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.ranges import may_combine, parse_content_range
from aiohttp_cache_di.rfc9111.storability import sets_cookie, unstorable_fields, why_not_storable
from aiohttp_cache_di.rfc9111.validation import entity_tag
from aiohttp_cache_di.rfc9111.vary import VARIES_ON_ALL, vary_digest, vary_fields

__all__ = ["may_answer_get", "on_post_response", "on_response"]

_DATE: Final = istr("Date")

# Statuses that may be due to our condition in the request, which the caller has not sent.
_REFUSING = frozenset({400, 412, 413, 431})

# Statuses that describe the current state of the resource, so that the stored response is outdated.
_OUTDATING = frozenset({*range(200, 206), *range(300, 304), 307, 308, 404, 410})


def on_response(
    request: Request,
    response: Response,
    plan: Plan,
    rules: Rules,
    *,
    now: float,
    candidates: Sequence[StoredResponse | VariantRef] = (),
) -> ResponseDecision:
    """Decide about the origin's *response* to *plan*.

    Args:
        request: the caller's, without the conditions that the plan added.
        now: POSIX time, UTC; at or after ``response.received_at``.
        candidates: the known stored responses for the URL; ``plan.stored`` counts as one of them.
    """
    stored = plan.stored
    if stored is not None:
        # First, because variants may share a weak tag, and the request selects this one.
        candidates = (stored, *(candidate for candidate in candidates if candidate.key != stored.key))
    if response.status == 304:
        return on_not_modified(request, response, plan, rules, now=now, candidates=candidates)
    if isinstance(plan, Validate) and response.status in _REFUSING:
        return Refetch()
    if isinstance(plan, Validate) and plan.completes and response.status in (206, 416):
        return _complete(request, response, plan, rules)
    if response.status in ERROR_STATUSES:
        stale = on_failure(plan, rules, request, now=now, is_reachable=True)
        if stale is not None:
            return stale
    return _store_or_pass(request, response, plan, rules)


def _store_or_pass(
    request: Request, response: Response, plan: Plan, rules: Rules, *, sent: Request | None = None
) -> Store | Pass:
    """Whether to store *response* itself.

    Args:
        sent: the request as it was sent, if the conditions of *plan* affect whether the response may be stored.
    """
    headers = response.headers
    directives, fields = response_directives(headers), vary_fields(headers)
    why_not = _why_not(sent or request, response, directives, fields, rules)
    if why_not is not None:
        return _pass(request, plan, response.status, why_not)
    return _store(request, response, directives, fields, plan, rules)


def _complete(request: Request, response: Response, plan: Validate, rules: Rules) -> Complete | Refetch:
    stored, length = plan.stored, single(response.headers, "Content-Length")
    if stored is None or length is None or not completes(stored, response):
        return Refetch()  # it is of another representation, or not the range that was requested
    headers = CIMultiDict(request.headers)
    headers.update(plan.headers)
    then = _store_or_pass(request, response, plan, rules, sent=replace(request, headers=headers))
    return Complete(stored, len(stored.body) + int(length), then)


def may_answer_get(request: Request, rules: Rules) -> bool:
    """Whether the response to *request* may be stored for GET; see `on_post_response`."""
    return rules.cache_control and request.method == "POST" and "GET" in rules.allowed_methods and not is_off(rules)


def on_post_response(request: Request, response: Response, rules: Rules) -> tuple[Request, Store] | None:
    """The GET request that the response to a POST request answers, and how to store it; None if it answers none.

    It answers GET if its Content-Location is the target's own URL and it states a lifetime (RFC 9110 §9.3.3). It never
    answers another POST.
    """
    headers = response.headers
    if not may_answer_get(request, rules):
        return None
    reference = single(headers, "Content-Location")
    stated_s = explicit_lifetime_s(
        headers, response_directives(headers), received_at=response.received_at, shared=rules.shared
    )
    if not 200 <= response.status < 300 or response.status == 206 or not reference or not stated_s:
        return None
    if not is_same_url(request.url, reference):
        return None
    get = replace(request, method="GET")
    decision = on_response(get, response, Fetch("method"), rules, now=response.received_at)
    return (get, decision) if isinstance(decision, Store) else None


def _store(
    request: Request,
    response: Response,
    directives: ResponseDirectives,
    fields: tuple[str, ...],
    plan: Plan,
    rules: Rules,
) -> Store | Pass:
    headers, stored = response.headers, plan.stored
    times = lifetime(request, response, directives, rules)
    if times is None:
        return _pass(request, plan, response.status, "no-lifetime")
    if response.status == 206 and stored is not None and stored.status == 200:
        # A part must not take the place of the whole, unless the whole is of another state of the resource.
        return Pass("partial", forwarded(plan.reason, detail="partial"), forget=_differ(stored.headers, headers))
    return Store(
        drop=unstorable_fields(headers, directives, shared=rules.shared),
        fresh_until=times.fresh_until,
        store_until=times.store_until,
        vary_fields=fields,
        vary_digest=vary_digest(fields, request.selecting_headers, rules.digest_key),
        cache_status=forwarded(plan.reason),
        # A recipient with a clock adds the Date that is missing to what it stores (RFC 9110 §6.6.1).
        add=() if _DATE in headers or not rules.cache_control else (("Date", format_http_date(response.received_at)),),
        combine_with=stored if response.status == 206 and stored is not None and may_combine(stored, headers) else None,
    )


def _why_not(
    request: Request, response: Response, directives: ResponseDirectives, fields: tuple[str, ...], rules: Rules
) -> Detail | None:
    status, headers = response.status, response.headers
    # Part of a login or logout: the request that follows needs the cookie.
    if leads_on(status, headers) and sets_cookie(headers) and not rules.replays_cookies:
        return "set-cookie"
    if rules.allowed_codes is not None and status not in rules.allowed_codes and not _is_plain_hop(response, rules):
        return "status"
    why_not = why_not_storable(request, status, headers, directives, shared=rules.shared)
    if why_not is not None:
        return why_not
    if status == 206:
        value = single(headers, "Content-Range")
        if not rules.cache_control or value is None or parse_content_range(value) is None:
            return "partial"
    # No request could ever select it.
    return "vary" if fields == VARIES_ON_ALL else None


def _is_plain_hop(response: Response, rules: Rules) -> bool:
    """Whether *response* is a redirect, which is stored although ``allowed_codes`` does not list it."""
    return leads_on(response.status, response.headers) and not rules.cache_control


def _pass(request: Request, plan: Plan, status: int, why: Detail) -> Pass:
    forget = plan.stored is not None and plan.stored.method == request.method and status in _OUTDATING
    return Pass(why, forwarded(plan.reason, detail=why), forget=forget, is_lasting=status < 500)


def _differ(one: Headers, other: Headers) -> bool:
    tags = entity_tag(one), entity_tag(other)
    return None not in tags and tags[0] != tags[1]
