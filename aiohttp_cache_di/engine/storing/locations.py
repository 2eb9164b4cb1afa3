"""What the Location of a response says: whether the response may be stored, and where it leads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from aiohttp import hdrs

from aiohttp_cache_di import keys, policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.engine.questions.question import key_after_redirect
from aiohttp_cache_di.entries.checks import leads_elsewhere
from aiohttp_cache_di.rfc9111.messages import REDIRECTS, Headers, Request

__all__ = ["history_of", "next_keys", "why_not_led"]


def why_not_led(
    request: Request, status: int, headers: Headers, ignored: Collection[str]
) -> Literal["ignored-param", "odd-location"] | None:
    """Why a response may not be stored because of where it leads, as a detail of Cache-Status; None if it may.

    Args:
        ignored: the parameters that must not be stored: a stored redirect would lead later callers to their values.
    """
    location = headers.get(hdrs.LOCATION) or headers.get(hdrs.URI)  # as aiohttp does
    if location is not None and keys.has_param(location, ignored):
        return "ignored-param"
    is_odd = status in REDIRECTS and not leads_elsewhere(headers, request.url, request.method)
    return "odd-location" if is_odd else None


def next_keys(
    request: Request, status: int, headers: Headers, arguments: dict[str, Any], backend: CacheBackend
) -> tuple[str, ...]:
    """The key of the response that a redirect leads to, as a tuple; empty if that has none.

    Args:
        arguments: those of the key of *request*.
    """
    following = key_after_redirect(request, status, headers[hdrs.LOCATION], arguments, backend)
    return () if following is None else (following,)


def history_of(
    request: Request,
    status: int,
    headers: Headers,
    arguments: dict[str, Any],
    backend: CacheBackend,
    hops: Sequence[str],
) -> tuple[str, ...]:
    """The `StoredResponse.history`: `next_keys` of a redirect; or *hops*, the keys of those that have led here."""
    if not policy.leads_on(status, headers):
        return tuple(hops)
    return next_keys(request, status, headers, arguments, backend)
