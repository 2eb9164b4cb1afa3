"""Whether a stored response may be used without validation, and how it answers a request (RFC 9111 §4)."""

from __future__ import annotations

import math
from typing import Literal

from aiohttp_cache_di.policy.decisions import NotModified, Partial, RangeNotSatisfiable, Reuse, Serve
from aiohttp_cache_di.policy.lifetimes import may_serve_stale, stale_while_revalidate_s
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.policy.tracing import Trace, freshness, length_of, note
from aiohttp_cache_di.rfc9111.cache_status import Detail, hit
from aiohttp_cache_di.rfc9111.directives import RequestDirectives, response_directives
from aiohttp_cache_di.rfc9111.freshness import current_age_s, remaining_s, whole_s
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse
from aiohttp_cache_di.rfc9111.ranges import Unsatisfiable, select_range
from aiohttp_cache_di.rfc9111.validation import if_range_holds, is_not_modified

__all__ = ["answer_from", "serve", "why_usable"]


def why_usable(
    stored: StoredResponse, directives: RequestDirectives, rules: Rules, now: float, trace: Trace | None
) -> Literal["", "max-stale", "stale-while-revalidate"] | None:
    """Why *stored* may be used without asking the origin: "" because it is fresh; None when it may not."""
    use, because = _decided(stored, directives, rules, now)
    note(trace, "usable", use is not None, lambda: because or freshness(stored, rules, now))
    return use


def _decided(
    stored: StoredResponse, directives: RequestDirectives, rules: Rules, now: float
) -> tuple[Literal["", "max-stale", "stale-while-revalidate"] | None, str]:
    """The same as `why_usable`, and the reason if it is not just the lifetime."""
    if directives.no_cache:
        return None, "refresh=True" if rules.refresh else "no-cache in the request"
    left_s = remaining_s(stored, now=now)
    is_reload = directives.max_age_s == 0
    if left_s > 0 and is_reload and response_directives(stored.headers).immutable:
        return "", "it is immutable"  # RFC 8246 §2: within its lifetime it is not validated upon a reload
    if directives.min_fresh_s is not None and left_s < directives.min_fresh_s:
        return None, f"min-fresh={directives.min_fresh_s:g} in the request, and it is fresh for {length_of(left_s)}"
    max_stale_s = directives.max_stale_s
    if directives.max_age_s is not None:
        over_s = current_age_s(stored, now=now) - directives.max_age_s
        is_over = over_s > 0 or is_reload
        # max-stale widens max-age (RFC 9111 §5.2.1.1), as far as the origin allows stale use.
        if is_over and (max_stale_s is None or over_s > max_stale_s or not may_serve_stale(stored, rules)):
            return None, f"max-age={directives.max_age_s:g} in the request, exceeded by {length_of(over_s)}"
    if left_s > 0:
        return "", ""
    if math.isinf(left_s) or not may_serve_stale(stored, rules):
        return None, ""
    if max_stale_s is not None and -left_s <= max_stale_s:
        return "max-stale", f"max-stale in the request, and it is stale by {length_of(-left_s)}"
    window_s = stale_while_revalidate_s(stored, rules)
    if directives.max_age_s is None and -left_s < window_s:
        return "stale-while-revalidate", f"stale by {length_of(-left_s)}, stale-while-revalidate={length_of(window_s)}"
    return None, ""


def answer_from(
    request: Request, stored: StoredResponse, *, now: float, detail: Detail | None = None, revalidate: bool = False
) -> Reuse | None:
    """What *stored* answers to *request*, its condition and range included; None when only the origin can answer.

    Args:
        detail: why it is used, for Cache-Status.
    """
    headers = request.headers
    if stored.status not in (200, 206):
        return serve(stored, now=now, detail=detail, revalidate=revalidate)
    if "If-Match" in headers or "If-Unmodified-Since" in headers:
        return None  # only the origin knows the current state (RFC 9111 §4.3.2)
    age_s = whole_s(current_age_s(stored, now=now))
    status = hit(fresh_until=stored.fresh_until, now=now, detail=detail)
    stale = stored.fresh_until <= now
    if is_not_modified(headers, stored):
        return NotModified(stored, age_s, status, stale, revalidate)
    if request.method == "GET" and "Range" in headers and if_range_holds(headers, stored):
        part = select_range(", ".join(headers.getall("Range")), stored)
        if part is None:
            return None
        if isinstance(part, Unsatisfiable):
            return RangeNotSatisfiable(stored, status, part.complete, stale, revalidate)
        return Partial(stored, part.first, part.last, age_s, status, part.complete, part.body_at, stale, revalidate)
    if stored.status == 206:
        return None
    return Serve(stored, age_s, status, stale, revalidate)


def serve(stored: StoredResponse, *, now: float, detail: Detail | None = None, revalidate: bool = False) -> Serve:
    """Answer with *stored* as it is."""
    return Serve(
        stored,
        whole_s(current_age_s(stored, now=now)),
        hit(fresh_until=stored.fresh_until, now=now, detail=detail),
        stored.fresh_until <= now,
        revalidate,
    )
