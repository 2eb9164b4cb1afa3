"""What to do with a request: answer it from the store, validate first, or send it on (RFC 9111 §4)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from multidict import CIMultiDict

from aiohttp_cache_di.policy.decisions import (
    Bypass,
    Fetch,
    GatewayTimeout,
    NotModified,
    Partial,
    Plan,
    RangeNotSatisfiable,
    RequestDecision,
    Reuse,
    Validate,
)
from aiohttp_cache_di.policy.lifetimes import may_serve_stale, stale_while_revalidate_s
from aiohttp_cache_di.policy.parts import asks_for_rest
from aiohttp_cache_di.policy.requests.reuse import answer_from, serve, why_usable
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.policy.tracing import Because, Trace, freshness, note
from aiohttp_cache_di.rfc9111.cache_status import FwdReason, generated
from aiohttp_cache_di.rfc9111.directives import (
    NO_DIRECTIVES,
    RequestDirectives,
    request_directives,
)
from aiohttp_cache_di.rfc9111.freshness import remaining_s
from aiohttp_cache_di.rfc9111.messages import Headers, Request, StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.storability import CONDITIONAL_OR_RANGE, CONDITIONS
from aiohttp_cache_di.rfc9111.validation import candidate_tag, conditions

__all__ = [
    "NEEDING_POLICY",
    "PRIVATE_TO_CALLER",
    "background_plan",
    "is_off",
    "may_be_cached",
    "needs_policy",
    "on_request",
    "own_conditions",
]

_CACHEABLE_METHODS = frozenset({"GET", "HEAD", "QUERY"})
_QUERYING = {True: frozenset({"QUERY", "POST"}), False: frozenset({"QUERY"})}
"""Methods whose body is a query, by `Rules.cache_control`; without it, the user decides about POST."""

PRIVATE_TO_CALLER = frozenset(map(str.lower, CONDITIONAL_OR_RANGE))
"""Request fields (lower case) that ask for an answer to one caller only, so background requests leave them out."""

NEEDING_POLICY = PRIVATE_TO_CALLER | {"cache-control", "pragma"}
"""Request fields (lower case) that a plain hit does not support."""

Candidates = Sequence[StoredResponse | VariantRef]


def needs_policy(headers: Headers) -> bool:
    """Whether *headers* contain a field that a plain hit does not support."""
    return not NEEDING_POLICY.isdisjoint(map(str.lower, headers))


def own_conditions(headers: Headers) -> bool:
    """Whether the caller makes the request conditional."""
    return any(name in headers for name in CONDITIONS)


def on_request(
    request: Request,
    stored: StoredResponse | None,
    rules: Rules,
    *,
    now: float,
    candidates: Candidates = (),
    trace: Trace | None = None,
) -> RequestDecision:
    """Decide about *request*.

    Args:
        stored: the stored response that the request selects (`select_variant`), or None.
        now: POSIX time, UTC.
        candidates: what else is stored for the URL; the entity tags are offered when *stored* is None.
        trace: records the questions that led to the decision.
    """
    method = request.method
    if not may_be_cached(method, rules):
        note(trace, "method", False, f"{method} is not cached here")
        return _forward(Bypass("method"), _only_if_cached(request, rules), trace, "only_bypass")
    if method in _QUERYING[rules.cache_control] and "Content-Type" not in request.headers:
        # The type of the query is part of its cache key (RFC 10008 §2.7).
        note(trace, "method", False, f"a {method} without Content-Type does not say what it asks for")
        return _forward(Bypass("request"), _only_if_cached(request, rules), trace, "only_bypass")
    if is_off(rules):
        note(trace, "method", False, "expire_after=0: nothing is cached")
        return _forward(Bypass("bypass"), _only_if_cached(request, rules), trace, "only_bypass")
    if trace is not None:
        note(trace, "method", True, f"{method} is cached")
    if rules.cache_control:
        return _by_standard(request, stored, rules, now, candidates, trace)
    return _by_rules(request, stored, rules, now, trace)


def is_off(rules: Rules) -> bool:
    """Whether a lifetime of 0 set by the user turns the cache off."""
    return rules.lifetime_s == 0 and (rules.override_origin or not rules.cache_control)


def may_be_cached(method: str, rules: Rules) -> bool:
    """Whether responses to *method* may be cached.

    QUERY is as safe and cacheable as GET (RFC 10008 §2), so allowing GET allows QUERY. POST is neither, except where
    the user says that it is used as a query.
    """
    if not rules.cache_control:
        return method in rules.allowed_methods
    if method == "POST":
        return rules.post_as_query
    return method in _CACHEABLE_METHODS and (method in rules.allowed_methods or _is_allowed_with_get(method, rules))


def _is_allowed_with_get(method: str, rules: Rules) -> bool:
    return method == "QUERY" and "GET" in rules.allowed_methods


def _only_if_cached(request: Request, rules: Rules) -> bool:
    """Whether the caller accepts a stored response only: by its option or, with cache_control, by Cache-Control."""
    return rules.only_if_cached or (rules.cache_control and request_directives(request.headers).only_if_cached)


def _forward(plan: Bypass | Plan, only_if_cached: bool, trace: Trace | None, question: str = "only") -> RequestDecision:
    if trace is not None:
        _note_plan(trace, plan, only_if_cached, question)
    return GatewayTimeout(plan.reason, generated("only-if-cached")) if only_if_cached else plan


def _note_plan(trace: Trace, plan: Bypass | Plan, only_if_cached: bool, question: str) -> None:
    note(trace, question, only_if_cached)
    if only_if_cached:
        return
    completes = isinstance(plan, Validate) and plan.completes
    if question != "only_bypass":
        note(trace, "rest_too" if question == "only" else "rest", completes, _offered(plan) if completes else "")
    if question == "only" and not completes:
        note(trace, "askable", isinstance(plan, Validate), _offered(plan))


def _offered(plan: Bypass | Plan) -> str:
    """The conditions sent to the origin, or why there are none, in words."""
    if isinstance(plan, Validate):
        return ", ".join(f"{name}: {value}" for name, value in plan.headers)
    is_stored = isinstance(plan, Fetch) and plan.stored is not None
    return "no validator is stored, or the request has a condition of its own" if is_stored else "nothing is stored"


def _why_not_selected(stored: StoredResponse | None, candidates: Candidates) -> Because:
    if stored is not None:
        return "what is stored has no body, or is a part"
    return "what is stored is for other header fields" if candidates else "nothing is stored for it"


def _is_usable(request: Request, stored: StoredResponse) -> bool:
    # A HEAD response has no body to answer anything else with (RFC 9110 §9.3.2).
    return stored.method == request.method or stored.method != "HEAD"


def _by_rules(
    request: Request, stored: StoredResponse | None, rules: Rules, now: float, trace: Trace | None
) -> RequestDecision:
    """Decide by the user's rules alone: by lifetime; conditions and ranges of the caller go to the origin."""
    headers = request.headers
    if needs_policy(headers) and (
        request_directives(headers).no_store or own_conditions(headers) or "Range" in headers
    ):
        note(trace, "request", True, "no-store, a condition or a range of the request's own")
        return _forward(Bypass("request"), rules.only_if_cached, trace, "only_bypass")
    if trace is not None:
        note(trace, "request", False)
    if stored is None or not _is_usable(request, stored) or stored.status == 206:
        if trace is not None:
            note(trace, "selected", False, _why_not_selected(stored, ()))
        return _forward(Fetch("uri-miss"), rules.only_if_cached, trace)
    note(trace, "selected", True)
    past_s = -remaining_s(stored, now=now)
    if not rules.refresh:
        is_within = past_s >= 0 and past_s < stale_while_revalidate_s(stored, rules)
        note(trace, "usable", past_s < 0 or is_within, lambda: freshness(stored, rules, now))
        if past_s < 0:
            return serve(stored, now=now)
        if is_within:
            return serve(stored, now=now, detail="stale-while-revalidate", revalidate=not rules.only_if_cached)
    else:
        note(trace, "usable", False, "refresh=True")
    asked = conditions(stored)
    fallback = stored if rules.stale_if_error_s is not None and not rules.refresh else None
    if rules.refresh and asked:
        return _forward(Validate(stored, asked, "request"), rules.only_if_cached, trace)
    reason: FwdReason = "request" if rules.refresh else "stale"
    return _forward(Fetch(reason, fallback, stored=stored), rules.only_if_cached, trace)


