"""Answer with a stale response if the origin fails (RFC 9111 §4.2.4, RFC 5861 §4), or if the store does."""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from aiohttp_cache_di.policy.decisions import GatewayTimeout, Plan, ServeStale
from aiohttp_cache_di.policy.lifetimes import stale_if_error_s
from aiohttp_cache_di.policy.requests.reuse import answer_from
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.rfc9111.cache_status import Detail
from aiohttp_cache_di.rfc9111.directives import request_directives
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["ERROR_STATUSES", "not_at_hand", "on_failure"]

Decided = TypeVar("Decided")

ERROR_STATUSES = frozenset({500, 502, 503, 504})  # RFC 5861 §4


def on_failure(plan: Plan, rules: Rules, request: Request, *, now: float, is_reachable: bool) -> ServeStale | None:
    """The answer if the origin did not respond, or with an error; None to hand on the error.

    Args:
        now: POSIX time, UTC.
        is_reachable: the origin has responded, or may only have been slow; then ``stale-if-error`` has to allow it.
    """
    stored = plan.fallback
    if stored is None:
        return None
    directives = request_directives(request.headers)
    if now - stored.fresh_until < stale_if_error_s(stored, directives, rules):
        detail: Detail = "stale-if-error"
    elif not is_reachable and rules.cache_control and directives.max_age_s is None and directives.min_fresh_s is None:
        # A caller who limits the age does not want a stale response (RFC 9111 §5.2.1.1).
        detail = "disconnected"
    else:
        return None
    answer = answer_from(request, stored, now=now, detail=detail)
    return None if answer is None else ServeStale(answer)


def not_at_hand(decision: Decided) -> Decided:
    """*decision* with the reason "miss": it is unknown what is stored, as the store or a filter did not give it."""
    if isinstance(decision, Plan | GatewayTimeout) and decision.reason in ("uri-miss", "vary-miss"):
        return replace(decision, reason="miss")
    return decision
