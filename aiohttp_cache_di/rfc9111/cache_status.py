"""The member of Cache-Status that reports how the cache handled a request (RFC 9211), and its tokens."""

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
    "parameters",
    "purged",
    "stored",
    "with_detail",
]

CACHE_NAME = "aiohttp-cache-di"

FwdReason: TypeAlias = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "stale", "request", "partial"]
"""Why a request went to the origin: a token of RFC 9211 §2.2; "miss" if it is not known whether the URL is stored."""

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
"""The values of the parameter ``detail`` (RFC 9211 §2.8)."""

MAX_TAG_SHOWN = 64
_ODD = compiled_later(r"[^ !#-:<-\[\]-~]")  # a semicolon would be read as the end of the parameter
_HIT = f"{CACHE_NAME}; hit"


def hit(*, fresh_until: float, now: float, detail: Detail | None = None) -> str:
    """The member for a response from the store; without a ttl if that is infinite."""
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
        fwd_status: the status of the origin's response, if the caller gets another one.
        collapsed: this request shares the response to another one that was under way.
        detail: a token.
    """
    status = f"{CACHE_NAME}; fwd={reason}"
    if fwd_status is not None:
        status += f"; fwd-status={fwd_status}"
    if collapsed:
        status += "; collapsed"
    return status if detail is None else with_detail(status, detail)


def stored(member: str) -> str:
    """*member* of a forwarded request, after its response was stored."""
    return f"{member}; stored"


def with_detail(member: str, detail: Detail) -> str:
    """*member* with the parameter ``detail``."""
    return f"{member}; detail={detail}"


def purged(member: str, tag: str) -> str:
    """*member* of a request whose stored response is not used because its *tag* was purged; *member* itself if "".

    Characters of the tag that a string of RFC 9651 cannot have are replaced.
    """
    if not tag:
        return member
    return f'{member}; purged="{_ODD.sub("?", tag[:MAX_TAG_SHOWN])}"'


def parameters(member: str) -> dict[str, str]:
    """The parameters of *member*, unquoted; "" for one without a value."""
    _, *given = member.split("; ")
    return {name: value.strip('"') for name, _, value in (parameter.partition("=") for parameter in given)}


def generated(detail: Detail) -> str:
    """The member for a response that the cache generated itself, neither from the store nor from the origin."""
    return f"{CACHE_NAME}; detail={detail}"