def _by_standard(
    request: Request,
    stored: StoredResponse | None,
    rules: Rules,
    now: float,
    candidates: Candidates,
    trace: Trace | None,
) -> RequestDecision:
    directives = request_directives(request.headers)
    if rules.refresh:
        directives = replace(directives, no_cache=True, max_stale_s=None)
    only_if_cached = rules.only_if_cached or directives.only_if_cached
    is_kept_out = directives.no_store and not only_if_cached
    is_selected = stored is not None and _is_usable(request, stored)
    if trace is not None:
        note(trace, "no_store", is_kept_out)
        if not is_kept_out:
            note(trace, "selected", is_selected, "" if is_selected else _why_not_selected(stored, candidates))
    if is_kept_out:
        return Bypass("request")
    if stored is None or not is_selected:
        return _forward(_miss(request, candidates), only_if_cached, trace)
    use = why_usable(stored, directives, rules, now, trace)
    if use is not None:
        revalidate = use == "stale-while-revalidate" and not only_if_cached
        answer = answer_from(request, stored, now=now, detail=use or None, revalidate=revalidate)
        _note_answer(trace, answer)
        if answer is not None:
            return answer
        if stored.status != 206:
            return _forward(Fetch("bypass", stored=stored), only_if_cached, trace, "only_fetch")
        rest = asks_for_rest(request, stored, "partial")
        return _forward(rest or Fetch("partial", stored=stored), only_if_cached, trace, "only_fetch")
    return _forward(_validation(request, stored, directives, rules, now, candidates), only_if_cached, trace)


