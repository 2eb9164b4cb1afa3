"""The Cache-Status member that says how the cache handled a request (RFC 9211), and all the words that it may have."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from aiohttp_cache_di.lazy import compiled_later

__all__ = [
    "CACHE_NAME",
    "Detail",
    "FwdReason",
    "forwarded",
    "generated",
    "hit",
    "purged",
    "stored",
    "with_detail",
]

CACHE_NAME = "aiohttp-cache-di"

FwdReason: TypeAlias = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "stale", "request", "partial"]
"""Why a request went to the origin: a token of RFC 9211 §2.2; "miss" where it cannot be told what is stored."""

Detail: TypeAlias = Literal[
    "answers-condition",
    "authorization",
    "changed",
    "close-delimited",
    "cut",
    "damaged",
    "disconnected",
    "error",
    "event-stream",
    "filtered",
    "given-up",
    "ignored-param",
    "invalidated",
    "max-stale",
    "must-understand",
    "no-lifetime",
    "no-room",
    "no-store",
    "odd-location",
    "only-if-cached",
    "overtaken",
    "partial",
    "pending",
    "private",
    "purged",
    "set-cookie",
    "stale-if-error",
    "stale-while-revalidate",
    "status",
    "store-failed",
    "too-large",
    "too-many-tags",
    "unseen",
    "vary",
]
"""What a member may say besides (RFC 9211 §2.8)."""

MAX_TAG_TOLD = 64
_ODD = compiled_later(r"[^ !#-:<-\[\]-~]")  # a semicolon would be read as the end of the parameter
_HIT = f"{CACHE_NAME}; hit"


def hit(*, fresh_until: float, now: float, detail: Detail | None = None) -> str:
    """The member for a response that came from the store; its ttl is left out where it never ends or never began."""
    ttl_s = fresh_until - now
    status = _HIT if math.isinf(ttl_s) else f"{_HIT}; ttl={math.floor(ttl_s)}"
    return status if detail is None else f"{status}; detail={detail}"


def forwarded(
    reason: FwdReason,
    *,
    fwd_status: int | None = None,
    collapsed: bool = False,
    detail: Detail | None = None,
) -> str:
    """The member for a request that went to the origin.

    Args:
        reason: one of RFC 9211's ``fwd`` tokens.
        fwd_status: what the origin answered, where the caller gets another status.
        collapsed: whether another request went in place of this one, and its response answers both.
        detail: a token.
    """
    status = f"{CACHE_NAME}; fwd={reason}"
    if fwd_status is not None:
        status += f"; fwd-status={fwd_status}"
    if collapsed:
        status += "; collapsed"
    return status if detail is None else with_detail(status, detail)


def stored(member: str) -> str:
    """*member*, of a request that went to the origin, now that the response is stored."""
    return f"{member}; stored"


def with_detail(member: str, detail: Detail) -> str:
    """*member* with a token that says more."""
    return f"{member}; detail={detail}"


def purged(member: str, tag: str) -> str:
    """*member*, of a request for which something was stored that is not used, since its *tag* was purged.

    The parameter has a tag of ours as it is, and of an odd one what a string of RFC 9651 takes.
    """
    return f'{member}; purged="{_ODD.sub("?", tag[:MAX_TAG_TOLD])}"'


def generated(detail: Detail) -> str:
    """The member for an answer that the cache made itself, without anything stored and without the origin."""
    return f"{CACHE_NAME}; detail={detail}"
