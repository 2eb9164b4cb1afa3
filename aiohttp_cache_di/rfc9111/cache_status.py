"""The Cache-Status member that says how the cache handled a request (RFC 9211), and all the words that it may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

__all__ = [
    "CACHE_NAME",
    "DETAILS",
    "FORWARDED",
    "Detail",
    "FwdReason",
    "forwarded",
    "generated",
    "hit",
    "stored",
    "with_detail",
]

CACHE_NAME = "aiohttp-cache-di"

FwdReason: TypeAlias = Literal["bypass", "method", "uri-miss", "vary-miss", "stale", "request", "partial"]
"""Why a request went to the origin: a token of RFC 9211 §2.2."""

FORWARDED: Final[Mapping[FwdReason, str]] = MappingProxyType(
    {
        "bypass": "the cache was not asked, or cannot answer such a request from what is stored",
        "method": "responses to its method are not cached",
        "uri-miss": "nothing is stored for it",
        "vary-miss": "what is stored for its URL is for other header fields (Vary)",
        "stale": "what is stored is past its lifetime",
        "request": "the request asks for more: `no-cache`, `refresh=True`, a condition of its own",
        "partial": "only another part of it is stored",
    }
)
"""What each `FwdReason` means."""

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
    "only-if-cached",
    "overtaken",
    "partial",
    "private",
    "set-cookie",
    "stale-if-error",
    "stale-while-revalidate",
    "status",
    "store-failed",
    "too-large",
    "unseen",
    "vary",
]
"""What a member may say besides (RFC 9211 §2.8)."""

DETAILS: Final[Mapping[Detail, str]] = MappingProxyType(
    {
        "max-stale": "used past its lifetime, because the request allows that",
        "stale-while-revalidate": "used past its lifetime, while it is validated in the background",
        "stale-if-error": "used past its lifetime, because the origin answered with an error or not at all",
        "disconnected": "used past its lifetime, because the origin cannot be reached",
        "only-if-cached": "answered with 504: the request wants what is stored or nothing",
        "overtaken": "another request's response came first, though the origin had been asked",
        "no-store": "not stored: the response says `no-store`",
        "private": "not stored: the response says `private`, and the cache is shared",
        "authorization": "not stored: it is for credentials, and the cache is shared",
        "must-understand": "not stored: the response says `must-understand`, of a status that is not known",
        "status": "not stored: responses with its status are not",
        "partial": "not stored: a part that cannot be kept, or a part of what is stored as a whole",
        "vary": "not stored: it varies on `*`, or on what is no list of fields",
        "no-lifetime": "not stored: it has no lifetime, and nothing to validate it by",
        "answers-condition": "not stored: its status answers a condition or a range of the request",
    }
)
"""What a `Detail` means that follows from the rules; `engine.describe.DETAILS` has those of what happened."""

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


def generated(detail: Detail) -> str:
    """The member for an answer that the cache made itself, without anything stored and without the origin."""
    return f"{CACHE_NAME}; detail={detail}"