def _note_answer(trace: Trace | None, answer: Reuse | None) -> None:
    note(trace, "answers", answer is not None)
    if answer is None:
        return
    note(trace, "unmodified", isinstance(answer, NotModified))
    if not isinstance(answer, NotModified):
        is_range = isinstance(answer, Partial | RangeNotSatisfiable)
        note(trace, "ranged", is_range)
        if is_range:
            note(trace, "satisfiable", isinstance(answer, Partial))


def _miss(request: Request, candidates: Candidates) -> Plan:
    if not candidates:
        return Fetch("uri-miss")
    tags = _tags(candidates)
    # Offer the validators of other variants, so that a stored body is not sent again (RFC 9111 §4.1).
    if tags and not own_conditions(request.headers) and "Range" not in request.headers:
        return Validate(None, conditions(None, tags), "vary-miss")
    return Fetch("vary-miss")


def _tags(candidates: Candidates) -> tuple[str, ...]:
    tags = [
        candidate_tag(candidate)
        for candidate in candidates
        if isinstance(candidate, VariantRef) or candidate.status == 200
    ]
    return tuple(tag for tag in tags if tag is not None)


def _validation(
    request: Request,
    stored: StoredResponse,
    directives: RequestDirectives,
    rules: Rules,
    now: float,
    candidates: Candidates,
) -> Plan:
    reason: FwdReason = "request" if remaining_s(stored, now=now) > 0 else "stale"
    may_answer = answer_from(request, stored, now=now) is not None
    is_replaceable = may_answer and not directives.no_cache and may_serve_stale(stored, rules)
    fallback = stored if is_replaceable else None
    rest = None if directives.no_cache or rules.refresh else asks_for_rest(request, stored, reason)
    if rest is not None:
        return rest
    asked = conditions(stored, _tags(candidates))
    if not asked or not may_answer or own_conditions(request.headers):
        return Fetch(reason, fallback, stored=stored)
    return Validate(stored, asked, reason, fallback)


def background_plan(request: Request, stored: StoredResponse, rules: Rules, *, now: float) -> Plan:
    """How to update *stored* after it was served stale; the request is sent without `PRIVATE_TO_CALLER`."""
    headers = CIMultiDict((n, v) for n, v in request.headers.items() if n.lower() not in PRIVATE_TO_CALLER)
    plain = Request(request.method, request.url, headers)
    if rules.cache_control:
        return _validation(plain, stored, NO_DIRECTIVES, rules, now, ())
    return Fetch("stale", stored=stored)
